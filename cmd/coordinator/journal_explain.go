package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/config"
	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/supervisor/journal"
)

// explainCommand is coordinator journal explain.
type explainCommand struct {
	journaled
	RequestID string `arg:"" help:"Its X-Request-Id."`
}

func (c *explainCommand) Help() string {
	return "Tells when it arrived, what each hop did and how long that took, what the client got, and whether repeating it is " +
		"safe. Of an id that is not there it tells for which times the journal is complete and when no coordinator ran: " +
		"that is the answer to \"did it ever reach you\". Exits with 0 when the id is known, with 1 when it is not. With " +
		"--json the members are those of the last request that had the id; others are in earlier."
}

func (c *explainCommand) Run(t *terminal) error {
	r, err := c.reader(t)
	if err != nil {
		return err
	}
	x, err := r.Explain(context.Background(), c.RequestID)
	if err != nil {
		return readable(err)
	}
	if c.JSON {
		err = writeJSON(t.stdout, newExplained(x))
	} else {
		err = writeExplanation(t.stdout, x, t.colour())
	}
	if err == nil && len(x.Stories) == 0 {
		return exitCode(exitFailed)
	}
	return err
}

// explained is what explain --json prints.
type explained struct {
	RequestID  string       `json:"request_id"`
	Known      bool         `json:"known"`
	*toldStory              // the last; nil: not known
	Earlier    []*toldStory `json:"earlier"`
	More       int          `json:"more,omitempty"` // beyond the first 1,000 requests of that id
	Spans      told         `json:"spans"`
}

// told is spans with what follows from them.
type told struct {
	*journal.Spans
	Complete []journal.Span `json:"complete"`
}

func newExplained(x *journal.Explanation) explained {
	e := explained{RequestID: x.RequestID, More: x.More, Earlier: []*toldStory{}, Spans: told{x.Spans, x.Spans.Complete()}}
	for i, s := range byArrival(x.Stories) {
		told := newToldStory(s)
		told.sentAgain(replaysOf(x, s))
		if i == len(x.Stories)-1 {
			e.Known, e.toldStory = true, told
		} else {
			e.Earlier = append(e.Earlier, told)
		}
	}
	return e
}

// replaysOf is what was sent in the place of s, in order.
func replaysOf(x *journal.Explanation, s *journal.Story) (replays []*journal.Story) {
	for _, again := range byArrival(x.Replays) {
		if again.ReplayOfEntry == s.Entry {
			replays = append(replays, again)
		}
	}
	return replays
}

// left is the last of replays that left the coordinator; nil: none did.
func left(replays []*journal.Story) *journal.Story {
	for _, again := range slices.Backward(replays) {
		if again.Outcome != journal.OutcomeRefused {
			return again
		}
	}
	return nil
}

func byArrival(stories []*journal.Story) []*journal.Story {
	sorted := slices.Clone(stories)
	slices.SortStableFunc(sorted, func(a, b *journal.Story) int { return arrival(a).Compare(arrival(b)) })
	return sorted
}

// arrival is when s came; a record that does not say was written soon after.
func arrival(s *journal.Story) time.Time {
	if s.Arrived.IsZero() {
		return s.At
	}
	return s.Arrived
}

// writeExplanation tells each request that had the id, or why there is none.
func writeExplanation(w io.Writer, x *journal.Explanation, colour bool) error {
	s := &sheet{colour: colour}
	stories := byArrival(x.Stories)
	if n := len(stories) + x.More; n > 1 {
		s.paragraph("", fmt.Sprintf("%d requests had the id %s.", n, x.RequestID), calm)
	}
	for i, story := range stories {
		if i > 0 || len(stories) > 1 {
			s.WriteByte('\n')
		}
		s.story(story, replaysOf(x, story))
	}
	if x.More > 0 {
		s.paragraph("\n", fmt.Sprintf("%d more had it; journal find lists all.", x.More), calm)
	}
	if len(stories) == 0 {
		s.unknown(x)
	}
	_, err := io.WriteString(w, s.String())
	return err
}

// paragraph writes text on as many lines as it needs.
func (s *sheet) paragraph(before, text string, m mood) {
	s.WriteString(before)
	for _, line := range wrap(printable(text), config.Width) {
		s.put(line, m)
		s.WriteByte('\n')
	}
}

// step is one line of a story, and those that it needs more.
func (s *sheet) step(at, text string, m mood) {
	const margin = 14
	for i, line := range wrap(printable(text), config.Width-margin) {
		if i > 0 {
			at = ""
		}
		fmt.Fprintf(s, "%*s  ", margin-2, at)
		s.put(line, m)
		s.WriteByte('\n')
	}
}

const clockLayout = "15:04:05.000"

// story tells one request.
func (s *sheet) story(r *journal.Story, replays []*journal.Story) {
	target := r.Path
	if r.Query != "" {
		target += "?" + r.Query
	}
	s.paragraph("", fmt.Sprintf("%s %s on %s (UTC)", r.Method, target, arrival(r).UTC().Format(time.DateOnly)), title)
	came := "arrived for bulkhead " + r.Bulkhead
	if r.Route != "" {
		came += ", by route " + r.Route
	}
	if r.Client != "" {
		came += ", from client " + r.Client
	}
	if r.ReplayOf != "" {
		came = fmt.Sprintf("was sent again by journal replay, for the request %s (entry %s) to bulkhead %s", r.ReplayOf, r.ReplayOfEntry, r.Bulkhead)
	}
	s.step(arrival(r).UTC().Format(clockLayout), came, calm)
	if r.QueueUS > 0 {
		s.step(after(r.QueueUS), "had a slot, after waiting for it", calm)
	}
	for i, a := range r.Attempts {
		s.attempt(r, a, i)
	}
	s.ending(r)
	for _, again := range replays {
		text := fmt.Sprintf("was sent again by journal replay, as %s: %s", again.RequestID, cmp.Or(again.Outcome, "in flight"))
		if again.Outcome == journal.OutcomeRefused {
			text = fmt.Sprintf("was to be sent again by journal replay, as %s: refused, %s", again.RequestID, again.Reason)
		}
		s.step("", text+" ("+instant(arrival(again))+")", watch)
	}
	safe, why := r.RetryAdvice()
	if again := left(replays); again != nil {
		safe, why = false, "it was sent again, as "+again.RequestID
	}
	verdict, m := "Repeating it is safe: ", calm
	if !safe {
		verdict, m = "Repeating it is not safe: ", watch
	}
	s.paragraph("\n", outcomeSentence(r), calm)
	s.paragraph("", verdict+why+".", m)
	s.paragraph("\n", fmt.Sprintf("request id %s, entry %s, %s at byte %d", r.RequestID, r.Entry, r.Segment, r.Offset), calm)
}

func (s *sheet) attempt(r *journal.Story, a journal.Attempt, i int) {
	went := "went"
	if i > 0 {
		went = "went again"
	}
	s.step(after(a.HandedUS), fmt.Sprintf("%s to the worker in slot %d (pid %d)", went, a.Slot, a.Pid), calm)
	over := after(a.HandedUS + a.TookUS)
	if a.TookUS == 0 {
		over = ""
	}
	switch {
	case a.Fault != "":
		s.step(over, fmt.Sprintf("which failed, %s: %s", stageWords(a.Stage), a.Fault), watch)
	case a.Stage != "":
		s.step(over, "which was done, "+stageWords(a.Stage), calm)
	}
}

// stageWords is how far a worker got.
func stageWords(stage string) string {
	switch stage {
	case exchange.Waiting.String():
		return "before it had read the request"
	case exchange.Taken.String():
		return "before it sent anything to the backend"
	case exchange.Sent.String():
		return "after it began to send to the backend"
	case exchange.Answered.String():
		return "after the backend began to answer"
	case "":
		return "it is not known how far it got"
	}
	return "at the stage " + stage
}

// ending is what the client got.
func (s *sheet) ending(r *journal.Story) {
	switch {
	case r.State == journal.InFlight:
		s.step("", "is still in flight", watch)
	case r.State == journal.Unrecorded:
		s.step("", "ended nobody knows how: its coordinator died, or the record is damaged", alarm)
	case r.By == journal.ByRecovery:
		s.step("", "was in flight when its coordinator died; the next one closed it on "+instant(r.At), alarm)
	case r.Fallback == journal.FallbackReplay:
		s.step(after(r.TookUS), fmt.Sprintf("ended: its idempotency key was known, and the client was given the first answer again, %d, with %d bytes", r.Status, r.BytesOut), calm)
	case r.Reason != "" && r.BytesOut == 0 && r.Status >= http.StatusBadRequest: // the bytes of a problem are not counted
		s.step(after(r.TookUS), fmt.Sprintf("ended: the client was answered %d, with the reason", r.Status), calm)
	case r.Status > 0:
		text := fmt.Sprintf("ended: the client was answered %d, with %d bytes", r.Status, r.BytesOut)
		if r.Fallback != "" {
			text += ": the fallback " + r.Fallback + " stood in for the answer"
		}
		s.step(after(r.TookUS), text, calm)
	default:
		s.step(after(r.TookUS), "ended: the client got no answer", calm)
	}
}

func outcomeSentence(r *journal.Story) string {
	switch {
	case r.Outcome == "":
		return "It has no outcome yet."
	case r.Reason != "":
		return fmt.Sprintf("Its outcome is %s, because of %s.", r.Outcome, r.Reason)
	}
	return fmt.Sprintf("Its outcome is %s.", r.Outcome)
}

// unknown answers "did it ever reach you".
func (s *sheet) unknown(x *journal.Explanation) {
	s.paragraph("", fmt.Sprintf("No request with the id %s is in the journal.", x.RequestID), title)
	spans := x.Spans
	if spans.Since.IsZero() {
		s.paragraph("\n", "It holds no record at all, so it says nothing about any time.", alarm)
		return
	}
	complete := spans.Complete()
	if len(complete) > 0 {
		s.paragraph("\n", "So none of that id was accepted at these times, of the kinds that are recorded:", calm)
	} else {
		s.paragraph("\n", "It is not yet complete for any time, so that says nothing.", alarm)
	}
	for _, c := range complete {
		s.fromTo(c.From, c.To, "complete", calm)
	}
	for _, d := range spans.Down {
		s.fromTo(d.From, d.To, "of this no coordinator ran", watch)
	}
	if last := lastUp(spans); last.End != "running" {
		s.fromTo(last.To, time.Time{}, "no coordinator has run since (the last one "+last.End+")", watch)
	}
	if len(spans.Gaps) > 0 {
		s.paragraph("\n", "Of these times records may be missing:", alarm)
	}
	for _, g := range spans.Gaps {
		s.fromTo(g.From, g.To, gapSentence(g), alarm)
	}
	s.paragraph("\n", "Recorded: "+recorded(spans.Scope)+".", calm)
}

// fromTo is a line about a time.
func (s *sheet) fromTo(from, to time.Time, text string, m mood) {
	until := instant(to)
	if to.IsZero() {
		until = "now"
	}
	lines := wrap(printable(text), config.Width-4)
	fmt.Fprintf(s, "  %s to %s\n", instant(from), until)
	for _, line := range lines {
		s.WriteString("    ")
		s.put(line, m)
		s.WriteByte('\n')
	}
}

// lastUp is the run with the last sign of life. There is one when anything is
// recorded.
func lastUp(s *journal.Spans) journal.Up {
	return slices.MaxFunc(s.Up, func(a, b journal.Up) int {
		if running := a.End == "running"; running != (b.End == "running") {
			if running {
				return 1
			}
			return -1
		}
		return a.To.Compare(b.To)
	})
}

// gapSentence says what became of the records.
func gapSentence(g journal.Gap) string {
	switch g.Why {
	case "damage":
		return fmt.Sprintf("%d bytes of %s from byte %d on are damaged", g.Lost, g.Segment, g.Offset)
	case "dropped":
		return fmt.Sprintf("%d records of requests without an intent were dropped: the disk did not keep up", g.Lost)
	case "refused":
		return fmt.Sprintf("the journal could not be written; %d requests that needed it were refused and not sent", g.Lost)
	case "segment_missing":
		return "a file of the journal is missing"
	case "machine_died":
		return "the machine died, and what it had not written to its disk yet is lost"
	}
	return g.Why
}

// recorded is the scopes in words.
func recorded(scope map[string]string) string {
	if len(scope) == 0 {
		return "nothing is said of it"
	}
	words := map[string]string{
		"off": "nothing", "unsafe": "methods that change something", "failures": "those too that failed", "all": "everything",
	}
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(scope)) {
		what := scope[name]
		if in := words[what]; in != "" {
			what = fmt.Sprintf("%s (%s)", what, in)
		}
		texts = append(texts, name+" "+what)
	}
	return strings.Join(texts, ", ")
}

// after is a time since the arrival.
func after(us int64) string { return "+" + latency(float64(us)/1e6) }

// instant is a time of a day.
func instant(t time.Time) string {
	if t.IsZero() {
		return "the beginning"
	}
	return t.UTC().Format(time.DateTime + "Z")
}
