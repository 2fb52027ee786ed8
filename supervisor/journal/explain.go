package journal

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// maxStories bounds the stories of one id: clients repeat ids.
const maxStories = 1000

// Explanation is all that the journal can say about a request id.
type Explanation struct {
	RequestID string   `json:"request_id"`
	Stories   []*Story `json:"stories"`
	More      int      `json:"more,omitempty"` // stories beyond the first 1,000
	// Spans is for which times no story means that no request of that id was
	// recorded.
	Spans *Spans `json:"spans"`
}

// Explain tells what became of the requests with that id, in one pass.
func (r *Reader) Explain(ctx context.Context, id string) (*Explanation, error) {
	x := &Explanation{RequestID: id, Stories: []*Story{}}
	segments, err := r.listOrNothing()
	if err != nil {
		return nil, err
	}
	f := Filter{RequestID: cut(id, MaxTextBytes)}
	j := newJoin(f.want(), func(s *Story) error {
		switch {
		case !f.Match(s):
		case len(x.Stories) == maxStories:
			x.More++
		default:
			x.Stories = append(x.Stories, s)
		}
		return nil
	})
	c := newChronicle()
	err = r.walk(ctx, segments, func(s *segment, offset int64, line []byte) error {
		if err := c.visit(s, offset, line); err != nil {
			return err
		}
		return j.visit(s, offset, line)
	}, c.damaged)
	if err == nil {
		err = j.rest(segments)
	}
	if err == nil {
		x.Spans, err = c.spans(segments)
	}
	if err != nil {
		return nil, err
	}
	return x, nil
}

// Text is x as a person would tell it, in lines that end with a newline.
func (x *Explanation) Text() string {
	var b strings.Builder
	for _, s := range x.Stories {
		s.tell(&b)
	}
	if x.More > 0 {
		fmt.Fprintf(&b, "%d more requests had this id.\n", x.More)
	}
	if len(x.Stories) == 0 {
		x.Spans.tellUnknown(&b, x.RequestID)
	}
	return b.String()
}

func (s *Story) tell(b *strings.Builder) {
	fmt.Fprintf(b, "%s %s %s to bulkhead %s arrived %s.\n", s.RequestID, s.Method, s.Path, s.Bulkhead, clock(s.arrived()))
	if s.QueueUS > 0 {
		fmt.Fprintf(b, "  It waited %s for a slot.\n", micros(s.QueueUS))
	}
	for i, a := range s.Attempts {
		fmt.Fprintf(b, "  Attempt %d: after %s it went to the worker in slot %d (pid %d)", i+1, micros(a.HandedUS), a.Slot, a.Pid)
		if a.Stage != "" {
			fmt.Fprintf(b, ", which got as far as %q", a.Stage)
		}
		if a.TookUS > 0 {
			fmt.Fprintf(b, " in %s", micros(a.TookUS))
		}
		if a.Fault != "" {
			fmt.Fprintf(b, " and failed: %s", a.Fault)
		}
		b.WriteString(".\n")
	}
	switch {
	case s.State == InFlight:
		b.WriteString("  It is still in flight.\n")
	case s.State == Unrecorded:
		b.WriteString("  How it ended was not recorded: its coordinator died first, or the record is damaged.\n")
	case s.By == ByRecovery:
		fmt.Fprintf(b, "  Its coordinator died; the next one closed it on %s.\n", clock(s.At))
	default:
		fmt.Fprintf(b, "  It ended after %s", micros(s.TookUS))
		if s.Status > 0 {
			fmt.Fprintf(b, "; the client was answered %d with %d bytes", s.Status, s.BytesOut)
		}
		b.WriteString(".\n")
	}
	if s.Outcome != "" {
		fmt.Fprintf(b, "  Outcome: %s", s.Outcome)
		if s.Reason != "" {
			fmt.Fprintf(b, ", because of %s", s.Reason)
		}
		b.WriteString(".\n")
	}
	safe, why := s.RetryAdvice()
	answer := map[bool]string{true: "safe", false: "not safe"}[safe]
	fmt.Fprintf(b, "  Repeating it is %s: %s.\n", answer, why)
}

// tellUnknown answers "did it ever reach you".
func (s *Spans) tellUnknown(b *strings.Builder, id string) {
	fmt.Fprintf(b, "Nothing with the id %s is in the journal.\n", id)
	if s.Since.IsZero() {
		b.WriteString("  The journal is empty.\n")
		return
	}
	fmt.Fprintf(b, "  It is kept since %s. Recorded:", clock(s.Since))
	for _, name := range slices.Sorted(maps.Keys(s.Scope)) {
		fmt.Fprintf(b, " %s (%s)", name, s.Scope[name])
	}
	b.WriteString(".\n")
	for _, up := range s.Up {
		fmt.Fprintf(b, "  %s to %s: a coordinator ran (pid %d, %s).\n", clock(up.From), clock(up.To), up.Pid, up.End)
	}
	for _, d := range s.Down {
		fmt.Fprintf(b, "  %s to %s: none ran, so nothing was accepted.\n", clock(d.From), clock(d.To))
	}
	for _, g := range s.Gaps {
		fmt.Fprintf(b, "  %s to %s: not complete (%s, %d lost).\n", clock(g.From), clock(g.To), g.Why, g.Lost)
	}
	if len(s.Gaps) == 0 {
		b.WriteString("  For all of this time the journal is complete: no request of that id, of those recorded, was sent to a worker.\n")
	} else {
		b.WriteString("  Outside the gaps the journal is complete: no request of that id, of those recorded, was sent to a worker.\n")
	}
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "the beginning"
	}
	return t.Format("2006-01-02 15:04:05.000 Z07:00")
}

func micros(us int64) string { return (time.Duration(us) * time.Microsecond).String() }
