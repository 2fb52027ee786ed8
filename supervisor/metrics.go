package supervisor

import (
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"commerce.example/coordinator/supervisor/accesslog"
	"commerce.example/coordinator/supervisor/fallback/stale"
	"commerce.example/coordinator/supervisor/pool"
	"commerce.example/coordinator/supervisor/tracing"
)

// metrics are what /metrics gives. Counters and histograms are fed by requests,
// through handles that each bulkhead resolves once; gauges are read from the
// bulkheads at each scrape.
type metrics struct {
	registry *prometheus.Registry

	requests        *prometheus.CounterVec
	duration        *prometheus.HistogramVec
	backendDuration *prometheus.HistogramVec
	queueWait       *prometheus.HistogramVec
	refused         *prometheus.CounterVec
	retries         *prometheus.CounterVec
	slow            *prometheus.CounterVec
	fallback        *prometheus.CounterVec
	notKept         *prometheus.CounterVec
	restarts        *prometheus.CounterVec
	startSeconds    *prometheus.HistogramVec
	outputDropped   *prometheus.CounterVec
	operations      *prometheus.CounterVec
	journalCommit   prometheus.Histogram
	acceptPauses    prometheus.Counter
}

// seconds are the classic buckets of all durations: from a refusal in memory to
// the default TIMEOUT.
var seconds = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

func newMetrics() *metrics {
	m := &metrics{
		registry:        prometheus.NewRegistry(),
		requests:        counter("coordinator_requests_total", "Requests that were answered or given up, by status code and outcome.", "bulkhead", "code", "outcome"),
		duration:        histogram("coordinator_request_duration_seconds", "Time from a request's routing to the end of its answer.", "bulkhead"),
		backendDuration: histogram("coordinator_backend_duration_seconds", "Time from the hand-over to a worker to the head of the answer.", "bulkhead"),
		queueWait:       histogram("coordinator_queue_wait_seconds", "Time that admitted requests waited for a slot.", "bulkhead"),
		refused:         counter("coordinator_refused_total", "Requests that the coordinator answered itself, or cut, by reason.", "bulkhead", "reason"),
		retries:         counter("coordinator_retries_total", "Requests that were sent to the backend again, within the retry budget.", "bulkhead"),
		slow:            counter("coordinator_slow_requests_total", "Requests that were older than SLOW_LOG and had no answer yet.", "bulkhead"),
		fallback:        counter("coordinator_fallback_total", "Answers that were given in the backend's place, by where they came from.", "bulkhead", "kind"),
		notKept:         counter("coordinator_fallback_not_kept_total", "Answers to safe requests that will not stand in later, by why.", "bulkhead", "why"),
		restarts:        counter("coordinator_worker_restarts_total", "Workers that were lost, replaced or did not start, by cause.", "bulkhead", "cause"),
		startSeconds:    histogram("coordinator_worker_start_seconds", "Time a worker took to get ready.", "bulkhead"),
		outputDropped:   counter("coordinator_worker_output_dropped_total", "Lines of workers' output that were lost, to the rate limit or a slow log.", "bulkhead"),
		operations:      counter("coordinator_operations_total", "What operators asked for, by whether it was done. Reloads that were shared count once.", "action", "result"),
		journalCommit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "coordinator_journal_commit_seconds", Help: "Time of a write to the journal, and of its fdatasync where there is one.", Buckets: seconds,
		}),
		acceptPauses: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "coordinator_accept_pauses_total", Help: "How often the front stopped accepting because all descriptors were in use.",
		}),
	}
	m.registry.MustRegister(
		m.journalCommit, m.requests, m.duration, m.backendDuration, m.queueWait, m.refused, m.retries, m.slow, m.fallback, m.notKept, m.restarts, m.startSeconds,
		m.outputDropped, m.operations, m.acceptPauses,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

// histogram is classic and native at once: who scrapes takes what it knows.
func histogram(name, help string, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: seconds,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
	}, labels)
}

// observe measures d. trace is the id of the trace that a collector has of it; "":
// none has.
func observe(into prometheus.Observer, d time.Duration, trace string) {
	if trace == "" {
		into.Observe(d.Seconds())
		return
	}
	into.(prometheus.ExemplarObserver).ObserveWithExemplar(d.Seconds(), prometheus.Labels{"trace_id": trace})
}

// countAccess shows what the access log has done.
func (m *metrics) countAccess(stats func() accesslog.Stats) {
	const name, help = "coordinator_access_log_lines_total", "Lines of the access log, by what became of them."
	m.countResult(name, help, "written", func() uint64 { return stats().Written })
	m.countResult(name, help, "dropped", func() uint64 { return stats().Dropped })
}

// countSpans shows what became of traces.
func (m *metrics) countSpans(stats func() tracing.Stats) {
	const name, help = "coordinator_trace_spans_total", "Spans of traces, by what became of them."
	m.countResult(name, help, "exported", func() uint64 { return stats().Exported })
	m.countResult(name, help, "failed", func() uint64 { return stats().Failed })
	m.countResult(name, help, "dropped", func() uint64 { return stats().Dropped })
}

func (m *metrics) countResult(name, help, result string, n func() uint64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: name, Help: help, ConstLabels: prometheus.Labels{"result": result},
	}, func() float64 { return float64(n()) }))
}

// countDropped shows lost log lines.
func (m *metrics) countDropped(lines func() uint64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "coordinator_log_dropped_total", Help: "Log lines that were lost because their sink was too slow.",
	}, func() float64 { return float64(lines()) }))
}

// operated counts what an operator asked for.
func (m *metrics) operated(action string, err error) {
	result := "done"
	if err != nil {
		result = "failed"
	}
	m.operations.WithLabelValues(action, result).Inc()
}

// forget drops the series of a bulkhead that a reload removed.
func (m *metrics) forget(bulkhead string) {
	labels := prometheus.Labels{"bulkhead": bulkhead}
	for _, v := range []interface {
		DeletePartialMatch(prometheus.Labels) int
	}{m.requests, m.duration, m.backendDuration, m.queueWait, m.refused, m.retries, m.slow, m.fallback, m.notKept,
		m.restarts, m.startSeconds, m.outputDropped} {
		v.DeletePartialMatch(labels)
	}
}

// bulkheadMetrics are the handles of one bulkhead.
type bulkheadMetrics struct {
	all             *metrics
	name            string
	duration        prometheus.Observer
	backendDuration prometheus.Observer
	queueWait       prometheus.Observer
	retries         prometheus.Counter
	slow            prometheus.Counter
	startSeconds    prometheus.Observer
	outputDropped   prometheus.Counter
	refused         []prometheus.Counter // by index in reasons
	fallback        []prometheus.Counter // by kindIndex
	notKept         map[stale.Why]prometheus.Counter
	restarts        map[pool.Cause]prometheus.Counter

	requests sync.Map // requestKey to prometheus.Counter
}

type requestKey struct {
	code    int
	outcome Outcome
}

// reasons in the order of reasonIndex.
var (
	reasons     = Reasons()
	reasonIndex = func() map[Reason]int {
		index := make(map[Reason]int, len(reasons))
		for i, r := range reasons {
			index[r] = i
		}
		return index
	}()
)

func (m *metrics) bulkhead(name string) *bulkheadMetrics {
	b := &bulkheadMetrics{
		all: m, name: name,
		duration:        m.duration.WithLabelValues(name),
		backendDuration: m.backendDuration.WithLabelValues(name),
		queueWait:       m.queueWait.WithLabelValues(name),
		retries:         m.retries.WithLabelValues(name),
		slow:            m.slow.WithLabelValues(name),
		startSeconds:    m.startSeconds.WithLabelValues(name),
		outputDropped:   m.outputDropped.WithLabelValues(name),
		notKept:         make(map[stale.Why]prometheus.Counter),
		restarts:        make(map[pool.Cause]prometheus.Counter),
	}
	for _, r := range reasons {
		b.refused = append(b.refused, m.refused.WithLabelValues(name, string(r)))
	}
	for _, kind := range kinds {
		b.fallback = append(b.fallback, m.fallback.WithLabelValues(name, string(kind)))
	}
	for _, why := range stale.Whys() {
		b.notKept[why] = m.notKept.WithLabelValues(name, string(why))
	}
	for _, c := range pool.Causes() {
		b.restarts[c] = m.restarts.WithLabelValues(name, string(c))
	}
	return b
}

func (b *bulkheadMetrics) request(code int, outcome Outcome) prometheus.Counter {
	key := requestKey{code, outcome}
	if c, ok := b.requests.Load(key); ok {
		return c.(prometheus.Counter)
	}
	c, _ := b.requests.LoadOrStore(key, b.all.requests.WithLabelValues(b.name, strconv.Itoa(code), string(outcome)))
	return c.(prometheus.Counter)
}

var workerStates = []pool.State{pool.Starting, pool.Ready, pool.Backoff, pool.Quarantined, pool.Draining, pool.Stopped}

func countStates(workers []pool.Status) []int {
	n := make([]int, len(workerStates))
	for _, w := range workers {
		n[slices.Index(workerStates, w.State)]++
	}
	return n
}
