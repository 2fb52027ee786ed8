package pool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"commerce.example/coordinator/ipc"
)

// Config of a Pool.
type Config struct {
	// Size is the number of slots. One without any leases nothing.
	Size int
	// Spec says how to start the worker of a slot. It is asked before each
	// start; an error is a failed start.
	Spec func(slot int) (ipc.Spec, error)
	// Budget is that of each slot; it is asked at each fault.
	Budget func() Budget
	// Limits are those of each worker; they are asked at each look. Nil: there
	// are none.
	Limits func() Limits
	// DrainTimeout is how long the requests of a worker that was replaced, or
	// whose slot goes, may still take; it is asked each time.
	DrainTimeout func() time.Duration
	// StopTimeout is how long a worker may take to end when it is asked, once
	// its requests have ended; 0: 5 s.
	StopTimeout time.Duration
	// Peers is shared by the pools of a supervisor. Nil: there is no other.
	Peers *Peers
	// Witness looks at workers that are about to be given up. It is called from
	// several goroutines. Nil: nobody looks.
	Witness Witness
	// Observe is told what happens. It is called from several goroutines and
	// must not block. Nil: nobody is.
	Observe func(Event)
}

// Errors of Lease, Restart and Resize.
var (
	ErrNoWorker    = errors.New("no worker is ready")
	ErrQuarantined = errors.New("all slots are quarantined")
	ErrStopped     = errors.New("the pool is stopping")
)

// Pool is a set of slots. It is safe for concurrent use.
type Pool struct {
	config    Config
	starting  chan struct{}  // holds a token while a worker starts: one at a time
	operating chan struct{}  // holds a token: one Restart, Resize or Stop at a time
	recycling chan struct{}  // holds a token until a worker that reached a limit has ended
	running   sync.WaitGroup // every goroutine of the pool
	tried     chan struct{}  // closed when each slot of New had its first attempt

	starts    context.Context // ends with Stop
	endStarts context.CancelCauseFunc
	drains    context.Context // ends with the patience of Stop
	cutDrains context.CancelFunc

	drill atomic.Pointer[drill] // what its workers play; nil: nothing

	mu      sync.Mutex
	all     []*slot
	serving []*member // ready for leases
	stopped bool
}

// New makes a pool and begins to start its workers, and returns at once.
func New(c Config) *Pool {
	if c.Size < 0 {
		panic(fmt.Sprintf("pool: size %d", c.Size))
	}
	p := &Pool{
		config:   c,
		starting: make(chan struct{}, 1), operating: make(chan struct{}, 1),
		recycling: make(chan struct{}, 1), tried: make(chan struct{}),
	}
	p.starts, p.endStarts = context.WithCancelCause(context.Background())
	p.drains, p.cutDrains = context.WithCancel(context.Background())
	slots := p.grow(c.Size)
	p.running.Go(func() {
		defer close(p.tried)
		for _, s := range slots {
			<-s.tried
		}
	})
	return p
}

// Tried is closed when every slot of New has had its first attempt, successful
// or not.
func (p *Pool) Tried() <-chan struct{} { return p.tried }

// Restart replaces every worker by a new one, a slot after the other: the new
// worker is ready before the old one drains. It ends a quarantine, and gives up
// starts that are under way: they may not know yet what the operator changed.
// When a new worker does not start, the old one stays and Restart ends with the
// error; when ctx ends, the start under way goes on. replaced is how many slots
// have a new worker.
func (p *Pool) Restart(ctx context.Context) (replaced int, err error) {
	if err := p.operate(ctx); err != nil {
		return 0, err
	}
	defer p.operated()
	slots := p.slots()
	for _, s := range slots {
		s.hurry(ctx)
	}
	for _, s := range slots {
		if err := s.replace(ctx); err != nil {
			return replaced, fmt.Errorf("slot %d: %w", s.number, err)
		}
		replaced++
	}
	return replaced, nil
}

// Resize changes the number of slots. It returns when new ones had their first
// attempt, or when those that go have drained, DrainTimeout at most, and ended.
// When ctx ends first, that goes on.
func (p *Pool) Resize(ctx context.Context, size int) error {
	if size < 1 {
		return fmt.Errorf("%d workers: at least 1 is needed", size)
	}
	if err := p.operate(ctx); err != nil {
		return err
	}
	defer p.operated()
	if n := len(p.slots()); size > n {
		return p.await(ctx, p.grow(size-n))
	}
	return p.shrink(ctx, size)
}

// await waits for the first attempts of slots.
func (p *Pool) await(ctx context.Context, slots []*slot) error {
	for _, s := range slots {
		select {
		case <-s.tried:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return context.Cause(p.starts)
}

func (p *Pool) shrink(ctx context.Context, size int) error {
	p.mu.Lock()
	gone := append([]*slot(nil), p.all[size:]...)
	p.all = p.all[:size]
	p.mu.Unlock()
	ended := make(chan error, 1)
	p.running.Go(func() {
		drain, cancel := context.WithTimeout(p.drains, p.config.DrainTimeout())
		defer cancel()
		ended <- stopAll(drain, gone)
	})
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Stop ends the pool. Requests in flight may end until ctx does. The error says
// which workers had to be killed.
func (p *Pool) Stop(ctx context.Context) error {
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	p.endStarts(ErrStopped) // ends a Restart or Resize that waits for one
	defer p.cutDrains()
	defer context.AfterFunc(ctx, p.cutDrains)()
	p.operating <- struct{}{}
	defer p.operated()
	err := stopAll(p.drains, p.slots())
	p.running.Wait()
	return err
}

// operate takes the operator's token, while the pool lives.
func (p *Pool) operate(ctx context.Context) error {
	select {
	case p.operating <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := context.Cause(p.starts); err != nil {
		p.operated()
		return err
	}
	return nil
}

func (p *Pool) operated() { <-p.operating }

// stopAll ends slots, all at once. drain bounds what their requests may take.
func stopAll(drain context.Context, slots []*slot) error {
	for _, s := range slots {
		select {
		case s.quits <- drain:
		case <-s.ended:
		}
	}
	var errs []error
	for _, s := range slots {
		<-s.ended
		errs = append(errs, s.err)
	}
	return errors.Join(errs...)
}

func (p *Pool) slots() []*slot {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*slot(nil), p.all...)
}

func (p *Pool) grow(n int) []*slot {
	p.mu.Lock()
	defer p.mu.Unlock()
	had := len(p.all)
	for range n {
		s := newSlot(p, len(p.all))
		p.all = append(p.all, s)
		p.running.Go(s.run)
	}
	return append([]*slot(nil), p.all[had:]...)
}

// begin starts a worker. One start at a time in a pool, and no pool waits for
// another's.
func (p *Pool) begin(ctx context.Context, slot int) (l launch) {
	select {
	case p.starting <- struct{}{}:
		defer func() { <-p.starting }()
	case <-ctx.Done():
		return launch{err: context.Cause(ctx)}
	}
	begun := time.Now()
	spec, err := p.config.Spec(slot)
	if err != nil {
		return launch{err: err}
	}
	l.worker, l.err = ipc.Launch(ctx, spec)
	if l.err == nil {
		p.enlist(ctx, l.worker)
	}
	l.took = time.Since(begun)
	return l
}

func (p *Pool) observe(e Event) {
	if p.config.Observe != nil {
		p.config.Observe(e)
	}
}
