package supervisor

import (
	"context"
	"errors"
	"time"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/supervisor/pool"
)

// drillLeak is how much memory each worker takes in a leak where no limit is
// above it.
const drillLeak = 256 << 20

// drillFault is what a drill does to a bulkhead, mostly to its pool. No reload
// replaces the pool meanwhile.
type drillFault struct {
	bulkhead *Bulkhead
	pool     *pool.Pool
	plan     DrillPlan
	plays    ipc.Drill // what the workers play; zero: nothing
	thaw     func()    // nil: nothing is frozen
	hit      int       // workers it was done to

	rehearsal *rehearsal // of DrillFallback, from begin on
}

func newDrillFault(b *Bulkhead, p DrillPlan) *drillFault {
	f := &drillFault{bulkhead: b, pool: b.pool.Load(), plan: p}
	switch p.Mode {
	case DrillKill, DrillFreeze, DrillFallback:
	case DrillLeak:
		f.plays = ipc.Drill{Mode: ipc.DrillLeak, For: p.For, Bytes: leakOf(b.settings.Load().BulkheadConfig)}
	default:
		f.plays = ipc.Drill{Mode: ipc.DrillMode(p.Mode), For: p.For, Delay: tooSlow(b.settings.Load().BulkheadConfig)}
	}
	return f
}

// leakOf is how many bytes a worker has to take for the limits of c to act: those
// at which it is recycled, or else that at which it is killed.
func leakOf(c BulkheadConfig) uint64 {
	limit := c.Recycle.Memory
	if limit == 0 {
		limit = c.Worker.Memory
	}
	return uint64(max(drillLeak, limit+limit/4))
}

// tooSlow is how long a backend takes that the breaker of c must notice.
func tooSlow(c BulkheadConfig) time.Duration {
	if c.Breaker.SlowCall > 0 {
		return c.Breaker.SlowCall + c.Breaker.SlowCall/2
	}
	return c.Timeout + time.Second
}

// begin begins it. After an error too, end must be called.
func (f *drillFault) begin(ctx context.Context) error {
	switch f.plan.Mode {
	case DrillKill: // which renew does
		return nil
	case DrillFallback:
		f.rehearsal = newRehearsal(f.plan.Share, f.plan.Give)
		f.bulkhead.rehearsal.Store(f.rehearsal)
		return nil
	case DrillFreeze:
		_, thaw, ok := f.pool.Freeze()
		if !ok {
			return errors.New("no worker is there to freeze")
		}
		f.thaw = thaw
		f.hit++
		return nil
	}
	err := f.pool.Play(ctx, f.plays)
	if err == nil {
		f.hit = len(f.pool.Status())
	}
	return err
}

// renew is called at the begin and every second.
func (f *drillFault) renew(ctx context.Context) {
	switch f.plan.Mode {
	case DrillKill:
		f.hit += f.pool.Kill()
	case DrillFallback: // goes on by itself
	case DrillFreeze: // once: the worker that takes its place shows that it was found
	default:
		_ = f.pool.Replay(ctx) // a worker that cannot would have said so at first
	}
}

// end ends it, and leaves no worker stopped.
func (f *drillFault) end() {
	if f.thaw != nil {
		f.thaw()
	}
	f.bulkhead.rehearsal.Store(nil)
	f.pool.EndDrill()
}
