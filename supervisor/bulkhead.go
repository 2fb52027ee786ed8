package supervisor

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"commerce.example/coordinator/supervisor/adaptive"
	"commerce.example/coordinator/supervisor/breaker"
	"commerce.example/coordinator/supervisor/idempotency"
	"commerce.example/coordinator/supervisor/limit"
	"commerce.example/coordinator/supervisor/pool"
	"commerce.example/coordinator/supervisor/sizing"
	"commerce.example/coordinator/supervisor/tracing"
)

// Bulkhead is limit, queue, breaker, pool and fallback of one route group, as an
// http.Handler. What happens to its backend and its workers stays in it: it
// shares no lock, queue or pool with another.
type Bulkhead struct {
	settings  atomic.Pointer[settings]
	pool      atomic.Pointer[pool.Pool]
	limiter   *limit.Limiter
	adaptive  atomic.Pointer[adaptive.Limit] // of limiter; nil: it is fixed
	upgrades  *limit.Limiter                 // upgraded connections and event streams
	breaker   *breaker.Breaker
	retries   *retryBudget
	poison    *poison
	draining  atomic.Bool // by an operator
	retired   atomic.Bool // a reload removed it, and its pool has ended
	drilling  atomic.Pointer[DrillMode]
	rehearsal atomic.Pointer[rehearsal] // of its fallbacks; nil: none is on
	stats     *bulkheadStats
	commons
	watch    watchlist
	failures failures
	usage    usage
	noted    noted
	traffic  *sizing.Recorder // at the limiter
	worked   cpuMeter
	sized    atomic.Pointer[sized]
	lapse    lapse
	repeats  repeats // of kept requests

	restartCount atomic.Uint64 // of workers, all causes together
	breakerSeen  breaker.State // by the watch, for the log
	boundSeen    time.Time     // by the watch: of the stay at a bound that the log tells of
	slowDumped   time.Time     // by the watch: when stacks were last asked for on account of a slow request

	operate  sync.Mutex // one operation of an operator at a time
	changing sync.Mutex // of settings, limit and pool: a reload may come while an operation waits. Nobody waits with it
}

// commons is what bulkheads share: they only write to it, and none waits for what
// another has written.
type commons struct {
	journal  *journaling
	access   *access
	keyring  *keyring
	hijacked *atomic.Int64 // upgraded calls that have not been recorded: the server does not know them any more
}

// settings are what a request reads of the configuration. They are replaced as
// a whole, so a request sees the old ones or the new ones.
type settings struct {
	BulkheadConfig
	cors   *CORS
	failed map[int]bool       // BREAKER_STATUS
	backed *fallbacks         // nil: FALLBACK=none
	keys   *idempotency.Store // nil: IDEMPOTENCY=off
	cells  uint32             // data connections of each worker, which were decided when the pool was made
}

// newSettings are those of c with these keys, after the ones that it replaces, with
// whose workers they go on; nil: none.
func newSettings(c BulkheadConfig, before *settings, keys *idempotency.Store) *settings {
	s := &settings{BulkheadConfig: c, cors: NewCORS(c.CORSOrigins), failed: make(map[int]bool), keys: keys, cells: c.conns()}
	if before != nil {
		s.cells = before.cells
	}
	s.backed = newFallbacks(c.Fallback, before)
	for _, status := range c.BreakerStatus {
		s.failed[status] = true
	}
	return s
}

// newBulkhead makes one; an adaptive limit begins with from.
func newBulkhead(c BulkheadConfig, from adaptive.Found, shared commons, stats *bulkheadStats, now time.Time) *Bulkhead {
	b := &Bulkhead{
		limiter:  limit.New(0, 0),
		upgrades: limit.New(c.UpgradeLimit, 0),
		breaker:  breaker.New(c.Breaker, now),
		retries:  newRetryBudget(),
		poison:   newPoison(now),
		stats:    stats,
		commons:  shared,
		traffic:  sizing.NewRecorder(now),
	}
	b.setLimit(c, from)
	b.sized.Store(&sized{setting: settingOf(c), since: now})
	b.lapse.init()
	b.breaker.SetMode(now, c.BreakerMode)
	keys, _ := shared.keyring.store(c.Idempotency, nil) // which only fails after others
	b.settings.Store(newSettings(c, nil, keys))
	return b
}

// ServeHTTP is the whole way of a request: breaker peek, limiter, breaker admit,
// a worker, the answer. The front has routed and cleaned it.
func (b *Bulkhead) ServeHTTP(w http.ResponseWriter, r *http.Request) { b.serve(w, r, nil) }

// serve is ServeHTTP in a trace; nil: in none.
func (b *Bulkhead) serve(w http.ResponseWriter, r *http.Request, t *tracing.Trace) {
	c := b.begin(w, r)
	c.trace = t
	b.handle(c)
}

// handle is the way of a call.
func (b *Bulkhead) handle(c *call) {
	defer c.end()
	r := c.r

	// Refused without cost: nothing was queued, nothing is held.
	switch {
	case b.draining.Load():
		c.refuse(ReasonDraining)
		return
	case r.ContentLength > c.set.MaxBody:
		c.refuse(ReasonBodyTooLarge)
		return
	case c.set.keys != nil && c.ruled():
		return
	case b.poison.refuses(r, c.begun):
		c.refuse(ReasonPoisonRequest)
		return
	case !b.breaker.Peek(c.begun):
		c.refuse(ReasonBreakerOpen)
		return
	}

	// The one queue. From here on the request holds a slot.
	if reason := c.takeSlot(); reason != "" {
		c.refuse(reason)
		return
	}
	if !c.admit() {
		c.refuse(ReasonBreakerOpen)
		return
	}

	// A worker has it, until its last byte has come.
	resp, err := c.send()
	if err != nil {
		c.fail(err)
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		c.upgrade(resp)
		return
	}
	if c.replace(resp) {
		return
	}
	if isEventStream(resp.Header) && !c.takeUpgradeSlot(resp.StatusCode) {
		c.problem(ReasonTooManyConnections, c.progress.Outcome()) // the backend has done its work
		return
	}
	if c.rehearse(resp) {
		return
	}
	c.relay(resp)
}
