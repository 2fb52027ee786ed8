package pool

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/ipc/exchange"
)

const (
	probeEvery   = 500 * time.Millisecond
	probeTimeout = 800 * time.Millisecond
	probeMisses  = 2 // in a row: a frozen worker is found in 0.5 + 2 x 0.8 s
	probeLag     = 500 * time.Millisecond
	trimEvery    = 10 * time.Second

	strikesAllowed = 3 // broken exchanges within strikeWindow
	strikeWindow   = 60 * time.Second

	// The end of a process is seen a moment after that of its connections, and
	// explains it.
	exitGrace = 100 * time.Millisecond
)

// member is a worker from when it is ready until it has ended, with those who
// lease it.
type member struct {
	slot   *slot
	worker *ipc.Worker

	accused chan struct{} // closed when requests have complained enough
	lost    chan struct{} // closed when it is no good any more, or has ended

	resting context.Context // ends when its end is awaited: no more probes
	rest    context.CancelFunc

	// Guarded by the pool's lock.
	leases  int
	drained chan struct{} // while draining: closed with the last lease
	strikes []time.Time   // complaints, at most strikesAllowed
	cause   Cause         // why lost, the first one
	err     error         // why lost, the last one
	drilled bool          // a drill does something to it: its loss is nobody's fault
	killed  bool          // by a drill
	plays   *drill        // nil, or what it was last told to
}

func newMember(s *slot, w *ipc.Worker) *member {
	m := &member{slot: s, worker: w, accused: make(chan struct{}), lost: make(chan struct{})}
	m.resting, m.rest = context.WithCancel(context.Background())
	return m
}

// watch probes the worker, in service or draining, until it has ended or its end
// is awaited.
func (m *member) watch() {
	defer m.rest()
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	accused := m.accused
	misses, trimmed := 0, time.Now()
	for {
		select {
		case <-m.resting.Done():
			return
		case <-m.worker.Exited():
			m.lose(CauseExit, exitError(m.worker))
			<-m.worker.Done()
			return
		case <-accused:
			accused = nil
			m.convict()
			continue
		case now := <-tick.C:
			if now.Sub(trimmed) > trimEvery {
				trimmed = now
				m.worker.Trim(now)
			}
		}
		err := m.probe()
		if err == nil {
			misses = 0
			continue
		}
		if misses++; misses == probeMisses {
			m.lose(CauseUnresponsive, fmt.Errorf("no answer to %d probes within %v each: %w", misses, probeTimeout, err))
			m.worker.Fail(exchange.WorkerUnresponsive) // its safe requests go elsewhere, now
			m.worker.Kill()
			return
		}
	}
}

// probe asks the worker's loop whether it is alive; the error is a miss.
func (m *member) probe() error {
	ctx, cancel := context.WithTimeout(m.resting, probeTimeout)
	defer cancel()
	begun := time.Now()
	err := m.worker.Probe(ctx)
	if err == nil {
		return nil
	}
	select {
	case <-m.worker.Exited():
		return nil // which is seen next
	case <-ctx.Done(): // a miss takes its time, so that an exit is not taken for one
	}
	if m.resting.Err() != nil || m.excused(err, time.Since(begun)-probeTimeout) {
		return nil
	}
	return err
}

// excused reports whether a miss says nothing about the worker, because the
// supervisor itself was late to see the answer, had no descriptor to ask with, or
// other pools miss too: after a pause of the supervisor all workers would be
// killed. What the kernel says of the process counts in any case.
func (m *member) excused(err error, late time.Duration) bool {
	if frozen(m.worker.Pid()) {
		return false
	}
	p := m.slot.pool
	return late > probeLag || p.config.Peers.excuse(p, time.Now()) ||
		errors.Is(err, ipc.ErrNoConnection) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// complain weighs what a request says of its worker.
func (m *member) complain(weight int) {
	p, now := m.slot.pool, time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(m.strikes) == strikesAllowed {
		return // it is accused
	}
	for len(m.strikes) > 0 && now.Sub(m.strikes[0]) > strikeWindow {
		m.strikes = m.strikes[1:]
	}
	for range min(weight, strikesAllowed-len(m.strikes)) {
		m.strikes = append(m.strikes, now)
	}
	if len(m.strikes) == strikesAllowed {
		p.withdraw(m)
		close(m.accused)
	}
}

// convict gives up an accused worker, unless it has just ended.
func (m *member) convict() {
	grace := time.NewTimer(exitGrace)
	defer grace.Stop()
	select {
	case <-m.worker.Exited():
	case <-grace.C:
		m.lose(CauseProtocol, errors.New("unreachable, or it kept breaking off exchanges"))
	}
}

// lose takes a worker out of service for good.
func (m *member) lose(cause Cause, err error) {
	p := m.slot.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	m.err = err
	if m.cause == "" {
		m.cause = cause
		p.withdraw(m)
		close(m.lost)
	}
}

// loss is why it was lost; zero: it was not.
func (m *member) loss() (Cause, error) {
	p := m.slot.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	return m.cause, m.err
}

// withdraw ends new leases of m. It is called under the lock.
func (p *Pool) withdraw(m *member) {
	for i, other := range p.serving {
		if other == m {
			p.serving = append(p.serving[:i], p.serving[i+1:]...)
			return
		}
	}
}

// end drains m until ctx ends, then stops it. Nothing of it is left then.
func (m *member) end(ctx context.Context) error {
	err := m.drain(ctx)
	e := Event{Slot: m.slot.number, Pid: m.worker.Pid(), Kind: Ended, Err: err}
	if stuck, ok := errors.AsType[*ipc.StuckError](err); ok {
		e.Kind, e.Stacks = StopOverrun, stuck.Stacks
	}
	m.slot.pool.observe(e)
	return err
}

func (m *member) drain(ctx context.Context) error {
	defer m.rest()
	p, drained := m.slot.pool, make(chan struct{})
	p.mu.Lock()
	p.withdraw(m)
	if m.leases == 0 {
		close(drained)
	} else {
		m.drained = drained
	}
	p.mu.Unlock()
	select {
	case <-drained:
	case <-m.worker.Exited():
		<-m.worker.Done()
		if _, err := m.loss(); err != nil {
			return err
		}
		return exitError(m.worker)
	case <-ctx.Done():
		m.worker.Fail(exchange.WorkerDied) // who is still there is told now
	}
	m.rest()
	patience := p.config.StopTimeout
	if patience == 0 {
		patience = 5 * time.Second
	}
	stop, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return m.worker.Stop(stop)
}

func exitError(w *ipc.Worker) error {
	if err := w.ExitError(); err != nil {
		return err
	}
	return errors.New("process ended: exit status 0")
}
