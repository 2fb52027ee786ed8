package pool

import (
	"context"
	"time"

	"commerce.example/coordinator/ipc"
)

// slot keeps one worker alive. Its fields belong to run, except status and
// member, which run writes under the pool's lock.
type slot struct {
	pool   *Pool
	number int

	restarts chan chan error      // each is answered once
	renewals chan struct{}        // give up the start under way, for another
	quits    chan context.Context // until when requests may end
	tried    chan struct{}        // closed after the first attempt
	ended    chan struct{}        // closed when run returns
	err      error                // of the worker's end, for those who saw ended

	status Status
	member *member // in service; nil: none

	record   record
	timer    *time.Timer        // of the next start
	abort    context.CancelFunc // of the start under way; nil: none
	again    bool               // a restart wants another one after it
	launched chan launch
	starts   uint64       // that made a worker ready
	waiting  []chan error // who asked for a restart that is under way
	recycle  recycle
}

// launch is the outcome of a start.
type launch struct {
	worker *ipc.Worker
	err    error
	took   time.Duration
}

func newSlot(p *Pool, number int) *slot {
	return &slot{
		pool: p, number: number,
		restarts: make(chan chan error), renewals: make(chan struct{}),
		quits: make(chan context.Context),
		tried: make(chan struct{}), ended: make(chan struct{}),
		status:   Status{Slot: number, State: Starting, Since: time.Now()},
		timer:    time.NewTimer(0),
		launched: make(chan launch, 1),
	}
}

// replace asks for a surge restart and waits for its outcome.
func (s *slot) replace(ctx context.Context) error {
	reply := make(chan error, 1)
	select {
	case s.restarts <- reply:
	case <-s.ended:
		return ErrStopped
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// hurry has a start that is under way begin anew, so that no restart waits for
// one that hangs: a pool starts one worker at a time.
func (s *slot) hurry(ctx context.Context) {
	select {
	case s.renewals <- struct{}{}:
	case <-s.ended:
	case <-ctx.Done():
	}
}

// run is the slot's life. Only quit blocks.
func (s *slot) run() {
	defer close(s.ended)
	for {
		select {
		case reply := <-s.restarts:
			s.restart(reply)
		case <-s.renewals:
			s.renew()
		case drain := <-s.quits:
			s.err = s.quit(drain)
			return
		case l := <-s.launched:
			s.arrived(l)
		case <-s.timer.C:
			s.rested()
		case <-s.lost():
			s.mourn()
		case <-s.worn():
			s.recycle.due = true
		case s.turn() <- struct{}{}:
			s.recycle.token = true
			s.launch()
		}
	}
}

// lost blocks for ever while there is no worker.
func (s *slot) lost() <-chan struct{} {
	if s.member == nil {
		return nil
	}
	return s.member.lost
}

// launch starts a worker aside; the loop goes on.
func (s *slot) launch() {
	ctx, cancel := context.WithCancel(s.pool.starts)
	s.abort = cancel
	if s.member == nil {
		s.setState(Starting, 0)
	}
	s.pool.running.Go(func() {
		defer cancel()
		s.launched <- s.pool.begin(ctx, s.number)
	})
}

// restart begins a surge restart.
func (s *slot) restart(reply chan error) {
	s.waiting = append(s.waiting, reply)
	s.record.forgive()
	s.note("")
	s.unschedule()
	if s.abort == nil {
		s.launch()
		return
	}
	s.renew()
}

// renew gives up a start that is under way for another: it may have been
// prepared before what the operator changed.
func (s *slot) renew() {
	if s.abort != nil {
		s.again = true
		s.abort()
	}
}

// arrived takes the outcome of a start.
func (s *slot) arrived(l launch) {
	again := s.again
	s.abort, s.again = nil, false
	switch {
	case l.err == nil:
		s.serve(l)
	case s.pool.starts.Err() != nil:
		again, l.err = false, ErrStopped
	case again: // it was given up
	case s.member != nil: // it goes on
		s.note(l.err.Error())
		s.pool.observe(Event{Slot: s.number, Kind: Faulted, Cause: CauseStart, Err: l.err})
		s.postpone()
	default:
		s.fault(CauseStart, nil, l.err)
	}
	if again {
		s.launch()
		return
	}
	s.giveBack()
	s.answer(l.err)
	s.firstTry()
}

// answer tells those who wait for a restart.
func (s *slot) answer(err error) {
	for _, reply := range s.waiting {
		reply <- err
	}
	s.waiting = nil
}

func (s *slot) firstTry() {
	select {
	case <-s.tried:
	default:
		close(s.tried)
	}
}

// serve puts a ready worker in service, in the old one's place if there is one.
func (s *slot) serve(l launch) {
	p, old, now := s.pool, s.member, time.Now()
	s.record.ready(now)
	m := newMember(s, l.worker)
	s.starts++
	m.start = s.starts
	p.mu.Lock()
	if old != nil {
		p.withdraw(old)
	}
	s.member = m
	p.serving = append(p.serving, m)
	s.status = Status{
		Slot: s.number, State: Ready, Pid: l.worker.Pid(), Since: now,
		Version: l.worker.Version(), Why: s.status.Why, Evidence: s.status.Evidence,
	}
	p.mu.Unlock()
	p.running.Go(m.watch)
	p.observe(Event{Slot: s.number, Pid: l.worker.Pid(), Kind: Started, Took: l.took})
	if old != nil {
		s.succeed(old)
	}
}

// succeed retires the worker that a new one has replaced. A recycling keeps the
// pool's token until the old worker has ended.
func (s *slot) succeed(old *member) {
	e := Event{Slot: s.number, Pid: old.worker.Pid(), Kind: Replaced, Cause: CauseOperator}
	if s.recycle.due && len(s.waiting) == 0 {
		e.Cause, e.Err = old.wornBy, old.wornWhy
	}
	s.pool.observe(e)
	token := s.recycle.token
	s.recycle = recycle{}
	s.retire(old, func() {
		if token {
			<-s.pool.recycling
		}
	})
}

// retire drains and stops a worker that is no longer in service, aside.
func (s *slot) retire(m *member, then func()) {
	p := s.pool
	p.running.Go(func() {
		defer then()
		ctx, cancel := context.WithTimeout(p.drains, p.config.DrainTimeout())
		defer cancel()
		_ = m.end(ctx) // observed
	})
}

// mourn handles the loss of the worker in service. What is left of one that ended
// or hangs is its watch's; another drains.
func (s *slot) mourn() {
	m := s.member
	s.unschedule()
	s.recycle.due = false // a start that is under way keeps its token
	s.pool.mu.Lock()
	s.member = nil
	s.status.State, s.status.Pid = Starting, 0 // fault says what it is
	s.pool.mu.Unlock()
	cause, err := m.loss()
	if cause == CauseProtocol || cause == CauseStuck {
		s.retire(m, func() {})
	}
	if m.isDrilled() {
		cause = CauseDrill
	}
	s.fault(cause, m, err)
}

// fault decides when the next start is. m is who was lost; nil: a start failed.
func (s *slot) fault(cause Cause, m *member, err error) {
	if s.pool.starts.Err() != nil {
		return
	}
	wait, quarantine := time.Duration(0), false
	if cause == CauseDrill {
		s.record.excuse()
	} else {
		wait, quarantine = s.record.fault(time.Now(), s.pool.config.Budget(), jitter())
	}
	if s.abort != nil {
		wait = 0 // a restart is under way already
	}
	s.note(err.Error())
	e := Event{Slot: s.number, Kind: Faulted, Cause: cause, Err: err, Wait: wait}
	if m != nil {
		e.Pid, e.Evidence = m.worker.Pid(), m.kept()
	}
	s.pool.observe(e)
	if quarantine {
		s.pool.observe(Event{Slot: s.number, Kind: Quarantine, Err: err, Wait: wait})
	}
	switch {
	case s.abort != nil:
		s.setState(Starting, 0)
	case wait == 0:
		s.launch()
	case s.record.quarantined:
		s.setState(Quarantined, wait)
		s.timer.Reset(wait)
	default:
		s.setState(Backoff, wait)
		s.timer.Reset(wait)
	}
}

// unschedule ends every wait for the timer.
func (s *slot) unschedule() {
	s.timer.Stop()
	s.recycle.waits = false
}

func (s *slot) setState(state State, wait time.Duration) {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	s.status.State, s.status.Since, s.status.Until = state, time.Now(), time.Time{}
	if wait > 0 {
		s.status.Until = s.status.Since.Add(wait)
	}
}

func (s *slot) note(why string) {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	s.status.Why = why
}

// quit drains and stops the worker. Its error is how the worker ended when it
// did not do so in order.
func (s *slot) quit(drain context.Context) (err error) {
	s.timer.Stop()
	s.answer(ErrStopped)
	if s.abort != nil {
		s.abort()
		if l := <-s.launched; l.worker != nil {
			l.worker.Kill()
		}
	}
	s.giveBack()
	s.firstTry()
	if m := s.member; m != nil {
		s.setState(Draining, 0)
		err = m.end(drain)
		s.pool.mu.Lock()
		s.member = nil
		s.status.Pid = 0
		s.pool.mu.Unlock()
	}
	s.setState(Stopped, 0)
	return err
}
