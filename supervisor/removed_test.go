package supervisor_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
)

// Calls in flight in a bulkhead that a reload removes keep their limits.
func TestCallsOfARemovedBulkheadAreWatched(t *testing.T) {
	r, next, _ := reloadable(t, bulkhead("a", func(c *supervisor.BulkheadConfig) { c.IdleTimeout = time.Second }), bulkhead("b"))
	_, br := r.raw("GET /a/stall HTTP/1.1\r\nHost: x\r\n\r\n")
	eventually(t, 5*time.Second, "in flight", func() bool { return r.bulkhead("a").InFlight == 1 })
	*next = (*next)[1:]
	if rep := r.Reload(t.Context()); rep.Error != "" {
		t.Fatal(rep)
	}
	begun := time.Now()
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if string(b) != "begun" || err == nil {
		t.Errorf("got %q and a clean end (%v)", b, err)
	}
	if d := time.Since(begun); d > 5*time.Second {
		t.Errorf("cut after %v", d)
	}
	eventually(t, 5*time.Second, "the bulkhead forgotten", func() bool { return supervisor.Removed(r.Supervisor) == 0 })
}
