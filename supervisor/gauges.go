package supervisor

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"commerce.example/coordinator/supervisor/breaker"
)

// gauges reads the state of every bulkhead when it is scraped, so that the
// leaves need not know Prometheus.
type gauges struct {
	bulkheads func() []*Bulkhead

	inFlight, limit, queueDepth, queueOldest *prometheus.Desc
	queueLimit, queueTimeout                 *prometheus.Desc
	upgrades, upgradeLimit                   *prometheus.Desc
	breakerState, breakerTransitions         *prometheus.Desc
	workers, workerCPU, workerMemory         *prometheus.Desc
	workerDescriptors, workerMemoryLimit     *prometheus.Desc
	info                                     *prometheus.Desc
	fallback                                 fallbackGauges
}

func newGauges(bulkheads func() []*Bulkhead) *gauges {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"bulkhead"}, labels...), nil)
	}
	return &gauges{
		bulkheads:          bulkheads,
		inFlight:           desc("coordinator_in_flight", "Requests that hold a slot."),
		limit:              desc("coordinator_limit", "Requests that may hold a slot."),
		queueDepth:         desc("coordinator_queue_depth", "Requests that wait for a slot."),
		queueOldest:        desc("coordinator_queue_oldest_seconds", "How long the first in the queue has waited."),
		queueLimit:         desc("coordinator_queue_limit", "Requests that may wait for a slot."),
		queueTimeout:       desc("coordinator_queue_timeout_seconds", "How long one may wait."),
		upgradeLimit:       desc("coordinator_upgrade_limit", "Upgraded connections and event streams that there may be."),
		upgrades:           desc("coordinator_upgrades", "Upgraded connections and event streams."),
		breakerState:       desc("coordinator_breaker_state", "1 for the breaker's present state, 0 for the others.", "state"),
		breakerTransitions: desc("coordinator_breaker_transitions_total", "Changes of the breaker's state, by the new one.", "to"),
		workers:            desc("coordinator_workers", "Slots, by the state of their worker.", "state"),
		workerCPU:          desc("coordinator_worker_cpu_seconds_total", "CPU time of the workers of a slot.", "slot"),
		workerMemory:       desc("coordinator_worker_memory_bytes", "Anonymous memory (RssAnon) of the worker of a slot.", "slot"),
		workerDescriptors:  desc("coordinator_worker_descriptors", "Open descriptors of the worker of a slot.", "slot"),
		workerMemoryLimit:  desc("coordinator_worker_memory_limit_bytes", "Memory that each worker may have: hard, it is killed, and soft, it is recycled.", "kind"),
		info:               desc("coordinator_bulkhead_info", "1, with what identifies the bulkhead.", "owner", "runbook", "worker", "version"),
		fallback:           newFallbackGauges(desc),
	}
}

// Describe implements prometheus.Collector.
func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range append([]*prometheus.Desc{
		g.inFlight, g.limit, g.queueDepth, g.queueOldest, g.queueLimit, g.queueTimeout, g.upgrades, g.upgradeLimit, g.breakerState, g.breakerTransitions,
		g.workers, g.workerCPU, g.workerMemory, g.workerDescriptors, g.workerMemoryLimit, g.info,
	}, g.fallback.all()...) {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	now := time.Now()
	for _, b := range g.bulkheads() {
		g.collect(ch, b, now)
	}
}

func (g *gauges) collect(ch chan<- prometheus.Metric, b *Bulkhead, now time.Time) {
	set := b.settings.Load()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{set.Name}, labels...)...)
	}
	count := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, append([]string{set.Name}, labels...)...)
	}
	l := b.limiter.Stats(now)
	gauge(g.inFlight, float64(l.InFlight))
	gauge(g.limit, float64(l.Limit))
	gauge(g.queueDepth, float64(l.Depth))
	gauge(g.queueOldest, l.Oldest.Seconds())
	gauge(g.queueLimit, float64(l.Queue))
	gauge(g.queueTimeout, min(set.QueueTimeout, set.Timeout).Seconds())
	gauge(g.upgrades, float64(b.upgrades.Stats(now).InFlight))
	gauge(g.upgradeLimit, float64(set.UpgradeLimit))

	s := b.breaker.Stats(now)
	for state := range breaker.NumStates {
		is := 0.0
		if s.State == breaker.State(state) {
			is = 1
		}
		gauge(g.breakerState, is, breaker.State(state).String())
		count(g.breakerTransitions, float64(s.Transitions[state]), breaker.State(state).String())
	}

	workers := b.pool.Load().Status()
	version := ""
	for i, n := range countStates(workers) {
		gauge(g.workers, float64(n), string(workerStates[i]))
	}
	for _, w := range workers {
		version = max(version, w.Version)
	}
	for _, u := range b.usage.read(workers) {
		count(g.workerCPU, u.cpuTotal.Seconds(), u.label)
		gauge(g.workerMemory, float64(u.memory), u.label)
		gauge(g.workerDescriptors, float64(u.descriptors), u.label)
	}
	for kind, limit := range map[string]int64{"hard": set.Worker.Memory, "soft": set.Recycle.Memory} {
		if limit > 0 {
			gauge(g.workerMemoryLimit, float64(limit), kind)
		}
	}
	g.fallback.collect(b, set.backed, now, gauge, count)
	gauge(g.info, 1, set.Owner, set.Runbook, set.Worker.Kind, version)
}
