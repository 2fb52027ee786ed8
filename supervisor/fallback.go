package supervisor

import (
	"io"
	"net/http"
	"slices"
	"strconv"
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
	return (c.r.Method == http.MethodGet || c.r.Method == http.MethodHead) && c.body == nil && !IsUpgrade(c.r)
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
	c.giveBack() // how fast the client takes it is not the bulkhead's concern
	c.give(a, reason.Status(), proxyStatus()[reason])
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
	c.discard(resp)
	c.give(a, resp.StatusCode, []string{structuredItem("received-status", int64(resp.StatusCode))})
	return true
}

// What is waited for, and read, of an answer that nobody gets, so that its
// connection can be used again.
const (
	discardFor   = 100 * time.Millisecond
	discardBytes = 64 << 10
)

// discard ends the exchange whose answer is replaced.
func (c *call) discard(resp *http.Response) {
	if body, ok := resp.Body.(*ipc.Body); ok {
		x := c.current()
		patience := time.AfterFunc(discardFor, func() { x.Cancel(http.ErrBodyReadAfterClose) })
		n, err := io.CopyN(io.Discard, body, discardBytes)
		patience.Stop()
		if n < discardBytes && err == io.EOF {
			c.complete(resp.StatusCode)
		}
	}
	c.judge(resp.StatusCode, time.Now())
	resp.Body.Close()
	c.giveBack()
}

// give answers with a, and says that it does and why: status and proxyStatus are
// those of what a stands in for.
//
// No cache may keep it. In one it would outlive the trouble: the 304 of a backend
// that is well again leaves the Cache-Status of a kept answer as it was (RFC 9111
// section 3.2). For the same reason conditions are not evaluated, and the answer is
// given whole, which any condition on a read and any Range allow (RFC 9110 sections
// 13.1 and 14.2).
func (c *call) give(a *fallback.Answer, status int, proxyStatus []string) {
	now := time.Now()
	c.bulkhead.watch.anew(c, now)
	c.stoodIn = a.Kind
	h := c.w.Header()
	for name, values := range a.Header {
		h[name] = slices.Clip(values) // shared: an append copies it
	}
	for _, name := range [...]string{"Expires", "Pragma", "Trailer", "Content-Length"} {
		delete(h, name)
	}
	h["Cache-Control"] = problemCacheControl
	h["Date"] = []string{a.Made.UTC().Format(http.TimeFormat)}
	h["Age"] = []string{strconv.FormatInt(int64(a.Age(now)/time.Second), 10)}
	h["Cache-Status"] = append(h["Cache-Status"], c.cacheStatus(a, status, now))
	h["Proxy-Status"] = append(h["Proxy-Status"], proxyStatus...)
	if id := c.r.Header["X-Request-Id"]; id != nil {
		h["X-Request-Id"] = id
	}
	if a.Status != http.StatusNoContent { // RFC 9110 section 8.6
		h["Content-Length"] = []string{strconv.Itoa(len(a.Body))}
	}
	c.set.cors.Allow(h, c.r.Header)
	c.status, c.written = a.Status, true
	c.w.WriteHeader(a.Status)
	if c.r.Method == http.MethodHead {
		return
	}
	for piece := range slices.Chunk(a.Body, relayBuffer) { // so that the watch sees it move
		if !c.write(piece, false) {
			c.status, c.abort = StatusClientGone, true
			return
		}
	}
}

// cacheStatus is our member of Cache-Status: RFC 9211 section 2. A request that no
// worker was given was not forwarded, which is a hit. Of one that was, fwd-status
// is what it would have been answered with: left out, it would claim that the
// backend answered with the status of a (section 2.3).
func (c *call) cacheStatus(a *fallback.Answer, status int, now time.Time) string {
	params := make([]any, 0, 8)
	switch {
	case !c.progress.Dispatched:
		params = append(params, "hit", true)
	case a.Kind == fallback.Stale:
		params = append(params, "fwd", httpsfv.Token("stale"), "fwd-status", int64(status))
	default:
		params = append(params, "fwd", httpsfv.Token("miss"), "fwd-status", int64(status))
	}
	if a.Kind == fallback.Stale {
		params = append(params, "ttl", wholeSeconds(a.Fresh.Sub(now)))
	}
	return structuredItem(append(params, "detail", httpsfv.Token(a.Kind))...)
}

// wholeSeconds rounds down: what was fresh until half a second ago is stale.
func wholeSeconds(d time.Duration) int64 {
	s := int64(d / time.Second)
	if d < 0 && d%time.Second != 0 {
		s--
	}
	return s
}
