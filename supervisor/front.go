package supervisor

import (
	"cmp"
	"net/http"
	"sync/atomic"
	"time"

	"commerce.example/coordinator/supervisor/tracing"
)

// front is the handler of the listeners: it cleans a request, names it, finds
// its bulkhead, and answers itself when there is none.
type front struct {
	table    atomic.Pointer[table]
	ids      *RequestIDs
	trusted  atomic.Pointer[TrustedProxies]
	stats    *bulkheadStats // of requests that reach no bulkhead
	access   *access
	tracer   *tracing.Tracer // nil: nobody traces
	stopping atomic.Bool

	flushWithin time.Duration // 0: the constant
}

// table is a router with the bulkheads it leads to, replaced as a whole.
type table struct {
	router    *Router
	bulkheads []*Bulkhead
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.stopping.Load() {
		// Each connection ends with an answer, not under a request (HTTP/2:
		// net/http turns this into GOAWAY).
		w.Header()["Connection"] = connectionClose
	}
	t := f.table.Load()
	route, refusal := t.router.Route(r)
	id := f.ids.Of(r.Header) // behind Route, which counts the fields that the client sent
	trace := f.trace(r)
	if refusal != nil {
		f.refuse(w, r, id, t, refusal, trace)
		f.boundFlush(w)
		return
	}
	f.trusted.Load().Forward(r)
	StripHopByHop(r.Header)
	r.Pattern = route.pattern // as http.ServeMux would, for the journal
	t.bulkheads[route.To].serve(w, r, trace)
	f.boundFlush(w)
}

// trace begins the trace of r. Whether its sender may decide that it is sampled is
// what its X-Forwarded fields depend on too.
func (f *front) trace(r *http.Request) *tracing.Trace {
	if f.tracer == nil {
		return nil
	}
	peer, _ := peerOf(r.RemoteAddr)
	return f.tracer.Start(r, time.Now(), f.trusted.Load().Contains(peer))
}

// flushWithin is how long net/http may take to send what is left of an answer when
// its handler is done, a few KiB at most. Nobody watches the call any more, and a
// client that reads nothing would keep its connection, and a drain, for as long as
// it likes. It is what the pace leaves a client that takes nothing at the most.
const flushWithin = paceGrace + paceCredit

// boundFlush bounds that. For the next request on the connection net/http lifts
// the bound.
func (f *front) boundFlush(w http.ResponseWriter) {
	within := cmp.Or(f.flushWithin, flushWithin)
	if f.stopping.Load() {
		within = min(within, paceGrace)
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(within))
}

var connectionClose = []string{"close"}

func (f *front) refuse(w http.ResponseWriter, r *http.Request, id string, t *table, refusal *Refusal, trace *tracing.Trace) {
	begun := time.Now()
	if r.ContentLength != 0 { // net/http reads what is left of a body, of a client that may be slow
		_ = http.NewResponseController(w).SetReadDeadline(begun.Add(lingerFor))
	}
	if cors := t.corsOf(r, refusal); cors != nil {
		if cors.Preflight(w, r) {
			f.record(r, id, http.StatusNoContent, refusal.Reason, begun, trace)
			return
		}
		cors.Allow(w.Header(), r.Header)
	}
	status := refusal.Status
	if status == 0 {
		status = refusal.Reason.Status()
	}
	p := Problem{Reason: refusal.Reason, Outcome: OutcomeRefused, Status: status, Detail: refusal.Detail, RequestID: id}
	p.ServeHTTP(w, r)
	f.record(r, id, status, refusal.Reason, begun, trace)
}

// record counts a request that reached no bulkhead, and tells of it.
func (f *front) record(r *http.Request, id string, status int, reason Reason, begun time.Time, trace *tracing.Trace) {
	f.stats.metrics.request(status, OutcomeRefused).Inc()
	f.stats.metrics.refused[reasonIndex[reason]].Inc()
	observe(f.stats.metrics.duration, time.Since(begun), trace.Exemplar())
	f.tell(r, id, trace, status, reason, begun)
	trace.End(tracing.Result{RequestID: id, Status: status, Reason: string(reason), Outcome: string(OutcomeRefused)})
}

// corsOf is the CORS of the bulkhead that the announced method of a preflight
// leads to: a route for GET alone has none for OPTIONS.
func (t *table) corsOf(r *http.Request, refusal *Refusal) *CORS {
	method := PreflightMethod(r)
	if method == "" || refusal.Reason != ReasonNoRoute {
		return nil
	}
	target, bad := ParseTarget(r)
	if bad != nil {
		return nil
	}
	route := t.router.Match(method, r.Host, target.Path)
	if route == nil {
		return nil
	}
	return t.bulkheads[route.To].settings.Load().cors
}
