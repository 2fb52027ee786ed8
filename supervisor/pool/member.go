package pool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
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

	overrunsAllowed = 3 // requests in a row whose time ran out before they were sent

	// The end of a process is seen a moment after that of its connections, and
	// explains it.
	exitGrace = 100 * time.Millisecond
)

var (
	errStuck       = fmt.Errorf("the time of %d requests in a row ran out before it had sent them, and it finished none in between", overrunsAllowed)
	errDrainEnded  = errors.New("its requests did not end in time")
	errStopOverrun = errors.New("it does not end, though it was asked to")
)

// member is a worker from when it is ready until it has ended, with those who
// lease it.
type member struct {
	slot   *slot
	worker *ipc.Worker
	start  uint64 // of the slot, from 1

	accused chan struct{} // closed when there is a charge
	lost    chan struct{} // closed when it is no good any more, or has ended

	since    time.Time
	share    float64       // of its limits
	requests atomic.Uint64 // that it was leased for
	worn     chan struct{} // closed when it has reached one of them
	wornBy   Cause         // written by watch before worn closes
	wornWhy  error

	resting context.Context // ends when its end is awaited: no more probes
	rest    context.CancelFunc

	overruns atomic.Int32
	looking  sync.Mutex // held while an accused worker is looked at: it must not end before

	// Guarded by the pool's lock.
	leases  int
	drained chan struct{} // while draining: closed with the last lease
	strikes []time.Time   // complaints, at most strikesAllowed
	cause   Cause         // why lost, the first one
	err     error         // why lost, the last one

	charge    Cause  // what it is accused of; "": nothing
	chargeErr error  // in words
	dismissed bool   // its end is awaited: what it still holds ends with it
	seen      bool   // by the witness
	evidence  string // the name that the witness gave
	drilled   bool   // a drill does something to it: its loss is nobody's fault
	killed    bool   // by a drill
	plays     *drill // nil, or what it was last told to
}

func newMember(s *slot, w *ipc.Worker) *member {
	m := &member{
		slot: s, worker: w, accused: make(chan struct{}), lost: make(chan struct{}),
		since: time.Now(), share: newShare(), worn: make(chan struct{}),
	}
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
			m.lose(exitCause(m.worker), exitError(m.worker))
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
			m.examine(now)
		}
		err := m.probe()
		if err == nil {
			misses = 0
			continue
		}
		if misses++; misses == probeMisses {
			err = fmt.Errorf("no answer to %d probes within %v each: %w", misses, probeTimeout, err)
			keep := m.look(CauseUnresponsive, err)
			m.lose(CauseUnresponsive, err)
			m.worker.Fail(exchange.WorkerUnresponsive) // its safe requests go elsewhere, now
			keep()
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
func (m *member) complain(weight int, err error) {
	p, now := m.slot.pool, time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(m.strikes) > 0 && now.Sub(m.strikes[0]) > strikeWindow {
		m.strikes = m.strikes[1:]
	}
	for range min(weight, strikesAllowed-len(m.strikes)) {
		m.strikes = append(m.strikes, now)
	}
	if len(m.strikes) == strikesAllowed {
		m.charged(CauseProtocol, err)
	}
}

// accuse takes a worker out of service and has its watch give it up.
func (m *member) accuse(cause Cause, err error) {
	p := m.slot.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	m.charged(cause, err)
}

// charged is accuse, called under the lock. The first charge stays.
func (m *member) charged(cause Cause, err error) {
	if m.charge != "" {
		return
	}
	m.charge, m.chargeErr = cause, err
	m.slot.pool.withdraw(m)
	close(m.accused)
}

// convict gives up an accused worker, unless it has just ended. Its slot starts
// another one while it is still being looked at; only its own end waits.
func (m *member) convict() {
	grace := time.NewTimer(exitGrace)
	defer grace.Stop()
	select {
	case <-m.worker.Exited():
	case <-grace.C:
		m.looking.Lock()
		defer m.looking.Unlock()
		keep := m.look(m.charge, m.chargeErr)
		m.lose(m.charge, m.chargeErr)
		keep()
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
	e := Event{Slot: m.slot.number, Pid: m.worker.Pid(), Kind: Ended, Err: err, Evidence: m.kept()}
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
		keep := m.look(CauseOverrun, errDrainEnded)
		m.dismiss()
		m.worker.Fail(exchange.WorkerDied) // who is still there is told now
		keep()
	}
	m.looking.Lock() // a look takes a second at most
	m.dismiss()
	m.looking.Unlock()
	m.rest()
	patience := p.config.StopTimeout
	if patience == 0 {
		patience = 5 * time.Second
	}
	stop, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	defer m.lookLate(patience)()
	return m.worker.Stop(stop)
}

func exitCause(w *ipc.Worker) Cause {
	if w.OutOfMemory() {
		return CauseOOM
	}
	return CauseExit
}

// dismiss notes that the worker is to end: no request is to blame for that.
func (m *member) dismiss() {
	p := m.slot.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	m.dismissed = true
}

func exitError(w *ipc.Worker) error {
	if err := w.ExitError(); err != nil {
		return err
	}
	return errors.New("process ended: exit status 0")
}
