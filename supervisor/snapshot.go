package supervisor

import (
	"fmt"
	"os"
	"time"

	"commerce.example/coordinator/supervisor/console"
	"commerce.example/coordinator/supervisor/pool"
)

// Status is the state of the supervisor and its bulkheads now.
func (s *Supervisor) Status() Status {
	now := time.Now()
	out := Status{
		Version: s.options.Version, Pid: os.Getpid(), State: *s.state.Load(), Since: s.since,
		Listen: []string{}, Bulkheads: []BulkheadStatus{}, Journal: s.journal.status(),
	}
	if s.admin != nil {
		out.Console = s.admin.console()
	}
	for _, ln := range s.listeners {
		out.Listen = append(out.Listen, ln.Addr().String())
	}
	for _, b := range s.bulkheads() {
		out.Bulkheads = append(out.Bulkheads, b.status(now, s.enforcement(b.settings.Load().BulkheadConfig)))
	}
	return out
}

func (b *Bulkhead) status(now time.Time, by Enforcement) BulkheadStatus {
	set := b.settings.Load()
	l, br := b.limiter.Stats(now), b.breaker.Stats(now)
	latency, served := b.stats.latency.Snapshot(now)
	out := BulkheadStatus{
		Name: set.Name, Owner: set.Owner, Runbook: set.Runbook,
		Restarts: b.restarts(), Limits: limitsStatus(set.BulkheadConfig, by),
		InFlight: l.InFlight, Limit: l.Limit, QueueDepth: l.Depth, Queue: l.Queue, QueueOldestSeconds: l.Oldest.Seconds(),
		Upgrades: b.upgrades.Stats(now).InFlight, UpgradeLimit: set.UpgradeLimit,
		Breaker: BreakerStatus{
			State: br.State.String(), Mode: string(br.Mode), Why: br.Why, Since: br.Since,
			RetryAfterSeconds: br.RetryAfter.Seconds(), Calls: br.Calls, Failures: br.Failures, Slow: br.Slow,
		},
		RequestsPerSecond: b.stats.rate(now, served, latency.Count()),
		P50Seconds:        latency.Quantile(0.5).Seconds(), P99Seconds: latency.Quantile(0.99).Seconds(),
		Refused: b.stats.refusedLastMinute(now), Poisoned: b.poison.refused(now),
		Fallback: b.fallbackStatus(set.backed, now), Idempotency: idempotencyStatus(set, now),
	}
	out.LimitMode, out.Adaptive = b.limitStatus(now)
	counted := b.reading(now, console.Want{})
	out.RequestsTotal, out.RefusedTotal, out.Recent = counted.Requests, counted.Refused, b.stats.recent.status(now)
	if mode := b.drilling.Load(); mode != nil {
		out.Drill = *mode
	}
	workers := b.pool.Load().Status()
	out.State, out.Why = b.health(workers)
	used := b.usage.read(workers)
	for i, w := range workers {
		out.Workers = append(out.Workers, WorkerStatus{
			Slot: w.Slot, State: string(w.State), Pid: w.Pid, InFlight: w.Leases, Since: w.Since, Why: w.Why, Version: w.Version,
			CPUSeconds: used[i].cpu.Seconds(), MemoryBytes: used[i].memory, Descriptors: used[i].descriptors, Requests: w.Requests,
			Evidence: w.Evidence,
		})
	}
	return out
}

func limitsStatus(c BulkheadConfig, by Enforcement) LimitsStatus {
	return LimitsStatus{
		MemoryBytes: uint64(c.Worker.Memory), Enforcement: by,
		SoftMemoryBytes: uint64(c.Recycle.Memory), Descriptors: c.Recycle.Descriptors,
		Requests: uint64(c.Recycle.Requests), AgeSeconds: c.Recycle.Age.Seconds(),
	}
}

// health is the bulkhead in one word, and why it is not ready.
func (b *Bulkhead) health(workers []pool.Status) (state, why string) {
	n := make(map[pool.State]int)
	for _, w := range workers {
		n[w.State]++
		if w.State != pool.Ready && w.Why != "" {
			why = fmt.Sprintf("slot %d: %s", w.Slot, w.Why)
		}
	}
	switch {
	case b.draining.Load():
		return "draining", "by an operator"
	case n[pool.Ready] == len(workers):
		return "ready", ""
	case n[pool.Ready] > 0:
		return "degraded", why
	case n[pool.Quarantined] == len(workers):
		return "quarantined", why
	}
	return "starting", why
}

// ready is how many workers are.
func (b *Bulkhead) ready() (n int) {
	for _, w := range b.pool.Load().Status() {
		if w.State == pool.Ready {
			n++
		}
	}
	return n
}

// restarts is how often workers were lost or replaced, all causes together.
func (b *Bulkhead) restarts() uint64 { return b.restartCount.Load() }

// Ready tells /readyz: whether this process should get traffic, which bulkheads
// are not well, and why not ready.
func (s *Supervisor) Ready() (ok bool, degraded []string, why string) {
	state := *s.state.Load()
	serving := 0
	for _, b := range s.bulkheads() {
		if health, _ := b.health(b.pool.Load().Status()); health != "ready" || !b.breaker.Peek(time.Now()) || b.lapse.on.Load() {
			degraded = append(degraded, b.settings.Load().Name)
		}
		serving += min(1, b.ready())
		if b.settings.Load().Fallback.Always {
			serving++ // it needs none
		}
	}
	switch {
	case state != stateReady:
		return false, degraded, state
	case serving == 0:
		return false, degraded, "no bulkhead has a worker"
	}
	return true, degraded, ""
}
