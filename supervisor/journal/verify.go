package journal

import (
	"context"
	"time"
)

// maxDamage bounds the damage that is listed, and maxBulkheads the names that are
// counted apart: what a file says is not believed without bound.
const (
	maxDamage    = 1000
	maxBulkheads = 1000
)

// Verification is what Verify found.
type Verification struct {
	Segments   int      `json:"segments"`
	Bytes      int64    `json:"bytes"`
	Records    int64    `json:"records"`    // whole lines
	Foreign    int64    `json:"foreign"`    // of them, of another version
	Damage     []Damage `json:"damage"`     // the first 1,000
	Damaged    int      `json:"damaged"`    // all, torn ends apart
	Torn       int      `json:"torn"`       // ends of segments whose writer died: expected
	Unrecorded int      `json:"unrecorded"` // intents that nothing closes
}

// OK reports that nothing but torn ends was found.
func (v *Verification) OK() bool { return v.Damaged == 0 }

// Verify reads every byte.
func (r *Reader) Verify(ctx context.Context) (*Verification, error) {
	v := &Verification{Damage: []Damage{}}
	segments, err := r.listOrNothing()
	if err != nil {
		return nil, err
	}
	v.Segments = len(segments)
	j := newJoin(func([]byte) bool { return true }, func(s *Story) error {
		if s.State == Unrecorded {
			v.Unrecorded++
		}
		return nil
	})
	err = r.walk(ctx, segments, func(s *segment, offset int64, line []byte) error {
		v.Records++
		if kind, _ := peek(line); kind == nil {
			v.Foreign++
		}
		return j.visit(s, offset, line)
	}, func(_ *segment, d Damage) {
		if d.Torn {
			v.Torn++
		} else {
			v.Damaged++
		}
		if len(v.Damage) < maxDamage {
			v.Damage = append(v.Damage, d)
		}
	})
	for _, s := range segments {
		v.Bytes += s.size
	}
	if err == nil {
		err = j.rest(segments)
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

// Summary is the journal in numbers.
type Summary struct {
	Segments   int       `json:"segments"`
	Bytes      int64     `json:"bytes"`
	Oldest     time.Time `json:"oldest,omitzero"` // arrival, of the stories counted
	Newest     time.Time `json:"newest,omitzero"`
	Stories    int64     `json:"stories"`
	InFlight   int64     `json:"in_flight"`
	Unrecorded int64     `json:"unrecorded"`
	Recovered  int64     `json:"recovered"`
	// Outcomes is bulkhead to outcome to stories, for the first 1,000 bulkheads
	// and 64 outcomes of each; others are counted in Stories only.
	Outcomes map[string]map[string]int64 `json:"outcomes"`
}

// Stats counts the stories that f lets through.
func (r *Reader) Stats(ctx context.Context, f Filter) (*Summary, error) {
	segments, err := r.listOrNothing()
	if err != nil {
		return nil, err
	}
	sum := &Summary{Segments: len(segments), Outcomes: make(map[string]map[string]int64)}
	for _, s := range segments {
		sum.Bytes += s.size
	}
	for s, err := range r.Find(ctx, f) {
		if err != nil {
			return nil, err
		}
		sum.add(s)
	}
	return sum, nil
}

func (sum *Summary) add(s *Story) {
	at := s.arrived()
	if sum.Stories++; sum.Stories == 1 || at.Before(sum.Oldest) {
		sum.Oldest = at
	}
	if at.After(sum.Newest) {
		sum.Newest = at
	}
	switch {
	case s.State == InFlight:
		sum.InFlight++
		return
	case s.State == Unrecorded:
		sum.Unrecorded++
	case s.By == ByRecovery:
		sum.Recovered++
	}
	outcomes := sum.Outcomes[s.Bulkhead]
	if outcomes == nil {
		if len(sum.Outcomes) == maxBulkheads {
			return
		}
		outcomes = make(map[string]int64)
		sum.Outcomes[s.Bulkhead] = outcomes
	}
	if _, known := outcomes[s.Outcome]; known || len(outcomes) < 64 {
		outcomes[s.Outcome]++
	}
}
