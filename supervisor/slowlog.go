package supervisor

import (
	"time"

	"github.com/hashicorp/go-hclog"
)

// slowDumpEvery is how often a bulkhead's workers are asked for their stacks on
// account of slow requests: to write them all stops the worker for a moment.
const slowDumpEvery = 10 * time.Second

// slow reports, once, whether the call is due in the slow log: SLOW_LOG old and
// still without an answer.
func (c *call) slow(now time.Time) bool {
	if c.reportAt.IsZero() || now.Before(c.reportAt) || c.headed.Load() {
		return false
	}
	c.reportAt = time.Time{}
	return true
}

// logSlow writes a line for each slow request, and has the stacks of the first
// one's worker kept. It belongs to the supervisor's watch, and does not block.
func (b *Bulkhead) logSlow(log hclog.Logger, e *evidence, slow []flight, now time.Time) {
	if len(slow) == 0 {
		return
	}
	name := b.settings.Load().Name
	b.stats.metrics.slow.Add(float64(len(slow)))
	for _, f := range slow {
		line := log.With("bulkhead", name, "request_id", f.id, "method", f.method, "path", f.path, "age_ms", f.age.Milliseconds())
		r := SlowRequest{At: time.Now(), RequestID: f.id, Method: f.method, Path: f.path, AgeMS: f.age.Milliseconds(), Stage: f.stage.String()}
		if f.worker == nil {
			b.noted.slowRequest(r)
			line.Warn("slow request", "stage", f.stage.String())
			continue
		}
		slot := f.slot // f would keep the worker
		r.Slot = &slot
		line = line.With("slot", f.slot, "pid", f.worker.Pid())
		if now.Sub(b.slowDumped) >= slowDumpEvery {
			b.slowDumped = now
			t := &testimony{bulkhead: name, slot: f.slot, worker: f.worker, at: now, cause: "slow request " + f.id}
			path := e.path(t)
			e.aside(path, func() []byte {
				t.flights = b.watch.heldBy(t.worker, t.at)
				return t.text()
			})
			line, r.Evidence = line.With("evidence", path), path
		}
		b.noted.slowRequest(r)
		line.Warn("slow request", "stage", f.stage.String())
	}
}
