package pool

import (
	"context"
	"errors"
	"time"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/ipc/exchange"
)

// withdraw takes a worker out of service, under the pool's lock: no new leases.
func (p *Pool) withdraw(m *member) {
	for i, other := range p.serving {
		if other == m {
			p.serving = append(p.serving[:i], p.serving[i+1:]...)
			return
		}
	}
}

// retire drains a replaced worker and stops it, aside.
func (p *Pool) retire(m *member) {
	p.drains.Go(func() {
		ctx, cancel := context.WithTimeout(p.drainCtx, p.config.DrainTimeout())
		defer cancel()
		_ = p.end(ctx, m)
	})
}

// end waits for the leases of a withdrawn worker until ctx ends, then stops it.
func (p *Pool) end(ctx context.Context, m *member) error {
	p.mu.Lock()
	drained := make(chan struct{})
	if m.leases == 0 {
		close(drained)
	} else {
		m.drained = drained
	}
	p.mu.Unlock()
	select {
	case <-drained:
	case <-m.worker.Exited():
	case <-ctx.Done():
		m.worker.Fail(exchange.WorkerDied) // who is still there is told now
	}
	stop, cancel := context.WithTimeout(context.Background(), p.stopTimeout())
	defer cancel()
	err := m.worker.Stop(stop)
	e := Event{Slot: m.slot.number, Pid: m.worker.Pid(), Kind: Ended, Err: err}
	if stuck, ok := errors.AsType[*ipc.StuckError](err); ok {
		e.Kind, e.Stacks = StopOverrun, stuck.Stacks
	}
	p.observe(e)
	return err
}

func (p *Pool) stopTimeout() time.Duration {
	if p.config.StopTimeout > 0 {
		return p.config.StopTimeout
	}
	return 5 * time.Second
}
