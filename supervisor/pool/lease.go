package pool

import (
	"time"

	"commerce.example/coordinator/ipc"
)

// Lease is the right to hand one request to a worker.
type Lease struct {
	pool   *Pool
	member *member
}

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
	best.requests.Add(1)
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
	if len(p.all) == 0 {
		return ErrNoWorker
	}
	return ErrQuarantined
}

// Worker is whom the request goes to.
func (l Lease) Worker() *ipc.Worker { return l.member.worker }

// Slot is the number of the worker's slot.
func (l Lease) Slot() int { return l.member.slot.number }

// Start is which start of its slot the worker is, from 1.
func (l Lease) Start() uint64 { return l.member.start }

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

// Unreachable says that the worker refuses to be dialled, and how: it is
// replaced. Requests on connections that it has go on.
func (l Lease) Unreachable(err error) { l.member.complain(strikesAllowed, err) }

// Broken says that the worker broke off an exchange or the protocol, and how.
// One that repeats it is replaced.
func (l Lease) Broken(err error) { l.member.complain(1, err) }

// Overran says that a request's time ran out in the hands of the worker, which
// had not sent it and did not wait for the client. A worker that lets three in a
// row run out, and finishes none in between, is stuck and replaced. What was
// sent is the backend's, and must not be told here.
func (l Lease) Overran() {
	if l.member.overruns.Add(1) == overrunsAllowed {
		l.member.accuse(CauseStuck, errStuck)
	}
}

// Served says that the worker got a request to its backend, or to its end.
func (l Lease) Served() {
	if l.member.overruns.Load() != 0 { // which spares the others a cache miss
		l.member.overruns.Store(0)
	}
}

// Died reports, of a worker that broke off an exchange, whether its process has
// ended by itself. It waits 100 ms for that: the end of a process is seen a
// moment after that of its connections. False: it lives, or it was to end.
func (l Lease) Died() bool {
	m := l.member
	grace := time.NewTimer(exitGrace)
	defer grace.Stop()
	select {
	case <-m.worker.Exited():
	case <-grace.C:
		return false
	}
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	return !m.dismissed
}
