package pool

import (
	"time"

	"commerce.example/coordinator/ipc"
)

// Witness looks at workers that are about to be given up, while there is still
// something to see. Called with a Loss it notes at once what will be gone in a
// moment, the requests in flight, and returns the name under which keep will
// file the rest. keep is called once, when those requests have been failed over
// and before the worker is killed; it may take a second, for nobody but the
// worker's own end waits for it.
type Witness func(Loss) (name string, keep func())

// Loss is a worker that is about to be given up, and why.
type Loss struct {
	Slot   int
	Worker *ipc.Worker
	Cause  Cause
	Err    error
}

// lookBefore is how long before the end of its patience a worker that was asked
// to end is looked at: as long as a look may take, and a moment.
const lookBefore = 600 * time.Millisecond

// look has the witness look at m, once in its life. keep must be called.
func (m *member) look(cause Cause, err error) (keep func()) {
	p := m.slot.pool
	p.mu.Lock()
	first := !m.seen
	m.seen = true
	p.mu.Unlock()
	if p.config.Witness == nil || !first {
		return func() {}
	}
	name, keep := p.config.Witness(Loss{m.slot.number, m.worker, cause, err})
	p.mu.Lock()
	m.evidence, m.slot.status.Evidence = name, name
	p.mu.Unlock()
	return keep
}

// lookLate looks at a worker that has not ended shortly before patience does.
// The function it returns ends that, and waits for a look that is under way.
func (m *member) lookLate(patience time.Duration) (done func()) {
	looked := make(chan struct{})
	timer := time.AfterFunc(patience-min(lookBefore, patience/2), func() {
		defer close(looked)
		m.look(CauseOverrun, errStopOverrun)()
	})
	return func() {
		if !timer.Stop() {
			<-looked
		}
	}
}

// kept is the name of the evidence of m; empty: there is none.
func (m *member) kept() string {
	p := m.slot.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	return m.evidence
}
