package supervisor

import (
	"cmp"
	"net/http"
	"time"

	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/supervisor/accesslog"
	"commerce.example/coordinator/supervisor/journal"
	"commerce.example/coordinator/supervisor/tracing"
)

// answer is the status of the call in log and trace: what the client was told, or
// why it was told nothing.
func (c *call) answer() int { return cmp.Or(c.told, c.status) }

// fallback is what answered in the backend's place, as the journal says it: a
// fallback, or the first answer to the call's key.
func (c *call) fallback() string {
	if c.keyed.replayed {
		return journal.FallbackReplay
	}
	return string(c.stoodIn)
}

// tell gives the call its line in the access log, if it gets one.
func (c *call) tell(now time.Time) {
	access := c.bulkhead.access
	log, sample := access.sampled(c.answer(), c.reason, c.stoodIn)
	if sample == 0 {
		return
	}
	line := lineOf(c.r, requestID(c.r), c.trace)
	line.Begun, line.Total, line.Sample = c.begun, now.Sub(c.begun), sample
	if c.journaled.replay == nil { // the client of which has sent nothing now
		line.Client = access.journal.client(c.r.Header["X-Real-Ip"], c.begun)
	}
	line.Bulkhead, line.Slot, line.Attempts = c.set.Name, c.holderSlot, c.attempts
	line.Status, line.Reason, line.Outcome = c.answer(), string(c.reason), string(c.progress.Outcome())
	line.Fallback, line.BytesOut = c.fallback(), c.moved.Load()
	if x := c.current(); x != nil {
		line.BytesIn = x.Uploaded()
	}
	if from, to := c.queued(now); !from.IsZero() {
		line.Queue = to.Sub(from)
	}
	if !c.headAt.IsZero() {
		line.Backend = c.headAt.Sub(c.handed)
	}
	log.Add(&line)
}

// queued is for how long the call waited for a slot; zero: it came to no queue.
func (c *call) queued(now time.Time) (from, to time.Time) {
	switch {
	case !c.queues:
		return from, to
	case c.admitted.IsZero():
		return c.begun, now // in vain
	}
	return c.begun, c.admitted
}

// lineOf is what r itself says. Its fields and its query are not read: they may
// hold secrets.
func lineOf(r *http.Request, id string, t *tracing.Trace) accesslog.Record {
	return accesslog.Record{
		RequestID: id, TraceID: cmp.Or(t.ID(), tracing.TraceID(r.Header)),
		Method: r.Method, Host: r.Host, Path: r.URL.EscapedPath(), Proto: r.Proto,
	}
}

// tell gives a request that reached no bulkhead its line, if it gets one.
func (f *front) tell(r *http.Request, id string, t *tracing.Trace, status int, reason Reason, begun time.Time) {
	log, sample := f.access.sampled(status, reason, "")
	if sample == 0 {
		return
	}
	line := lineOf(r, id, t)
	line.Sample = sample
	line.Client = f.access.journal.clientOf(f.trusted.Load().Forward(r), begun)
	refused(&line, status, reason, begun)
	log.Add(&line)
}

// tell gives a request that net/http refused, or the guard, its line. Little is
// known of it: it has no head that can be relied on.
func (g *guards) tell(client string, id string, status int, reason Reason, begun time.Time) {
	log, sample := g.access.sampled(status, reason, "")
	if sample == 0 {
		return
	}
	peer, _ := peerOf(client)
	line := accesslog.Record{RequestID: id, Client: g.access.journal.clientOf(peer, begun), Sample: sample}
	refused(&line, status, reason, begun)
	log.Add(&line)
}

func refused(line *accesslog.Record, status int, reason Reason, begun time.Time) {
	line.Begun, line.Total = begun, time.Since(begun)
	line.Status, line.Reason, line.Outcome = status, string(reason), string(OutcomeRefused)
}

// traceFailed ends the span of an attempt that was not answered.
func (c *call) traceFailed(e *exchange.Error) {
	if c.span == nil {
		return
	}
	now := time.Now()
	if e.Stage >= exchange.Sent {
		c.span.Backend(c.handed, now, 0)
	}
	c.span.End(now, e.Stage.String(), string(e.Fault))
	c.span = nil
}

// endTrace ends the spans of the call that are open.
func (c *call) endTrace(now time.Time) {
	if c.trace == nil {
		return
	}
	if from, to := c.queued(now); !from.IsZero() {
		c.trace.Queue(from, to)
	}
	if c.span != nil { // it was answered
		ended, fault := c.completed, ""
		if !c.progress.Complete {
			ended, fault = now, string(c.reason)
		}
		c.span.End(ended, exchange.Answered.String(), fault)
	}
	c.trace.End(tracing.Result{
		At: now, RequestID: requestID(c.r), Bulkhead: c.set.Name, Status: c.answer(), Reason: string(c.reason),
		Outcome: string(c.progress.Outcome()), Fallback: c.fallback(), Attempts: c.attempts,
		Cut: c.abort && c.reason != ReasonClientGone,
	})
}
