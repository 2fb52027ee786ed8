package supervisor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"commerce.example/coordinator/supervisor/adaptive"
	"commerce.example/coordinator/supervisor/breaker"
	"commerce.example/coordinator/supervisor/pool"
)

// report times an operation on one bulkhead and puts what it did into words. One has
// its turn at a time, and it is nothing when ctx ends before that comes: whoever gave it
// up must not find it done later.
func (s *Supervisor) report(ctx context.Context, action, name string, do func(b *Bulkhead) (string, error)) Report {
	return s.reported(action, name, func(b *Bulkhead) (did string, err error) {
		b.operate.Lock()
		defer b.operate.Unlock()
		if err := begins(ctx); err != nil {
			return "", err
		}
		return do(b)
	})
}

// reported is report of what waits for its turn itself, or needs none.
func (s *Supervisor) reported(action, name string, do func(b *Bulkhead) (string, error)) Report {
	begun := time.Now()
	r := Report{Action: action, Bulkheads: []string{name}}
	b := s.find(name)
	if b == nil {
		r.Error = fmt.Sprintf("there is no bulkhead %q", name)
		return r
	}
	if action != "drill" {
		defer s.drill.bar("an operator's " + action)() // which would be judged with it
	}
	var err error
	if r.Did, err = do(b); err != nil {
		r.Error = err.Error()
	}
	r.took(begun)
	s.metrics.operated(action, err)
	b.noted.transition("operator", strings.TrimSuffix(action+": "+r.Did, ": "), r.Error)
	if err != nil {
		s.log.Error("operation failed", "action", action, "bulkhead", name, "error", err, "took_ms", r.TookMS)
	} else {
		s.log.Info(r.Did, "action", action, "bulkhead", name, "took_ms", r.TookMS)
	}
	return r
}

// begins is why an operation whose turn has come is not begun; nil: it is.
func begins(ctx context.Context) error {
	if ctx.Err() != nil {
		return fmt.Errorf("not begun: %w", context.Cause(ctx))
	}
	return nil
}

func (r *Report) took(begun time.Time) {
	r.Took = time.Since(begun)
	r.TookMS = float64(r.Took.Microseconds()) / 1000
}

func (s *Supervisor) find(name string) *Bulkhead {
	for _, b := range s.bulkheads() {
		if b.settings.Load().Name == name {
			return b
		}
	}
	return nil
}

// Restart replaces every worker of a bulkhead, one after the other, each by one
// that has proved itself ready. It ends a quarantine.
func (s *Supervisor) Restart(ctx context.Context, name string) Report {
	return s.report(ctx, "restart", name, func(b *Bulkhead) (string, error) {
		n, err := b.pool.Load().Restart(ctx)
		return fmt.Sprintf("replaced %s", plural(n, "worker")), err
	})
}

// Drain has a bulkhead take no new requests, and waits until those in flight
// have ended, or ctx has. Other operations do not wait for that, and Resume ends it.
func (s *Supervisor) Drain(ctx context.Context, name string) Report {
	return s.reported("drain", name, func(b *Bulkhead) (string, error) {
		waited, err := b.drain(ctx)
		if err != nil {
			return "", err
		}
		for {
			left := b.inFlight()
			switch {
			case !b.draining.Load():
				return "", fmt.Errorf("ended by a resume, with %s in flight", plural(left, "request"))
			case left == 0:
				return fmt.Sprintf("drained, %s had been in flight", plural(waited, "request")), nil
			case !sleep(ctx, 10*time.Millisecond):
				return fmt.Sprintf("takes no new requests; %d still in flight", left), context.Cause(ctx)
			}
		}
	})
}

// drain has its turn, as any operation.
func (b *Bulkhead) drain(ctx context.Context) (inFlight int, err error) {
	b.operate.Lock()
	defer b.operate.Unlock()
	if err := begins(ctx); err != nil {
		return 0, err
	}
	b.draining.Store(true)
	return b.inFlight(), nil
}

func (b *Bulkhead) inFlight() int {
	now := time.Now()
	l := b.limiter.Stats(now)
	return l.InFlight + l.Depth + b.upgrades.Stats(now).InFlight
}

// Resume ends a Drain.
func (s *Supervisor) Resume(ctx context.Context, name string) Report {
	return s.report(ctx, "resume", name, func(b *Bulkhead) (string, error) {
		if !b.draining.Swap(false) {
			return "was not drained", nil
		}
		return "takes requests again", nil
	})
}

// Resize changes workers and limit, either or both, until the next reload. An
// adaptive limit is fixed until then.
func (s *Supervisor) Resize(ctx context.Context, name string, workers, limit *int) Report {
	return s.report(ctx, "resize", name, func(b *Bulkhead) (string, error) {
		did, workersOf, err := b.resize(workers, limit)
		if err == nil && workers != nil {
			err = b.resizePool(ctx, workersOf, *workers)
		}
		return did, err
	})
}

// resize puts what does not take time in force. The workers are those of p.
func (b *Bulkhead) resize(workers, limit *int) (did string, p *pool.Pool, err error) {
	b.changing.Lock()
	defer b.changing.Unlock()
	set := *b.settings.Load()
	switch {
	case workers == nil && limit == nil:
		return "", nil, fmt.Errorf("neither workers nor limit is given")
	case workers != nil && *workers < 1:
		return "", nil, fmt.Errorf("%d workers: at least 1 is needed", *workers)
	case workers != nil && *workers > MaxWorkers:
		return "", nil, fmt.Errorf("%d workers: at most %d are started", *workers, MaxWorkers)
	case workers != nil && set.Fallback.Always:
		return "", nil, fmt.Errorf("it answers from backup data alone and has no workers")
	case limit != nil && *limit < 1:
		return "", nil, fmt.Errorf("limit %d: at least 1 is needed", *limit)
	case limit != nil && *limit+set.UpgradeLimit > int(set.cells):
		return "", nil, fmt.Errorf("limit %d: these workers take %d connections each; set BULKHEAD_*_LIMIT and reload", *limit, set.cells)
	}
	var parts []string
	if limit != nil {
		part := fmt.Sprintf("limit %d -> %d", b.limiter.Stats(time.Now()).Limit, *limit)
		if set.Adaptive.Mode != adaptive.Fixed {
			part += fmt.Sprintf(", fixed until the next reload (it was %s)", set.Adaptive)
		}
		parts = append(parts, part)
		set.Limit, set.Adaptive = *limit, adaptive.Settings{}
		b.setLimit(set.BulkheadConfig, adaptive.Found{})
	}
	if workers != nil {
		parts = append(parts, fmt.Sprintf("workers %d -> %d", set.Workers, *workers))
		set.Workers = *workers
	}
	b.settings.Store(&set)
	return strings.Join(parts, ", "), b.pool.Load(), nil
}

// resizePool changes how many workers p has. A reload and an operator may both be at
// it, and either may fail: whoever ends last says how many there are.
func (b *Bulkhead) resizePool(ctx context.Context, p *pool.Pool, workers int) error {
	err := p.Resize(ctx, workers)
	b.changing.Lock()
	defer b.changing.Unlock()
	if has := len(p.Status()); p == b.pool.Load() && has != b.settings.Load().Workers {
		set := *b.settings.Load()
		set.Workers = has
		b.settings.Store(&set)
	}
	return err
}

// ForceBreaker sets who decides about a bulkhead's breaker, until the next
// reload.
func (s *Supervisor) ForceBreaker(ctx context.Context, name string, mode breaker.Mode) Report {
	return s.report(ctx, "breaker", name, func(b *Bulkhead) (string, error) {
		now := time.Now()
		was := b.breaker.Stats(now).State
		b.breaker.SetMode(now, mode)
		return fmt.Sprintf("breaker %s -> %s", was, b.breaker.Stats(now).State), nil
	})
}

// Forgive has a bulkhead take requests again that it refuses because workers died
// with them: the one of a fingerprint, or with an empty one all.
func (s *Supervisor) Forgive(ctx context.Context, name, fingerprint string) Report {
	return s.report(ctx, "forgive", name, func(b *Bulkhead) (string, error) {
		n := b.poison.forgive(fingerprint, time.Now())
		if n == 0 && fingerprint != "" {
			return "", fmt.Errorf("it refuses no request of fingerprint %s", fingerprint)
		}
		return fmt.Sprintf("%s may be sent again", plural(n, "poison request")), nil
	})
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// logPoison writes a line for each request that is refused from now on.
func (b *Bulkhead) logPoison(log hclog.Logger) {
	for _, p := range b.poison.fresh() {
		log.Error("request refused from now on: workers died with it", "bulkhead", b.settings.Load().Name,
			"fingerprint", p.Fingerprint, "method", p.Method, "path", p.Path, "deaths", p.Deaths)
		b.noted.transition("poison", "request refused from now on: "+p.Method+" "+p.Path, "workers died with it")
	}
}

// logBreaker writes a line when the breaker's state has changed.
func (b *Bulkhead) logBreaker(log hclog.Logger, now time.Time) {
	s := b.breaker.Stats(now)
	if s.State == b.breakerSeen {
		return
	}
	log.Warn("breaker "+s.State.String(), "bulkhead", b.settings.Load().Name, "was", b.breakerSeen.String(), "why", s.Why)
	b.noted.transition("breaker", "breaker "+s.State.String(), s.Why)
	b.breakerSeen = s.State
}
