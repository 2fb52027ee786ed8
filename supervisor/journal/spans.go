package journal

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// Spans is for which times the journal speaks. All times are of the wall clock.
//
// While a process of Up ran, and outside Gaps, everything of Scope that left for a
// worker is in the journal; while none ran, in Down, nothing can have been
// accepted. Before Since nothing is kept.
type Spans struct {
	Since time.Time         `json:"since,omitzero"`
	Scope map[string]string `json:"scope,omitempty"` // what is recorded of each bulkhead, as last said
	Up    []Up              `json:"up"`
	Down  []Down            `json:"down"`
	Gaps  []Gap             `json:"gaps"`
}

// Up is one run of the coordinator.
type Up struct {
	Run  string    `json:"run"`
	Pid  int       `json:"pid,omitempty"`
	From time.Time `json:"from"` // its start, or the oldest record that is kept
	To   time.Time `json:"to"`   // its last record
	End  string    `json:"end"`  // running, stopped, died
	Sync Sync      `json:"sync,omitempty"`
	boot string
}

// Down is a time in which no coordinator ran. One that died, ended up to ten
// seconds after From.
type Down struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Gap is a time of which records may be missing.
type Gap struct {
	From    time.Time `json:"from,omitzero"`
	To      time.Time `json:"to,omitzero"`
	Why     string    `json:"why"` // damage, dropped, refused, segment_missing, machine_died
	Segment string    `json:"segment,omitempty"`
	Offset  int64     `json:"offset,omitempty"`
	Lost    int64     `json:"lost,omitempty"` // bytes of damage, else records; refused requests were not sent
}

// maxGaps bounds Spans; the last gap then reaches over all that follow.
const maxGaps = 1000

// Spans reads them.
func (r *Reader) Spans(ctx context.Context) (*Spans, error) {
	segments, err := r.listOrNothing()
	if err != nil {
		return nil, err
	}
	c := newChronicle()
	if err := r.walk(ctx, segments, c.visit, c.damaged); err != nil {
		return nil, err
	}
	return c.spans(segments)
}

// A chronicle gathers Spans while lines go by.
type chronicle struct {
	out      Spans
	runs     map[string]*Up
	order    []*Up
	in       *segment
	last     []byte    // the line before
	lastSeq  uint64    // of the segment before
	closing  int       // gaps whose To is the next good line's: the last so many
	lastSeen time.Time // of the segment before
	err      error
}

func newChronicle() *chronicle {
	return &chronicle{runs: make(map[string]*Up), out: Spans{Up: []Up{}, Down: []Down{}, Gaps: []Gap{}}}
}

func (c *chronicle) visit(s *segment, _ int64, line []byte) error {
	if s != c.in {
		if err := c.enter(s, line); err != nil {
			return err
		}
	}
	if c.closing > 0 {
		at, err := atOf(line)
		if err != nil {
			return err
		}
		for ; c.closing > 0; c.closing-- {
			c.out.Gaps[len(c.out.Gaps)-c.closing].To = at
		}
	}
	c.last = append(c.last[:0], line...)
	if kind, _ := peek(line); isRequest(kind) || kind == nil {
		return nil
	}
	m, err := decodeMark(line)
	if err != nil {
		return err
	}
	c.mark(m)
	return nil
}

// enter begins a segment, with its first whole line.
func (c *chronicle) enter(s *segment, line []byte) error {
	if err := c.leave(); err != nil {
		return err
	}
	at, err := atOf(line)
	if err != nil {
		return err
	}
	if c.out.Since.IsZero() {
		c.out.Since = at
	}
	if c.lastSeq > 0 && s.seq > c.lastSeq+1 {
		c.gap(Gap{From: c.lastSeen, To: at, Why: "segment_missing"})
	}
	c.in, c.lastSeq = s, s.seq
	if c.runs[s.run] == nil {
		up := &Up{Run: s.run, From: at, To: at, End: "died"}
		c.runs[s.run], c.order = up, append(c.order, up)
	}
	return nil
}

// leave ends the segment, whose last line is the last sign of its writer.
func (c *chronicle) leave() error {
	if c.in == nil {
		return nil
	}
	at, err := atOf(c.last)
	if err != nil {
		return err
	}
	c.lastSeen = at
	up := c.runs[c.in.run]
	if at.After(up.To) {
		up.To = at
	}
	if c.in.live {
		up.End = "running"
	}
	return nil
}

func (c *chronicle) mark(m *mark) {
	up := c.runs[c.in.run]
	switch m.Kind {
	case KindStart, KindContinue:
		up.Pid, up.boot, up.Sync = m.Pid, m.Boot, Sync(m.Sync)
		c.out.Scope = m.Scope
	case KindScope:
		c.out.Scope = m.Scope
	case KindStop:
		up.End = "stopped"
	case KindDropped:
		c.gap(Gap{From: m.From, To: m.At, Why: "dropped", Lost: m.Lost})
	case KindUnavailable:
		c.gap(Gap{From: m.From, To: m.At, Why: "refused", Lost: m.Lost})
	}
}

func (c *chronicle) damaged(s *segment, d Damage) {
	if d.Torn {
		return // nobody was told that it was recorded, so nothing came of it
	}
	g := Gap{Why: "damage", Segment: d.Segment, Offset: d.Offset, Lost: d.Bytes}
	if c.last != nil {
		g.From, c.err = atOf(c.last)
	}
	if c.gap(g) {
		c.closing++
	}
}

// gap notes g. The next good line ends those that are being closed, so a full list
// stretches its last one.
func (c *chronicle) gap(g Gap) (added bool) {
	if len(c.out.Gaps) < maxGaps {
		c.out.Gaps = append(c.out.Gaps, g)
		return true
	}
	last := &c.out.Gaps[maxGaps-1]
	last.To, last.Lost = g.To, last.Lost+g.Lost
	return false
}

func (c *chronicle) spans(segments []*segment) (*Spans, error) {
	if err := cmp.Or(c.err, c.leave()); err != nil {
		return nil, err
	}
	for _, up := range c.order {
		c.out.Up = append(c.out.Up, *up)
	}
	slices.SortStableFunc(c.out.Up, func(a, b Up) int { return a.From.Compare(b.From) })
	var last *Up // of those so far, the one that ran longest
	since := 0   // the first run after the time before, in which none ran
	for i := range c.out.Up {
		up := &c.out.Up[i]
		if last != nil && last.End != "running" && up.From.After(last.To) {
			c.out.Down = append(c.out.Down, Down{From: last.To, To: up.From})
			c.machineDied(c.out.Up[since:i], up)
			since = i
		}
		if last == nil || up.End == "running" || up.To.After(last.To) && last.End != "running" {
			last = up
		}
	}
	return &c.out, nil
}

// machineDied notes what may be lost of runs that ended before up was the first
// again, on a machine that has begun anew meanwhile. The machine outlived those
// that another of them followed.
func (c *chronicle) machineDied(before []Up, up *Up) {
	for i := range before {
		dead := &before[i]
		followed := slices.ContainsFunc(before, func(u Up) bool { return u.From.After(dead.To) })
		if !followed && dead.End == "died" && dead.Sync == Process && dead.boot != "" && up.boot != dead.boot {
			c.gap(Gap{From: dead.From, To: up.From, Why: "machine_died"})
		}
	}
}

// atOf reads when a whole line was recorded.
func atOf(line []byte) (time.Time, error) {
	m, err := decodeMark(line)
	if err != nil {
		return time.Time{}, err
	}
	return m.At, nil
}

// Span is a time, both ends included.
type Span struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Complete is the times for which the journal has all that left for a worker and
// was to be recorded: from Since to the last sign of a coordinator, those included
// in which none ran, without the gaps. Oldest first.
func (s *Spans) Complete() []Span {
	if s.Since.IsZero() {
		return []Span{}
	}
	rest := Span{From: s.Since, To: s.Since}
	for _, up := range s.Up {
		if up.To.After(rest.To) {
			rest.To = up.To
		}
	}
	gaps := slices.Clone(s.Gaps)
	slices.SortFunc(gaps, func(a, b Gap) int { return a.From.Compare(b.From) })
	complete := []Span{}
	for _, g := range gaps {
		if g.To.IsZero() { // nothing good was read behind it
			g.To = rest.To
		}
		if g.From.After(rest.From) {
			complete = append(complete, Span{rest.From, g.From})
		}
		if g.To.After(rest.From) {
			rest.From = g.To
		}
	}
	if rest.From.Before(rest.To) {
		complete = append(complete, rest)
	}
	return complete
}
