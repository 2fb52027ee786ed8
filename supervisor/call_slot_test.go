package supervisor_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
)

// stream begins an event stream that stays open.
func (r *running) stream(target string) io.Reader {
	r.t.Helper()
	_, br := r.raw("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		r.t.Fatalf("%v %v", resp, err)
	}
	return resp.Body
}

// By its head an event stream tells that its backend is well: a breaker that waited
// for its end would stay half-open for as long as the readers do.
func TestEventStreamsCloseTheBreaker(t *testing.T) {
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) { c.Breaker.OpenFor, c.Breaker.Probes = 100*time.Millisecond, 2 }))
	for range 5 {
		r.reason("GET", "/a/status?code=503", nil)
	}
	eventually(t, 5*time.Second, "half-open", func() bool { return r.bulkhead("a").Breaker.State == "half_open" })
	r.stream("/a/events")
	r.stream("/a/events")
	eventually(t, 5*time.Second, "closed", func() bool { return r.bulkhead("a").Breaker.State == "closed" })
	if s := r.bulkhead("a"); s.Upgrades != 2 {
		t.Errorf("%d streams are open", s.Upgrades)
	}
}

// Whether its backend failed is told by the head of an event stream alone, and once:
// one that has nothing to say for IDLE_TIMEOUT is cut, and no failure.
func TestAQuietEventStreamIsNoFailure(t *testing.T) {
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) { c.IdleTimeout = 200 * time.Millisecond }))
	body := r.stream("/a/stall?type=text/event-stream")
	if s := r.bulkhead("a").Breaker; s.Calls != 1 || s.Failures != 0 {
		t.Errorf("begun: %+v", s)
	}
	if b, err := io.ReadAll(body); string(b) != "begun" || err == nil {
		t.Errorf("got %q and a clean end (%v)", b, err)
	}
	eventually(t, time.Second, "its place back", func() bool { return r.bulkhead("a").Upgrades == 0 })
	if s := r.bulkhead("a"); s.Breaker.Calls != 1 || s.Breaker.Failures != 0 || s.Refused["backend_timeout"] != 1 {
		t.Errorf("%+v %v", s.Breaker, s.Refused)
	}
}
