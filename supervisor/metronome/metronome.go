// Package metronome measures how late the machine lets a goroutine run that only
// waits for the clock: what a latency may be due to that is nobody's fault.
package metronome

import (
	"sync"
	"time"

	"commerce.example/coordinator/supervisor/hdr"
)

// Excuse is the quantile of one phase that can excuse a latency's 99th percentile: a
// request waits for a processor some five times on its way through three processes,
// the metronome once a beat.
const Excuse = 0.998

const beat = 5 * time.Millisecond

// A Metronome is safe for concurrent use. Make one with Start.
type Metronome struct {
	done, ended chan struct{}

	mu     sync.Mutex
	now    *hdr.Histogram
	phases map[string]*hdr.Histogram
}

// Start begins with a phase that has no name. Stop has to be called.
func Start() *Metronome {
	m := &Metronome{done: make(chan struct{}), ended: make(chan struct{}), phases: make(map[string]*hdr.Histogram)}
	m.Cut("")
	go m.run()
	return m
}

func (m *Metronome) run() {
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
			m.now.Record(now.Sub(due))
		}
		m.mu.Unlock()
	}
}

// Cut begins a phase; one of that name before is forgotten.
func (m *Metronome) Cut(phase string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = new(hdr.Histogram)
	m.phases[phase] = m.now
}

// Late is the q-quantile of how late the beats of a phase were; 0 when there was none.
func (m *Metronome) Late(phase string, q float64) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h := m.phases[phase]; h != nil {
		return h.Quantile(q)
	}
	return 0
}

// Stop ends it; its figures stay.
func (m *Metronome) Stop() {
	close(m.done)
	<-m.ended
}
