package load

import (
	"math"
	"math/rand/v2"
	"time"
)

// schedule yields the times at which requests fall due.
type schedule struct {
	gap  float64 // mean, in nanoseconds
	n    float64
	at   float64
	rand *rand.Rand // nil for equal gaps
}

func newSchedule(o *Options) *schedule {
	s := &schedule{gap: min(1e9/o.Rate, math.MaxFloat64)} // no infinity: the first is due at 0 of them
	if o.Poisson {
		s.rand = rand.New(rand.NewPCG(o.Seed, 0))
	}
	return s
}

func (s *schedule) next() time.Duration {
	if s.rand == nil {
		// A product, not a sum: a million gaps must not add up their rounding.
		at := s.n * s.gap
		s.n++
		return bounded(at)
	}
	s.at += s.rand.ExpFloat64() * s.gap
	return bounded(s.at)
}

// bounded is at most some thirty years: a Duration holds no more than 292.
func bounded(nanoseconds float64) time.Duration { return time.Duration(min(nanoseconds, 1e18)) }

// pace hands out the places as they fall due. When every connection is busy it
// waits, and catches up afterwards: the places keep their times.
func (g *Generator) pace(bell *alarm) {
	defer close(g.due)
	s := newSchedule(&g.o)
	for n := 0; n < g.o.Count; n++ {
		p := place{n: uint64(n), at: s.next()}
		if p.at >= g.o.For {
			return
		}
		for wait := p.at - g.now(); wait > 0; wait = p.at - g.now() {
			if bell.sleep(wait) != nil || g.stopped.Load() {
				return // not due yet, so nothing is left out
			}
		}
		select {
		case g.due <- p:
		case <-g.ctx.Done():
			g.dropped(p) // each that is due by now; the loop ends at the first that is not
		}
	}
}
