package supervisor

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/dunglas/httpsfv"

	"commerce.example/coordinator/supervisor/fallback"
)

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
	c.status, c.told, c.written = a.Status, a.Status, true
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
