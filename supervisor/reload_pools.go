package supervisor

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"commerce.example/coordinator/supervisor/adaptive"
	"commerce.example/coordinator/supervisor/pool"
)

// startNewPools starts the new workers that the plan needs, all at once, and
// waits for them. It returns what to say of those that did not get ready: of bulkheads
// that keep their configuration therefore, and of new ones, which have nothing to fall
// back to and come as they are.
func (s *Supervisor) startNewPools(ctx context.Context, p *reloadPlan) (kept, lacking []string) {
	now := time.Now()
	for _, c := range p.revisions {
		if c.added {
			c.bulkhead = newBulkhead(c.to, adaptive.Found{}, s.commons(), newBulkheadStats(s.metrics, c.to.Name, now), now)
		}
		if c.needsWorkers() {
			c.pool = s.newPool(c.bulkhead, c.to)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	for _, c := range p.revisions {
		if c.pool == nil {
			continue
		}
		select {
		case <-c.pool.Tried():
		case <-ctx.Done():
		}
		why := notReady(c.pool.Status())
		switch {
		case why == "":
		case c.added:
			lacking = append(lacking, c.to.Name+": "+why)
		default:
			kept = append(kept, fmt.Sprintf("%s: keeps its old configuration: %s", c.to.Name, why))
			s.discard(c.pool)
			c.pool, c.kept, c.to = nil, true, c.from
		}
	}
	return kept, lacking
}

// notReady says why not every slot has a worker.
func notReady(workers []pool.Status) string {
	for _, w := range workers {
		if w.State != pool.Ready {
			return fmt.Sprintf("the new worker of slot %d did not get ready: %s", w.Slot, w.Why)
		}
	}
	return ""
}

// discard ends a pool that served nobody.
func (s *Supervisor) discard(p *pool.Pool) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = p.Stop(ctx)
}

// abandon undoes startNewPools.
func (s *Supervisor) abandon(p *reloadPlan) {
	for _, c := range p.revisions {
		if c.pool != nil {
			s.discard(c.pool)
		}
		if c.added {
			s.metrics.forget(c.to.Name)
		}
	}
}

// resizePools gives the bulkheads that keep their workers as many as the plan says, all
// at once. It returns what to say of those that did not come to it: those in startWait,
// before the supervisor stops, or not at all. What has begun goes on.
func (s *Supervisor) resizePools(p *reloadPlan) (said []string) {
	ctx, cancel := context.WithTimeoutCause(s.life, startWait, fmt.Errorf("not within %v", startWait))
	defer cancel()
	var all sync.WaitGroup
	var mu sync.Mutex // of said
	for _, c := range p.revisions {
		if c.kept || c.pool != nil {
			continue
		}
		// By what there is: an operator may have resized it since the plan was made.
		workers := c.bulkhead.pool.Load()
		has := len(workers.Status())
		if has == c.to.Workers {
			continue
		}
		all.Go(func() {
			if err := c.bulkhead.resizePool(ctx, workers, c.to.Workers); err != nil {
				mu.Lock()
				defer mu.Unlock()
				said = append(said, fmt.Sprintf("%s: %d -> %d workers: %v", c.to.Name, has, c.to.Workers, err))
			}
		})
	}
	all.Wait()
	slices.Sort(said)
	return said
}

// retire drains a pool that no request finds any more, aside.
func (s *Supervisor) retire(bulkhead string, p *pool.Pool, timeout time.Duration, then func()) {
	gone := make(chan struct{})
	s.retired[bulkhead] = gone
	s.retiring.Go(func() {
		defer close(gone)
		ctx, cancel := context.WithTimeout(s.hard, max(timeout, time.Second))
		defer cancel()
		_ = p.Stop(ctx)
		then()
	})
}

// awaitRetired waits for the workers that an earlier reload took out of service,
// in those bulkheads that are to get new ones: a bulkhead has two generations of
// workers at most, however fast one reload follows another.
func (s *Supervisor) awaitRetired(ctx context.Context, p *reloadPlan) error {
	for _, c := range p.revisions {
		gone := s.retired[c.to.Name]
		if gone == nil || !c.needsWorkers() {
			continue
		}
		select {
		case <-gone:
		default:
			s.log.Info("reload waits for the workers that an earlier one replaced", "bulkhead", c.to.Name)
		}
		select {
		case <-gone:
			delete(s.retired, c.to.Name)
		case <-ctx.Done():
			return fmt.Errorf("workers of %s that an earlier reload replaced still drain (%w)", c.to.Name, context.Cause(ctx))
		}
	}
	return nil
}
