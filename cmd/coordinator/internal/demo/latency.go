package demo

import (
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	defaultSpread = 0.4
	// A log-normal has no upper end; a service that answers has.
	longestLatency = 20 // medians
)

// latency draws times to answer, log-normally distributed as those of real
// services are. Safe for concurrent use.
type latency struct {
	median time.Duration
	sigma  float64

	mu   sync.Mutex
	rand *rand.Rand
}

func latencyOf(o Options, median time.Duration) *latency {
	l := &latency{median: median, sigma: defaultSpread, rand: rand.New(rand.NewPCG(o.Seed, 1))}
	if o.Latency != 0 {
		l.median = max(o.Latency, 0)
	}
	if o.Spread != 0 {
		l.sigma = max(o.Spread, 0)
	}
	return l
}

func (l *latency) next() time.Duration {
	if l.median == 0 {
		return 0
	}
	l.mu.Lock()
	z := l.rand.NormFloat64()
	l.mu.Unlock()
	return time.Duration(float64(l.median) * min(math.Exp(l.sigma*z), longestLatency))
}
