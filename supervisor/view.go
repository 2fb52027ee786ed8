package supervisor

import (
	"os"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/prometheus/client_golang/prometheus"

	"commerce.example/coordinator/supervisor/console"
	"commerce.example/coordinator/supervisor/pool"
)

// supervisorView is what the console shows of the supervisor.
type supervisorView struct {
	Version string    `json:"version"`
	Pid     int       `json:"pid"`
	State   string    `json:"state"`
	Since   time.Time `json:"since"`
}

// bulkheadView is what the console shows of a bulkhead at a glance, in the words of
// BulkheadStatus. It has nothing that changes by the mere passing of time, so that
// a bulkhead at rest need not be sent again.
type bulkheadView struct {
	State   string `json:"state"`
	Why     string `json:"why,omitempty"`
	Owner   string `json:"owner,omitempty"`
	Runbook string `json:"runbook,omitempty"`

	Workers      int    `json:"workers"`
	WorkersReady int    `json:"workers_ready"`
	Restarts     uint64 `json:"worker_restarts"`

	InFlight     int `json:"in_flight"`
	Limit        int `json:"limit"`
	QueueDepth   int `json:"queue_depth"`
	Queue        int `json:"queue"`
	Upgrades     int `json:"upgrades"`
	UpgradeLimit int `json:"upgrade_limit"`

	Breaker     string    `json:"breaker"`
	BreakerMode string    `json:"breaker_mode"`
	BreakerWhy  string    `json:"breaker_why,omitempty"`
	BreakerAt   time.Time `json:"breaker_since"`

	FallbackSince *time.Time `json:"fallback_since,omitempty"` // nil: none is given
	Drill         DrillMode  `json:"drill,omitempty"`

	P50MS   float64        `json:"p50_ms"` // of the last 15 to 30 s; 0: no requests
	P99MS   float64        `json:"p99_ms"`
	Refused map[string]int `json:"refused,omitempty"` // or failed, in the last minute, by reason
	Noted   uint64         `json:"noted"`             // transitions and slow requests that there ever were
}

// BulkheadDetail is what GET /v1/bulkheads/{name} gives.
type BulkheadDetail struct {
	Bulkhead    BulkheadStatus `json:"bulkhead"`
	Transitions []Transition   `json:"transitions"` // the last 32, the newest first
	Slow        []SlowRequest  `json:"slow"`        // likewise, of the slow log
}

// Detail is all about one bulkhead; false: there is none of that name.
func (s *Supervisor) Detail(name string) (BulkheadDetail, bool) {
	b := s.find(name)
	if b == nil {
		return BulkheadDetail{}, false
	}
	d := BulkheadDetail{Bulkhead: b.status(time.Now(), s.enforcement(b.settings.Load().BulkheadConfig))}
	d.Transitions, d.Slow = b.noted.both()
	return d, true
}

// reading is what the console's feed reads.
func (s *Supervisor) reading(now time.Time, want console.Want) console.Reading {
	bulkheads := s.bulkheads()
	r := console.Reading{Bulkheads: make([]console.Bulkhead, len(bulkheads))}
	if want.Shown {
		r.Shown = supervisorView{s.options.Version, os.Getpid(), *s.state.Load(), s.since}
	}
	for i, b := range bulkheads {
		r.Bulkheads[i] = b.reading(now, want)
	}
	return r
}

func (b *Bulkhead) reading(now time.Time, want console.Want) console.Bulkhead {
	l := b.limiter.Stats(now)
	r := console.Bulkhead{Name: b.settings.Load().Name, InFlight: l.InFlight, Queued: l.Depth}
	b.stats.metrics.totals(&r)
	if want.Latency {
		recent := b.stats.latency.Recent(now)
		r.P50, r.P99 = recent.Quantile(0.5), recent.Quantile(0.99)
	}
	if want.Shown {
		r.Shown = b.view(&r, now)
	}
	return r
}

func (b *Bulkhead) view(r *console.Bulkhead, now time.Time) bulkheadView {
	set, workers := b.settings.Load(), b.pool.Load().Status()
	l, br := b.limiter.Stats(now), b.breaker.Stats(now)
	v := bulkheadView{
		Owner: set.Owner, Runbook: set.Runbook, Workers: len(workers), Restarts: b.restarts(),
		InFlight: l.InFlight, Limit: l.Limit, QueueDepth: l.Depth, Queue: l.Queue,
		Upgrades: b.upgrades.Stats(now).InFlight, UpgradeLimit: set.UpgradeLimit,
		Breaker: br.State.String(), BreakerMode: string(br.Mode), BreakerWhy: br.Why, BreakerAt: br.Since,
		P50MS: millis(r.P50), P99MS: millis(r.P99),
		Refused: b.stats.refusedLastMinute(now), Noted: b.noted.many(),
	}
	v.State, v.Why = b.health(workers)
	for _, w := range workers {
		if w.State == pool.Ready {
			v.WorkersReady++
		}
	}
	if since, _ := b.lapse.present(); !since.IsZero() {
		v.FallbackSince = &since
	}
	if mode := b.drilling.Load(); mode != nil {
		v.Drill = *mode
	}
	return v
}

// totals reads the counters of requests into r, for the console and status alike.
// What is refused never left the coordinator, and its client stayed and was told so;
// what failed otherwise is its own or the backend's 5xx.
func (b *bulkheadMetrics) totals(r *console.Bulkhead) {
	b.requests.Range(func(k, c any) bool {
		key, n := k.(requestKey), valueOf(c.(prometheus.Counter))
		r.Requests += n
		switch {
		case key.code == StatusClientGone:
		case key.outcome == OutcomeRefused && key.code >= 400:
			r.Refused += n
		case key.code >= 500:
			r.Failed += n
		}
		return true
	})
	for _, c := range b.fallback {
		r.Fallback += valueOf(c)
	}
}

func valueOf(c prometheus.Counter) uint64 {
	var m dto.Metric
	if c.Write(&m) != nil {
		return 0
	}
	return uint64(m.GetCounter().GetValue())
}
