package supervisor

import (
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/dunglas/httpsfv"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/supervisor/fallback"
	"commerce.example/coordinator/supervisor/fallback/stale"
)

// fallbacks are the answers that may stand in for those of a bulkhead's backend:
// what it gave before, and what was prepared. They are immutable but for the
// store, which outlives a reload.
type fallbacks struct {
	FallbackConfig
	stale *stale.Store // nil: not among the kinds
	on    map[int]bool // STALE_ON
}

// newFallbacks are those of c, or nil when it names none. before is what they
// replace; nil: nothing.
func newFallbacks(c FallbackConfig, before *settings) *fallbacks {
	if len(c.Kinds) == 0 {
		return nil
	}
	f := &fallbacks{FallbackConfig: c, on: make(map[int]bool)}
	for _, status := range c.StaleOn {
		f.on[status] = true
	}
	switch {
	case !slices.Contains(c.Kinds, fallback.Stale):
	case before != nil && before.backed != nil && before.backed.stale != nil:
		f.stale = before.backed.stale
		f.stale.Apply(c.Stale, time.Now())
	default:
		f.stale = stale.New(c.Stale)
	}
	return f
}

// find is the first answer there is for r, in the order of the configuration;
// nil: there is none.
func (f *fallbacks) find(r *http.Request, now time.Time) *fallback.Answer {
	for _, kind := range f.Kinds {
		var (
			a  *fallback.Answer
			ok bool
		)
		switch {
		case kind == fallback.Stale:
			a, ok = f.stale.Find(r, now)
		case f.Backup != nil:
			a, ok = f.Backup.Find(r)
		}
		if ok && acceptsCodings(r.Header["Accept-Encoding"], a.Header["Content-Encoding"]) {
			return a
		}
	}
	return nil
}

// instead is the answer that may be given instead of one of the backend with that
// status: STALE_ON lists it, or the stored answer itself says so (RFC 5861 section
// 4).
func (f *fallbacks) instead(status int, r *http.Request, now time.Time) *fallback.Answer {
	if f.on[status] {
		return f.find(r, now)
	}
	switch status {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
	default:
		return nil
	}
	if f.stale == nil {
		return nil
	}
	a, ok := f.stale.StaleIfError(r, now)
	if !ok || !acceptsCodings(r.Header["Accept-Encoding"], a.Header["Content-Encoding"]) {
		return nil
	}
	return a
}

// readsOnly reports whether the request is one that an earlier answer can stand in
// for. What a body asks for no URL tells.
func (c *call) readsOnly() bool {
	return (c.r.Method == http.MethodGet || c.r.Method == http.MethodHead) && c.body == nil && !IsUpgrade(c.r) && !isOverridden(c.r.Header)
}

// isOverridden reports whether a field asks a backend that honours it, as common
// frameworks do, for another method or another URL: nobody here knows what the answer
// is to.
func isOverridden(h http.Header) bool {
	for _, name := range [...]string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override", "X-Original-Url", "X-Rewrite-Url"} {
		if h[name] != nil {
			return true
		}
	}
	return false
}

// standIn gives a fallback instead of a problem, and reports whether there was one.
func (c *call) standIn(reason Reason) bool {
	f := c.set.backed
	if f == nil || !reason.AllowsFallback() || !c.readsOnly() {
		return false
	}
	a := f.find(c.r, time.Now())
	if a == nil {
		return false
	}
	// How fast the client takes it is not the bulkhead's concern, nor the breaker's.
	c.settle(time.Now())
	c.giveBack()
	c.give(a, reason.Status(), proxyStatus(reason, c.progress.Outcome()))
	return true
}

// replace gives a fallback instead of resp, and reports whether there was one. For
// the breaker resp is what it is.
func (c *call) replace(resp *http.Response) bool {
	f := c.set.backed
	if f == nil || resp.StatusCode < http.StatusInternalServerError || !c.readsOnly() {
		return false
	}
	a := f.instead(resp.StatusCode, c.r, time.Now())
	if a == nil {
		return false
	}
	c.discard(resp, io.Discard, discardBytes)
	c.give(a, resp.StatusCode, []string{structuredItem("received-status", int64(resp.StatusCode), "outcome", httpsfv.Token(c.progress.Outcome()))})
	return true
}

// What is waited for, and read, of an answer that nobody gets, so that its
// connection can be used again.
const (
	discardFor   = 100 * time.Millisecond
	discardBytes = 64 << 10
)

// discard ends the exchange whose answer is replaced, of which it reads at most so
// many bytes.
func (c *call) discard(resp *http.Response, into io.Writer, atMost int64) {
	if body, ok := resp.Body.(*ipc.Body); ok {
		x := c.current()
		patience := time.AfterFunc(discardFor, func() { x.Cancel(http.ErrBodyReadAfterClose) })
		n, err := io.CopyN(into, body, atMost)
		patience.Stop()
		if n < atMost && err == io.EOF {
			c.complete(resp.StatusCode)
		}
	}
	c.judge(resp.StatusCode, time.Now())
	resp.Body.Close()
	c.giveBack()
}
