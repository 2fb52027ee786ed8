package top

import (
	"slices"
	"time"

	"commerce.example/coordinator/supervisor"
)

// A Sight is a bulkhead as it was when it was looked at last.
type Sight struct {
	supervisor.BulkheadStatus
	// Rates are those of the last 5 s; nil when there is nothing to compare with: it
	// was seen once, or its counts began anew.
	Rates *Rates

	past []glimpse // the oldest first
}

// Rates are per second.
type Rates struct{ Requests, Refused float64 }

// A glimpse is what is kept of a look.
type glimpse struct {
	at                time.Time
	requests, refused uint64
	inFlight          int
	p99               float64
}

const (
	glimpses = 60              // kept of each bulkhead
	compared = 5 * time.Second // that a rate is taken over, or since the look before
)

// next is what is known after another look at the bulkhead.
func (s Sight) next(b supervisor.BulkheadStatus, at time.Time) Sight {
	g := glimpse{at, b.RequestsTotal, b.RefusedTotal, b.InFlight, b.Recent.P99Seconds}
	past := s.past
	if n := len(past); n > 0 && (past[n-1].requests > g.requests || past[n-1].refused > g.refused) {
		past = nil
	}
	past = append(slices.Clone(past[max(0, len(past)-glimpses+1):]), g)
	return Sight{b, rates(past), past}
}

func rates(past []glimpse) *Rates {
	last := past[len(past)-1]
	before := past[max(0, len(past)-2)]
	for _, g := range past {
		if last.at.Sub(g.at) <= compared && g.at.Before(before.at) {
			before = g
		}
	}
	took := last.at.Sub(before.at).Seconds()
	if took <= 0 {
		return nil
	}
	return &Rates{
		Requests: float64(last.requests-before.requests) / took,
		Refused:  float64(last.refused-before.refused) / took,
	}
}

// series are a figure of each look, per second where it is a count.
func (s Sight) series(of func(before, now glimpse) float64) []float64 {
	var all []float64
	for i := 1; i < len(s.past); i++ {
		all = append(all, of(s.past[i-1], s.past[i]))
	}
	return all
}
