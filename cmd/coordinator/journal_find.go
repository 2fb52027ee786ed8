package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"

	"commerce.example/coordinator/supervisor/journal"
)

// findCommand is coordinator journal find.
type findCommand struct {
	journaled
	chosen
	Limit int `placeholder:"N" help:"At most the first N."`
}

func (c *findCommand) Help() string {
	return "As they ended, one file of the journal after the other; those that did not end come last. Exits with 0 also when there is none. " +
		"--json prints one object a line, so that jq and head see the first while the rest is read."
}

// Validate is called by kong before Run.
func (c *findCommand) Validate() error {
	if c.Limit < 0 {
		return fmt.Errorf("--limit=%d: want a whole number, 0 for all", c.Limit)
	}
	return c.chosen.Validate()
}

func (c *findCommand) Run(t *terminal) error {
	r, f, err := c.open(t, c.filter)
	if err != nil {
		return err
	}
	out := newStoryWriter(t, c.JSON)
	for s, err := range r.Find(context.Background(), f) {
		if err != nil {
			_ = out.Flush()
			return readable(err)
		}
		if err := out.story(s); err != nil {
			return err
		}
		if out.n == c.Limit {
			break
		}
	}
	return out.close()
}

// tailCommand is coordinator journal tail.
type tailCommand struct {
	journaled
	chosen
	Lines  int  `short:"n" default:"10" placeholder:"N" help:"So many, up to 10000; by default 10."`
	Follow bool `short:"f" help:"Go on with each request that ends, until Ctrl-C."`
}

func (c *tailCommand) Help() string {
	return "With --follow only requests that have ended are listed, each within a second of its end. --json prints one object a line."
}

// Validate is called by kong before Run.
func (c *tailCommand) Validate() error {
	least := 1
	if c.Follow {
		least = 0
	}
	if c.Lines < least || c.Lines > journal.MaxTail {
		return fmt.Errorf("--lines=%d: want a whole number from %d to %d", c.Lines, least, journal.MaxTail)
	}
	return c.chosen.Validate()
}

func (c *tailCommand) Run(t *terminal) error {
	r, f, err := c.open(t, c.filter)
	if err != nil {
		return err
	}
	out := newStoryWriter(t, c.JSON)
	if c.Follow {
		ctx, restore := interruptible()
		defer restore()
		return out.all(r.Follow(ctx, f, c.Lines))
	}
	last, err := r.Tail(context.Background(), f, c.Lines)
	if err != nil {
		return readable(err)
	}
	for _, s := range last {
		if err := out.story(s); err != nil {
			return err
		}
	}
	return out.close()
}

// A storyWriter lists requests, as they come.
type storyWriter struct {
	*bufio.Writer
	asJSON bool
	colour bool
	n      int // so far
}

func newStoryWriter(t *terminal, asJSON bool) *storyWriter {
	return &storyWriter{Writer: bufio.NewWriter(t.stdout), asJSON: asJSON, colour: t.colour()}
}

// all lists each story at once.
func (w *storyWriter) all(stories iter.Seq2[*journal.Story, error]) error {
	for s, err := range stories {
		if err != nil {
			return readable(err)
		}
		if err := w.story(s); err != nil {
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// close ends the list, which may be empty.
func (w *storyWriter) close() error {
	if w.n == 0 && !w.asJSON {
		fmt.Fprintln(w, "no such request is in the journal")
	}
	return w.Flush()
}

func (w *storyWriter) story(s *journal.Story) error {
	w.n++
	if w.asJSON {
		return writeJSONLine(w, newToldStory(s))
	}
	var text sheet
	text.colour = w.colour
	if w.n == 1 {
		text.put(storyTitle, title)
		text.WriteByte('\n')
	}
	writeStoryRow(&text, s)
	_, err := w.WriteString(text.String())
	return err
}

// writeJSONLine prints v on one line, with its URLs readable.
func writeJSONLine(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// A toldStory is a request as --json prints it: what scripts rely on is there also
// when it is empty.
type toldStory struct {
	*journal.Story
	Bulkhead    string            `json:"bulkhead"`
	Method      string            `json:"method"`
	Outcome     string            `json:"outcome"`
	Reason      string            `json:"reason"`
	RetrySafe   bool              `json:"retry_safe"`
	RetryAdvice string            `json:"retry_advice"`
	Attempts    []journal.Attempt `json:"attempts"`
	Replays     []*toldStory      `json:"replays,omitempty"` // only explain knows them
}

// sentAgain tells what was sent in its place, which makes a repeat by its client one
// too many.
func (s *toldStory) sentAgain(replays []*journal.Story) {
	for _, again := range replays {
		s.Replays = append(s.Replays, newToldStory(again))
	}
	if again := left(replays); again != nil {
		s.RetrySafe, s.RetryAdvice = false, "it was sent again, as "+again.RequestID
	}
}

func newToldStory(s *journal.Story) *toldStory {
	safe, why := s.RetryAdvice()
	return &toldStory{
		Story: s, Bulkhead: s.Bulkhead, Method: s.Method, Outcome: s.Outcome, Reason: s.Reason,
		RetrySafe: safe, RetryAdvice: why, Attempts: append([]journal.Attempt{}, s.Attempts...), // [] and not null
	}
}
