package story

import (
	"sync"
	"time"

	"commerce.example/coordinator/supervisor/hdr"
)

// Lateness is how late the machine let a goroutine run that only waits for the
// clock.
type Lateness struct {
	P99 float64 `json:"late_p99_ms"`
	// P998 is what can excuse a latency: a request waits for a processor some five
	// times on its way through three processes, the metronome once a beat.
	P998 float64 `json:"late_p998_ms"`
}

const beat = 5 * time.Millisecond

// metronome measures what the machine alone does to latencies.
type metronome struct {
	done  chan struct{}
	ended chan struct{}

	mu     sync.Mutex
	name   string
	phases map[string]*hdr.Histogram
}

func startMetronome() *metronome {
	m := &metronome{done: make(chan struct{}), ended: make(chan struct{}), phases: map[string]*hdr.Histogram{"": {}}}
	go m.run()
	return m
}

func (m *metronome) run() {
	defer close(m.ended)
	due := time.Now().Add(beat)
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-m.done:
			return
		case <-tick.C:
		}
		// Every beat that is due by now, as requests have their places in a
		// schedule: one long stall hurts many of both.
		m.mu.Lock()
		for now := time.Now(); !due.After(now); due = due.Add(beat) {
			m.phases[m.name].Record(now.Sub(due))
		}
		m.mu.Unlock()
	}
}

func (m *metronome) cut(phase string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.name, m.phases[phase] = phase, new(hdr.Histogram)
}

func (m *metronome) phase(name string) Lateness {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.phases[name]
	return Lateness{P99: milliseconds(h.Quantile(0.99)), P998: milliseconds(h.Quantile(0.998))}
}

func (m *metronome) stop() {
	close(m.done)
	<-m.ended
}
