package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/journal"
)

// replayCommand is coordinator journal replay. The journal is read here, and the
// supervisor is asked about one request after the other: it alone knows the keys,
// the limits and the breaker.
type replayCommand struct {
	operation
	StateDir string   `placeholder:"DIR" help:"Read the journal of this state directory."`
	Bulkhead string   `placeholder:"NAME" help:"Of this bulkhead."`
	Outcome  []string `default:"never_sent,sent_unknown" placeholder:"WORD" help:"That ended so: never_sent, sent_unknown or both."`
	Since    moment   `default:"24h" placeholder:"WHEN" help:"That arrived since then: 90s, 1h or 7d ago, or 2026-11-21T06:30:00Z; by default 24h."`
	Until    moment   `placeholder:"WHEN" help:"That arrived before then."`
	ID       []string `placeholder:"ID" help:"With these request ids."`
	Rate     float64  `default:"5" placeholder:"N" help:"At most so many a second, up to 1000; by default 5."`
	Failures int      `default:"3" placeholder:"N" help:"Stop after so many failures in a row; by default 3."`
	Execute  bool     `help:"Send them. Without it nothing is sent."`
}

func (c *replayCommand) Help() string {
	return "Lists the requests that may do work and whose work was not done, or may not have been, and says of each whether it would " +
		"be sent again, or why not. With --execute the running supervisor sends them, one after the other, in the order in which they " +
		"arrived, through the limits and the breaker of their bulkhead. Each is a request of its own, which the journal links to the " +
		"first; once that has left, the first is never sent again, so this can be repeated after whatever ended it. Ctrl-C waits for the one under way. " +
		"Only requests that were kept can be sent: BULKHEAD_X_JOURNAL_BODY, COORDINATOR_JOURNAL_KEY_FILE; those that were sent " +
		"(sent_unknown) only where BULKHEAD_X_BACKEND_IDEMPOTENT=true. Exits with 0 also when some are not to be sent, with 1 when one failed or it stopped early."
}

// Bounds of --rate: the least is one in a quarter of an hour.
const (
	minReplayRate = 0.001
	maxReplayRate = 1000
)

// Validate is called by kong before Run.
func (c *replayCommand) Validate() error {
	if !(c.Rate >= minReplayRate && c.Rate <= maxReplayRate) {
		return fmt.Errorf("--rate=%v: want a number from %v to %d", c.Rate, minReplayRate, maxReplayRate)
	}
	if c.Failures < 1 {
		return fmt.Errorf("--failures=%d: want a whole number above 0", c.Failures)
	}
	if len(c.Outcome) == 0 {
		return errors.New("--outcome: want never_sent, sent_unknown or both")
	}
	for _, word := range c.Outcome {
		if err := oneOf("--outcome", word, []supervisor.Outcome{supervisor.OutcomeNeverSent, supervisor.OutcomeSentUnknown}); err != nil {
			return err
		}
	}
	return nil
}

func (c *replayCommand) Run(t *terminal) error {
	found, err := c.candidates(t)
	if err != nil {
		return err
	}
	client, err := c.connect(t)
	if err != nil {
		return err
	}
	ctx, restore := interruptible()
	defer restore()
	r := &replayRun{command: c, client: client, out: bufio.NewWriter(t.stdout), stderr: t.stderr, colour: t.colour()}
	if err = r.all(ctx, found); err == nil {
		err = r.finish()
	}
	if flushed := r.out.Flush(); err == nil {
		err = flushed
	}
	if err == nil && (r.failed > 0 || r.stopped != "") {
		return exitCode(exitFailed)
	}
	return err
}

// maxCandidates bounds what is listed at a time.
const maxCandidates = 100_000

// A candidate is a request that may have to be sent again.
type candidate struct {
	*journal.Story
	replayed *journal.Story // that was sent in its place; nil: none was
}

// candidates are in the order in which they arrived.
func (c *replayCommand) candidates(t *terminal) ([]candidate, error) {
	bounds := span{Bulkhead: c.Bulkhead, Since: c.Since, Until: c.Until}
	f, err := bounds.filter(time.Now())
	if err != nil {
		return nil, err
	}
	source := journaled{envFile: c.envFile, StateDir: c.StateDir}
	r, err := source.reader(t)
	if err != nil {
		return nil, err
	}
	replays, err := r.Replays(context.Background())
	if err != nil {
		return nil, readable(err)
	}
	f.State = journal.Closed
	var found []candidate
	for s, err := range r.Find(context.Background(), f) {
		if err != nil {
			return nil, readable(err)
		}
		if supervisor.SafeMethod(s.Method) || !slices.Contains(c.Outcome, s.Outcome) || len(c.ID) > 0 && !slices.Contains(c.ID, s.RequestID) {
			continue
		}
		if len(found) == maxCandidates {
			return nil, fmt.Errorf("more than %d requests: --since, --until and --bulkhead ask for fewer", maxCandidates)
		}
		found = append(found, candidate{s, replays[s.Entry]})
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return arrival(a.Story).Compare(arrival(b.Story)) })
	return found, nil
}

// replayRun is one run over all candidates.
type replayRun struct {
	command *replayCommand
	client  *client
	out     *bufio.Writer
	stderr  io.Writer
	colour  bool

	listed, sent, failed, not int
	inRow                     int    // failures
	stopped                   string // why it ended early
}

func (r *replayRun) all(ctx context.Context, found []candidate) error {
	pace := time.NewTicker(time.Duration(float64(time.Second) / r.command.Rate))
	defer pace.Stop()
	for i, c := range found {
		if ctx.Err() != nil {
			r.stopped = fmt.Sprintf("interrupted; %s left", counted(int64(len(found)-i), "request"))
			return nil
		}
		result, err := r.one(c)
		if err != nil {
			return err
		}
		if err := r.tell(c, result); err != nil {
			return err
		}
		if r.judge(result); r.stopped != "" {
			if left := len(found) - i - 1; left > 0 {
				r.stopped += fmt.Sprintf("; %s left", counted(int64(left), "request"))
			}
			return nil
		}
		if result.ReplayID == "" || i == len(found)-1 {
			continue // nothing was sent, so nothing has to be waited for
		}
		select {
		case <-pace.C:
		case <-ctx.Done():
		}
	}
	return nil
}

// one asks the supervisor, unless the journal answers.
func (r *replayRun) one(c candidate) (*supervisor.ReplayResult, error) {
	if c.replayed != nil {
		return &supervisor.ReplayResult{
			RequestID: c.RequestID, Entry: c.Entry, Why: supervisor.NoReplayGone, Detail: "it was sent again, as " + c.replayed.RequestID,
		}, nil
	}
	var report supervisor.Report
	err := r.client.change("/v1/bulkheads/"+url.PathEscape(c.Bulkhead)+"/replay", map[string]any{
		"segment": c.Segment, "offset": c.Offset, "execute": r.command.Execute,
	}, time.Duration(r.command.Timeout), &report)
	if refused, ok := errors.AsType[*refusal](err); ok && refused.Type == supervisor.UnknownBulkheadType {
		return &supervisor.ReplayResult{
			RequestID: c.RequestID, Entry: c.Entry, Why: "no_bulkhead", Detail: "there is no bulkhead of that name any more",
		}, nil
	}
	switch {
	case err != nil:
		return nil, err
	case report.Error != "":
		return nil, &failure{report}
	case report.Replay == nil:
		return nil, errors.New("the supervisor did not say what it did: is it of an older version?")
	}
	return report.Replay, nil
}

// done reports whether a replay did the work, as far as a status tells.
func done(r *supervisor.ReplayResult) bool {
	return r.Outcome == supervisor.OutcomeDone && r.Status < 400
}

// takesNothing are the reasons of refusals that the next request would have too.
var takesNothing = []supervisor.Reason{
	supervisor.ReasonBreakerOpen, supervisor.ReasonDraining, supervisor.ReasonQuarantined, supervisor.ReasonNoWorker, supervisor.ReasonJournalUnavailable,
}

func (r *replayRun) judge(result *supervisor.ReplayResult) {
	r.listed++
	switch {
	case result.Why != "":
		r.not++
		return
	case result.ReplayID == "":
		return
	case done(result):
		r.sent++
		r.inRow = 0
		return
	}
	r.failed++
	r.inRow++
	switch {
	case result.Outcome == supervisor.OutcomeRefused && slices.Contains(takesNothing, result.Reason):
		r.stopped = fmt.Sprintf("stopped: its bulkhead takes nothing (%s)", result.Reason)
	case r.inRow >= r.command.Failures:
		r.stopped = fmt.Sprintf("stopped after %s in a row", counted(int64(r.inRow), "failure"))
	}
}

// toldReplay is a line of --json.
type toldReplay struct {
	*toldStory
	Verdict string                   `json:"verdict"` // would_send, sent, failed, not_sent
	Replay  *supervisor.ReplayResult `json:"replay"`
}

func verdictOf(r *supervisor.ReplayResult) string {
	switch {
	case r.Why != "":
		return "not_sent"
	case r.ReplayID == "":
		return "would_send"
	case done(r):
		return "sent"
	}
	return "failed"
}

func (r *replayRun) tell(c candidate, result *supervisor.ReplayResult) error {
	if r.command.JSON {
		if err := writeJSONLine(r.out, toldReplay{newToldStory(c.Story), verdictOf(result), result}); err != nil {
			return err
		}
		return r.out.Flush()
	}
	s := &sheet{colour: r.colour}
	if r.listed == 0 {
		s.put(storyTitle, title)
		s.WriteByte('\n')
	}
	writeStoryRow(s, c.Story)
	text, m := replaySentence(result)
	for _, line := range wrap(printable(text), 78) {
		s.WriteString("  ")
		s.put(line, m)
		s.WriteByte('\n')
	}
	if _, err := r.out.WriteString(s.String()); err != nil {
		return err
	}
	return r.out.Flush()
}

func replaySentence(r *supervisor.ReplayResult) (string, mood) {
	switch verdictOf(r) {
	case "not_sent":
		return "not sent: " + r.Detail, watch
	case "would_send":
		return "would be sent, with a body of " + counted(int64(r.BodyBytes), "byte"), calm
	case "sent":
		return fmt.Sprintf("sent as %s: answered %d, in %s", r.ReplayID, r.Status, milliseconds(r.TookMS)), calm
	}
	text := fmt.Sprintf("failed as %s: %s", r.ReplayID, r.Outcome)
	if r.Reason != "" {
		text += ", " + string(r.Reason)
	}
	if r.Status > 0 {
		text += fmt.Sprintf(", answered %d", r.Status)
	}
	if r.Outcome == supervisor.OutcomeRefused {
		text += "; it can still be sent again"
	}
	return text, alarm
}

// finish says what it came to.
func (r *replayRun) finish() error {
	if r.command.JSON {
		if r.stopped != "" {
			fmt.Fprintf(r.stderr, "coordinator: %s\n", r.stopped)
		}
		return nil
	}
	s := &sheet{colour: r.colour}
	would := r.listed - r.not
	switch {
	case r.listed == 0 && r.stopped == "":
		s.paragraph("", "no such request is in the journal", calm)
	case !r.command.Execute:
		text := fmt.Sprintf("%s would be sent, %d not. Nothing was sent", counted(int64(would), "request"), r.not)
		if would > 0 {
			text += ": --execute does it"
		}
		s.paragraph("\n", text+".", calm)
	default:
		s.paragraph("\n", fmt.Sprintf("%s sent, %d failed, %d not sent.", counted(int64(r.sent), "request"), r.failed, r.not), calm)
	}
	if r.stopped != "" {
		s.paragraph("", strings.ToUpper(r.stopped[:1])+r.stopped[1:]+".", alarm)
	}
	_, err := r.out.WriteString(s.String())
	return err
}
