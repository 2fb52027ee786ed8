package pool

import (
	"context"
	"errors"
	"time"

	"commerce.example/coordinator/ipc"
)

const (
	probeEvery   = 500 * time.Millisecond
	probeTimeout = 800 * time.Millisecond
	probeMisses  = 2 // in a row: a frozen worker is found in 0.5 + 2 x 0.8 s
	probeLag     = 500 * time.Millisecond
	trimEvery    = 10 * time.Second

	strikesAllowed = 3 // broken exchanges within strikeWindow
	strikeWindow   = 60 * time.Second
)

// member is a worker in service, with those who lease it. All but worker and
// slot is guarded by the pool's lock.
type member struct {
	slot    *slot
	worker  *ipc.Worker
	leases  int
	drained chan struct{} // while draining: closed with the last lease
}

// slot keeps one worker alive. Its fields belong to run, except status and
// member, which run writes under the pool's lock.
type slot struct {
	pool   *Pool
	number int

	messages chan message
	tried    chan struct{} // closed after the first attempt
	ended    chan struct{} // closed when run returns

	status Status
	member *member

	record    record
	launching bool
	launched  chan launch
	waiting   []chan error // who asked for a restart that is under way
	timer     *time.Timer  // of the next start
	probed    chan probe
	probing   bool
	misses    int
	strikes   []time.Time
	trimmed   time.Time
}

type request int

const (
	restart request = iota
	quit
	complaint
)

type message struct {
	request
	ctx    context.Context // of quit: until when requests may end
	reply  chan error      // buffered
	member *member         // of complaint
	weight int
}

type launch struct {
	worker *ipc.Worker
	err    error
	took   time.Duration
}

type probe struct {
	worker *ipc.Worker
	err    error
	lag    time.Duration // how much later than it should the supervisor looked
}

func newSlot(p *Pool, number int) *slot {
	return &slot{
		pool: p, number: number,
		messages: make(chan message, 16),
		tried:    make(chan struct{}), ended: make(chan struct{}),
		status:   Status{Slot: number, State: Starting, Since: time.Now()},
		launched: make(chan launch, 1), probed: make(chan probe, 1),
	}
}

// ask sends a request to the slot's loop and waits for its answer.
func (s *slot) ask(ctx context.Context, r request) error {
	m := message{request: r, ctx: ctx, reply: make(chan error, 1)}
	patience := ctx.Done()
	if r == quit {
		patience = nil // the loop itself keeps to ctx: it kills what is left
	}
	select {
	case s.messages <- m:
	case <-s.ended:
		return ErrStopped
	case <-patience:
		return context.Cause(ctx)
	}
	select {
	case err := <-m.reply:
		return err
	case <-s.ended:
		select {
		case err := <-m.reply:
			return err
		default:
			return ErrStopped
		}
	case <-patience:
		return context.Cause(ctx)
	}
}

func (s *slot) stop(ctx context.Context) error {
	if err := s.ask(ctx, quit); !errors.Is(err, ErrStopped) {
		return err
	}
	return nil
}

// complain never blocks: when the loop is that far behind, others have told it.
func (s *slot) complain(m *member, weight int) {
	select {
	case s.messages <- message{request: complaint, member: m, weight: weight}:
	default:
	}
}

// run is the slot's life.
func (s *slot) run() {
	defer close(s.ended)
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	s.timer = time.NewTimer(time.Hour)
	s.timer.Stop()
	defer s.timer.Stop()
	s.launch()
	for {
		select {
		case m := <-s.messages:
			switch m.request {
			case restart:
				s.restart(m.reply)
			case complaint:
				s.complained(m)
			case quit:
				m.reply <- s.quit(m.ctx)
				return
			}
		case l := <-s.launched:
			s.arrived(l)
		case <-s.timer.C:
			s.launch()
		case <-s.exited():
			s.lost(CauseExit, exitError(s.member.worker))
		case <-tick.C:
			s.tick()
		case p := <-s.probed:
			s.judge(p)
		}
	}
}

// exited blocks for ever while there is no worker.
func (s *slot) exited() <-chan struct{} {
	if s.member == nil {
		return nil
	}
	return s.member.worker.Exited()
}

func exitError(w *ipc.Worker) error {
	if err := w.ExitError(); err != nil {
		return err
	}
	return errors.New("process ended: exit status 0")
}

// launch starts a worker aside; the loop goes on. One start at a time in a pool,
// and no pool waits for another's.
func (s *slot) launch() {
	if s.launching {
		return
	}
	s.launching = true
	if s.member == nil {
		s.setState(Starting, 0)
	}
	go func() {
		var l launch
		select {
		case s.pool.start <- struct{}{}:
			begun := time.Now()
			l.worker, l.err = s.begin()
			l.took = time.Since(begun)
			<-s.pool.start
		case <-s.pool.ctx.Done():
			l.err = ErrStopped
		}
		s.launched <- l
	}()
}

func (s *slot) begin() (*ipc.Worker, error) {
	spec, err := s.pool.config.Spec(s.number)
	if err != nil {
		return nil, err
	}
	return ipc.Launch(s.pool.ctx, spec)
}

// arrived takes the outcome of a start.
func (s *slot) arrived(l launch) {
	s.launching = false
	defer s.firstTry()
	if l.err != nil {
		s.answer(l.err)
		if s.member != nil {
			s.note(l.err) // the old worker goes on
			s.pool.observe(Event{Slot: s.number, Kind: Faulted, Cause: CauseStart, Err: l.err})
			return
		}
		s.fault(CauseStart, 0, l.err)
		return
	}
	old := s.member
	s.serve(l)
	if old != nil {
		s.pool.observe(Event{Slot: s.number, Pid: old.worker.Pid(), Kind: Replaced, Cause: CauseOperator})
		s.pool.retire(old)
	}
	s.answer(nil)
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
	now := time.Now()
	s.record.ready(now)
	s.misses, s.strikes, s.trimmed = 0, nil, now
	p := s.pool
	p.mu.Lock()
	if s.member != nil {
		p.withdraw(s.member)
	}
	s.member = &member{slot: s, worker: l.worker}
	p.serving = append(p.serving, s.member)
	why := s.status.Why
	s.status = Status{
		Slot: s.number, State: Ready, Pid: l.worker.Pid(), Since: now,
		Version: l.worker.Version(), Why: why,
	}
	p.mu.Unlock()
	p.observe(Event{Slot: s.number, Pid: l.worker.Pid(), Kind: Started, Took: l.took})
}

// restart begins a surge restart, or joins the one under way.
func (s *slot) restart(reply chan error) {
	s.waiting = append(s.waiting, reply)
	s.record.forgive()
	s.timer.Stop()
	s.launch()
}

func (s *slot) answer(err error) {
	for _, reply := range s.waiting {
		reply <- err
	}
	s.waiting = nil
}

// lost handles the end of the worker in service.
func (s *slot) lost(cause Cause, err error) {
	m := s.member
	s.pool.mu.Lock()
	s.pool.withdraw(m)
	s.member = nil
	s.status.State, s.status.Pid = Starting, 0 // fault says what it is
	s.pool.mu.Unlock()
	pid := m.worker.Pid()
	if cause != CauseExit {
		s.pool.drains.Go(m.worker.Kill)
	}
	s.fault(cause, pid, err)
}

// fault decides when the next start is.
func (s *slot) fault(cause Cause, pid int, err error) {
	if s.pool.ctx.Err() != nil {
		return
	}
	was := s.record.quarantined
	wait := s.record.fault(time.Now(), s.pool.config.Budget(), jitter())
	s.note(err)
	s.pool.observe(Event{Slot: s.number, Pid: pid, Kind: Faulted, Cause: cause, Err: err, Wait: wait})
	if s.record.quarantined && !was {
		s.pool.observe(Event{Slot: s.number, Kind: Quarantine, Err: err, Wait: wait})
	}
	if s.launching {
		return // a surge restart is under way already
	}
	if wait == 0 {
		s.launch()
		return
	}
	state := Backoff
	if s.record.quarantined {
		state = Quarantined
	}
	s.setState(state, wait)
	s.timer.Reset(wait)
}

func (s *slot) setState(state State, wait time.Duration) {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	s.status.State, s.status.Since, s.status.Until = state, time.Now(), time.Time{}
	if wait > 0 {
		s.status.Until = s.status.Since.Add(wait)
	}
}

func (s *slot) note(err error) {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	s.status.Why = err.Error()
}

// quit drains and stops the worker. Its own error is a stop that overran.
func (s *slot) quit(ctx context.Context) error {
	s.answer(ErrStopped)
	if s.launching {
		if l := <-s.launched; l.worker != nil {
			l.worker.Kill()
		}
	}
	if s.probing {
		<-s.probed
	}
	defer s.firstTry()
	m := s.member
	if m == nil {
		s.setState(Stopped, 0)
		return nil
	}
	s.setState(Draining, 0)
	s.pool.mu.Lock()
	s.pool.withdraw(m)
	s.pool.mu.Unlock()
	err := s.pool.end(ctx, m)
	s.pool.mu.Lock()
	s.member = nil
	s.status.Pid = 0
	s.pool.mu.Unlock()
	s.setState(Stopped, 0)
	return err
}
