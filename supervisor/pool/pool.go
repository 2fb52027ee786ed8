package pool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"commerce.example/coordinator/ipc"
)

// Config of a Pool.
type Config struct {
	// Size is the number of slots, at least 1.
	Size int
	// Spec says how to start the worker of a slot. It is asked before each
	// start; an error is a failed start.
	Spec func(slot int) (ipc.Spec, error)
	// Budget is that of each slot; it is asked at each fault.
	Budget func() Budget
	// DrainTimeout is how long the requests of a worker that was replaced may
	// still take; it is asked at each replacement.
	DrainTimeout func() time.Duration
	// StopTimeout is how long a worker may take to end when it is asked, once
	// its requests have ended; 0: 5 s.
	StopTimeout time.Duration
	// Observe is told what happens, by the goroutine of a slot; it must not
	// block. Nil: nobody is.
	Observe func(Event)
}

// Errors of Lease.
var (
	ErrNoWorker    = errors.New("no worker is ready")
	ErrQuarantined = errors.New("all slots are quarantined")
	ErrStopped     = errors.New("the pool is stopping")
)

// Pool is a set of slots. It is safe for concurrent use.
type Pool struct {
	config Config
	start  chan struct{} // holds a token while a worker starts: one at a time
	slots  sync.WaitGroup
	ctx    context.Context // ends the starts under way
	cancel context.CancelFunc

	drains    sync.WaitGroup  // of workers that were replaced
	drainCtx  context.Context // ends their drains
	cutDrains context.CancelFunc

	operate sync.Mutex // one Restart, Resize or Stop at a time

	mu      sync.Mutex
	all     []*slot
	serving []*member // ready for leases
	stopped bool
}

// New makes a pool and begins to start its workers, and returns at once.
func New(c Config) *Pool {
	if c.Size < 1 {
		panic(fmt.Sprintf("pool: size %d", c.Size))
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Pool{config: c, start: make(chan struct{}, 1), ctx: ctx, cancel: cancel}
	p.drainCtx, p.cutDrains = context.WithCancel(context.Background())
	p.grow(c.Size)
	return p
}

// Lease is the right to hand one request to a worker.
type Lease struct {
	pool   *Pool
	member *member
}

// Worker is whom the request goes to.
func (l Lease) Worker() *ipc.Worker { return l.member.worker }

// Lease takes the ready worker with the fewest leases, other than not (which
// may be the zero Lease). It never waits: the limiter is the only queue.
func (p *Pool) Lease(not Lease) (Lease, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var best *member
	for _, m := range p.serving {
		if m != not.member && (best == nil || m.leases < best.leases) {
			best = m
		}
	}
	if best == nil {
		return Lease{}, p.whyNone()
	}
	best.leases++
	return Lease{p, best}, nil
}

// whyNone is called under the lock.
func (p *Pool) whyNone() error {
	if p.stopped {
		return ErrStopped
	}
	for _, s := range p.all {
		if s.status.State != Quarantined {
			return ErrNoWorker
		}
	}
	return ErrQuarantined
}

// Release gives the lease back. It must be called once.
func (l Lease) Release() {
	p, m := l.pool, l.member
	p.mu.Lock()
	defer p.mu.Unlock()
	if m.leases--; m.leases < 0 {
		panic("pool: lease released twice")
	}
	if m.leases == 0 && m.drained != nil {
		close(m.drained)
		m.drained = nil
	}
}

// Unreachable says that the worker could not even be dialled: it is replaced.
func (l Lease) Unreachable() { l.member.slot.complain(l.member, strikesAllowed) }

// Broken says that the worker broke off an exchange or the protocol. One that
// repeats it is replaced.
func (l Lease) Broken() { l.member.slot.complain(l.member, 1) }

// Tried is closed when every slot has had its first attempt, successful or not.
func (p *Pool) Tried() <-chan struct{} {
	p.mu.Lock()
	slots := append([]*slot(nil), p.all...)
	p.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, s := range slots {
			select {
			case <-s.tried:
			case <-s.ended:
			}
		}
	}()
	return done
}

// Restart replaces every worker by a new one, a slot after the other: the new
// worker is ready before the old one drains. It ends a quarantine. When a new
// worker does not start, the old one stays and Restart ends with the error.
// replaced is how many slots have a new worker.
func (p *Pool) Restart(ctx context.Context) (replaced int, err error) {
	p.operate.Lock()
	defer p.operate.Unlock()
	for _, s := range p.snapshot() {
		if err := s.ask(ctx, restart); err != nil {
			return replaced, fmt.Errorf("slot %d: %w", s.number, err)
		}
		replaced++
	}
	return replaced, nil
}

// Resize changes the number of slots. Those that go are drained first; Resize
// returns when they have ended, or when new ones had their first attempt.
func (p *Pool) Resize(ctx context.Context, size int) error {
	if size < 1 {
		return fmt.Errorf("%d workers: at least 1 is needed", size)
	}
	p.operate.Lock()
	defer p.operate.Unlock()
	slots := p.snapshot()
	if size > len(slots) {
		p.grow(size - len(slots))
		select {
		case <-p.Tried():
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	p.mu.Lock()
	p.all = p.all[:size]
	p.mu.Unlock()
	return stopAll(ctx, slots[size:])
}

// Stop ends the pool. Requests in flight may end until ctx does.
func (p *Pool) Stop(ctx context.Context) error {
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	p.cancel() // starts under way; a Restart that waits for one ends
	p.operate.Lock()
	defer p.operate.Unlock()
	err := stopAll(ctx, p.snapshot())
	p.slots.Wait()
	stop := context.AfterFunc(ctx, p.cutDrains)
	defer stop()
	p.drains.Wait()
	return err
}

func stopAll(ctx context.Context, slots []*slot) error {
	errs := make([]error, len(slots))
	var wg sync.WaitGroup
	for i, s := range slots {
		wg.Go(func() { errs[i] = s.stop(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (p *Pool) snapshot() []*slot {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*slot(nil), p.all...)
}

func (p *Pool) grow(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range n {
		s := newSlot(p, len(p.all))
		p.all = append(p.all, s)
		p.slots.Go(s.run)
	}
}

func (p *Pool) observe(e Event) {
	if p.config.Observe != nil {
		p.config.Observe(e)
	}
}
