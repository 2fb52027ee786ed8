package pool

import "commerce.example/coordinator/ipc"

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
	return ErrQuarantined
}

// Worker is whom the request goes to.
func (l Lease) Worker() *ipc.Worker { return l.member.worker }

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
// Requests on connections that it has go on.
func (l Lease) Unreachable() { l.member.complain(strikesAllowed) }

// Broken says that the worker broke off an exchange or the protocol. One that
// repeats it is replaced.
func (l Lease) Broken() { l.member.complain(1) }
