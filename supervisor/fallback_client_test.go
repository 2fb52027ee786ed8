package supervisor_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
)

// A coding that the client does not name is not given to it, Vary or not.
func TestFallbackCoding(t *testing.T) {
	c, set := legacyOf(t, "a")
	r := start(t, []supervisor.BulkheadConfig{c})
	const target = "/a/legacy/x?Content-Encoding=gzip"
	r.get(target, "Accept-Encoding", "gzip")
	set("backend_reset")
	for accept, want := range map[string]int{
		"gzip": 200, "br, x-gzip;q=0.5": 200, "*": 200, "GZIP": 200,
		"br": 502, "gzip;q=0": 502, "gzip;q=0, *": 502, "*;q=0.0": 502, "identity": 502,
	} {
		if resp, _ := r.get(target, "Accept-Encoding", accept); resp.StatusCode != want {
			t.Errorf("%q: %d", accept, resp.StatusCode)
		}
	}
	if resp, _ := r.get(target); resp.StatusCode != 502 {
		t.Errorf("no Accept-Encoding: %d", resp.StatusCode)
	}
}

// What a page of another origin can read of a fallback: what the backend let it
// read, and what says that it is one.
func TestFallbackCORS(t *testing.T) {
	c, set := legacyOf(t, "a", func(c *supervisor.BulkheadConfig) { c.CORSOrigins = []string{"https://shop.example"} })
	r := start(t, []supervisor.BulkheadConfig{c})
	const target = "/a/legacy/x?Access-Control-Allow-Origin=https://shop.example&Access-Control-Expose-Headers=X-Stock&Vary=Origin"
	r.get(target, "Origin", "https://shop.example")
	set("backend_reset")
	for range 2 { // what is added to shared fields must not stay there
		resp, _ := r.get(target, "Origin", "https://shop.example")
		h := resp.Header
		if resp.StatusCode != 200 || h.Get("Access-Control-Allow-Origin") != "https://shop.example" || h.Get("Access-Control-Allow-Credentials") != "true" {
			t.Fatalf("%d %v", resp.StatusCode, h)
		}
		exposed := strings.Join(h.Values("Access-Control-Expose-Headers"), ", ")
		if exposed != "X-Stock, X-Request-Id, Retry-After, Proxy-Status, Cache-Status, Age" || len(h.Values("Vary")) != 2 {
			t.Errorf("%q, Vary %q", exposed, h.Values("Vary"))
		}
	}
}

// A client that does not read its fallback holds no slot, and not for ever.
func TestSlowReaderOfFallback(t *testing.T) {
	t.Parallel()
	c, set := legacyOf(t, "a", func(c *supervisor.BulkheadConfig) {
		// Longer than a starved machine takes to copy 8 MiB under the race detector.
		c.Limit, c.Queue, c.IdleTimeout = 1, 0, 2*time.Second
		c.Fallback.Stale.Bytes, c.Fallback.Stale.MaxAnswer = 64<<20, 32<<20
	})
	r := start(t, []supervisor.BulkheadConfig{c})
	const target = "/a/legacy/x?n=16777216" // more than the kernel holds for it
	_, was := r.get(target)
	set("backend_reset")
	_, br := r.raw("GET " + target + " HTTP/1.1\r\nHost: " + r.addr + "\r\n\r\n")
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != 200 || resp.Header.Get("Cache-Status") == "" {
		t.Fatalf("%v %v", resp, err)
	}
	if n := r.bulkhead("a").InFlight; n != 0 {
		t.Errorf("%d slots are held", n)
	}
	if _, is := r.get(target); is != was {
		t.Error("another client did not get the answer")
	}
	eventually(t, 10*time.Second, "the reader is given up", func() bool {
		return r.sample(`coordinator_requests_total{bulkhead="a",code="499",outcome="sent_unknown"}`) == 1
	})
	if n, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Errorf("the answer ended cleanly after %d bytes", n)
	}
}
