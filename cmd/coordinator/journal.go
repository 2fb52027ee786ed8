package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/config"
	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/journal"
)

// journalCommand is coordinator journal. Its commands read the folder alone, so
// they work just as well when no coordinator runs; all but replay, which has the one
// that runs send.
type journalCommand struct {
	Explain   explainCommand   `cmd:"" help:"Tell what became of a request."`
	Find      findCommand      `cmd:"" help:"List the requests of a kind."`
	Tail      tailCommand      `cmd:"" help:"List the last requests, and with --follow those that end from now on."`
	Stats     statsCommand     `cmd:"" help:"Count the requests by bulkhead and outcome."`
	Verify    verifyCommand    `cmd:"" help:"Read every byte and report damage."`
	Reconcile reconcileCommand `cmd:"" help:"Compare another party's list of request ids with the journal."`
	Replay    replayCommand    `cmd:"" help:"Send requests again that never reached the backend, or may not have."`
}

// journaled is the flags of every command that reads the journal.
type journaled struct {
	envFile
	asJSON
	StateDir string `placeholder:"DIR" help:"Read the journal of this state directory."`
}

// journalFolder is the journal's, in a state directory.
const journalFolder = "journal"

// reader is one of a journal that exists: to take a wrong folder for an empty
// journal would be to answer that a request never came.
func (j *journaled) reader(t *terminal) (*journal.Reader, error) {
	state := j.StateDir
	if state == "" {
		var err error
		if state, err = config.StateDir(t.environ, string(j.EnvFile)); err != nil {
			return nil, err
		}
	}
	dir := filepath.Join(state, journalFolder)
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("no journal in %s: has a coordinator run with this state directory and kept a journal? "+
			"--env-file or --state-dir says where another is", state)
	case err != nil:
		return nil, readable(err)
	case len(entries) == 0:
		return nil, fmt.Errorf("%s is empty: no coordinator has written a journal yet", dir)
	}
	return journal.NewReader(dir), nil
}

// open is the journal, and what of it filter asks for.
func (j *journaled) open(t *terminal, filter func(now time.Time) (journal.Filter, error)) (*journal.Reader, journal.Filter, error) {
	f, err := filter(time.Now())
	if err != nil {
		return nil, f, err
	}
	r, err := j.reader(t)
	return r, f, err
}

// readable is err with what to do about it.
func readable(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: be the user that the supervisor runs as", err)
	}
	return err
}

// A moment is a time on the command line.
type moment string

const momentWanted = "want how long ago, such as 90s, 1h or 7d, or a time, such as 2026-11-21T06:30:00Z or 2026-11-21 (UTC)"

// UnmarshalText accepts what at understands.
func (m *moment) UnmarshalText(text []byte) error {
	*m = moment(text)
	_, err := m.at(time.Time{})
	return err
}

// at is the time that m means, of which the zero value means none.
func (m moment) at(now time.Time) (time.Time, error) {
	if m == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if at, err := time.Parse(layout, string(m)); err == nil {
			return at, nil
		}
	}
	if days, ok := strings.CutSuffix(string(m), "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.Add(-time.Duration(n) * 24 * time.Hour), nil
		}
	}
	if ago, err := time.ParseDuration(string(m)); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	return time.Time{}, fmt.Errorf("%q: %s", string(m), momentWanted)
}

// span is the flags that bound what is asked about.
type span struct {
	Bulkhead string `placeholder:"NAME" help:"Of this bulkhead."`
	Since    moment `placeholder:"WHEN" help:"That arrived since then: 90s, 1h or 7d ago, or 2026-11-21T06:30:00Z."`
	Until    moment `placeholder:"WHEN" help:"That arrived before then."`
}

func (s *span) filter(now time.Time) (journal.Filter, error) {
	since, err := s.Since.at(now)
	until, err2 := s.Until.at(now)
	if err := cmp.Or(err, err2); err != nil {
		return journal.Filter{}, err
	}
	if !until.IsZero() && !since.Before(until) {
		return journal.Filter{}, usageError(fmt.Sprintf("--since=%s --until=%s: nothing is after the one and before the other", s.Since, s.Until))
	}
	return journal.Filter{Bulkhead: s.Bulkhead, Since: since, Until: until}, nil
}

// chosen is the flags that pick requests.
type chosen struct {
	span
	Outcome string `placeholder:"WORD" help:"That ended so: refused, never_sent, sent_unknown, partial, undelivered or done."`
	Reason  string `placeholder:"WORD" help:"That failed for this reason, such as worker_died."`
	Method  string `placeholder:"NAME" help:"With this method."`
	Status  string `placeholder:"CODE" help:"That the client was answered with, such as 502 or 5xx."`
	State   string `enum:"closed,in_flight,unrecorded," default:"" placeholder:"WORD" help:"closed, in_flight or unrecorded (its coordinator died, or the record is damaged)."`
}

// Validate is called by kong before Run: a word that no request has would find
// nothing, and that would be taken for an answer.
func (c *chosen) Validate() error {
	if err := oneOf("--outcome", c.Outcome, supervisor.Outcomes()); err != nil {
		return err
	}
	if err := oneOf("--reason", c.Reason, supervisor.Reasons()); err != nil {
		return err
	}
	if _, _, err := c.statuses(); err != nil {
		return err
	}
	return nil
}

func oneOf[W ~string](flag, word string, known []W) error {
	var words []string
	for _, k := range known {
		if words = append(words, string(k)); string(k) == word {
			return nil
		}
	}
	if word == "" {
		return nil
	}
	return fmt.Errorf("%s=%s: want one of %s%s", flag, word, strings.Join(words, ", "), config.DidYouMean(config.Nearest(word, words)))
}

// statuses is the lowest and the highest that are asked for; zeros: all.
func (c *chosen) statuses() (low, high int, err error) {
	if c.Status == "" {
		return 0, 0, nil
	}
	if class, ok := strings.CutSuffix(strings.ToLower(c.Status), "xx"); ok && len(class) == 1 && class >= "1" && class <= "5" {
		low = int(class[0]-'0') * 100
		return low, low + 99, nil
	}
	if n, err := strconv.Atoi(c.Status); err == nil && n >= 100 && n <= 999 {
		return n, n, nil
	}
	return 0, 0, fmt.Errorf("--status=%s: want a status such as 502, or a class such as 5xx", c.Status)
}

func (c *chosen) filter(now time.Time) (journal.Filter, error) {
	f, err := c.span.filter(now)
	if err != nil {
		return f, err
	}
	f.Outcome, f.Reason, f.Method, f.State = c.Outcome, c.Reason, strings.ToUpper(c.Method), journal.State(c.State)
	f.StatusMin, f.StatusMax, err = c.statuses()
	return f, err
}
