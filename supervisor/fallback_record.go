package supervisor

import (
	"net/http"
	"time"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/supervisor/fallback/stale"
)

// mark notes when the request goes to the backend: what a write changes from then on
// its answer may not have seen.
func (c *call) mark() {
	if f := c.set.backed; f != nil && f.stale != nil {
		c.sent = f.stale.Mark()
	}
}

// remember begins to record the answer that is about to be relayed, if it may
// stand in for a later one; or has the store forget what a write has changed,
// before its client can ask for it again.
func (c *call) remember(resp *http.Response) {
	f := c.set.backed
	if f == nil || f.stale == nil {
		return
	}
	if !SafeMethod(c.r.Method) {
		f.stale.Invalidate(c.r, resp.StatusCode, resp.Header, c.headAt)
		return
	}
	_, framed := resp.Body.(*ipc.Body) // an answer that a handler wrote by hand may have no end of its own
	if c.r.Method != http.MethodGet || !c.readsOnly() || !framed || isEventStream(resp.Header) {
		return
	}
	recording, why := f.stale.Record(c.r, c.sent, resp.StatusCode, resp.Header, c.headAt)
	c.recording = recording
	c.notKept(why)
}

// note takes the next piece of the answer.
func (c *call) note(p []byte) {
	if c.recording != nil {
		c.recording.Write(p)
	}
	if c.trial != nil {
		c.trial.take(p)
	}
	if c.keyed.claim != nil {
		c.keyed.claim.Write(p)
		c.wanted.Store(c.wanted.Load() && c.keyed.claim.Wants())
	}
}

// keep ends a recording. It may be called twice: the first one counts.
func (c *call) keep(now time.Time, whole bool) {
	if c.recording == nil {
		return
	}
	why := c.recording.Done(now, whole)
	c.recording = nil
	c.notKept(why)
}

// notKept counts an answer that will not stand in.
func (c *call) notKept(why stale.Why) {
	if why == "" {
		return
	}
	c.bulkhead.stats.metrics.notKept[why].Inc()
	if c.trial != nil {
		c.trial.why = string(why)
	}
}
