package supervisor_test

import (
	"bufio"
	"context"
	"encoding/json"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/breaker"
)

// adminClient asks the admin API over the socket.
func adminClient(r *running) *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", r.socket)
	}}}
}

// viewed is a bulkhead as /v1/events has it.
type viewed struct {
	Name  string
	Now   map[string]float64
	Shown struct {
		State, Breaker string
		Workers        int
		WorkersReady   int `json:"workers_ready"`
		Limit, Noted   int
		P99MS          float64 `json:"p99_ms"`
		Refused        map[string]int
	}
}

// viewing is the latest of each bulkhead, from the stream of events.
func viewing(t *testing.T, r *running) <-chan viewed {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), "GET", "http://localhost/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := adminClient(r).Do(request)
	if err != nil || answer.StatusCode != 200 {
		t.Fatalf("%v, %v", answer, err)
	}
	seen := make(chan viewed, 1000)
	go func() {
		defer close(seen)
		defer answer.Body.Close()
		lines := bufio.NewScanner(answer.Body)
		lines.Buffer(nil, 4<<20)
		for lines.Scan() {
			var e struct{ Bulkheads []viewed }
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok && json.Unmarshal([]byte(data), &e) == nil {
				for _, b := range e.Bulkheads {
					seen <- b
				}
			}
		}
	}()
	return seen
}

// until waits for a view that is as wanted.
func until(t *testing.T, views <-chan viewed, what string, ok func(viewed) bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	var last viewed
	for {
		select {
		case v, more := <-views:
			if !more {
				t.Fatalf("the stream ended before: %s", what)
			}
			if last = v; ok(v) {
				return
			}
		case <-deadline:
			t.Fatalf("not seen: %s; last %+v", what, last)
		}
	}
}

func TestViewFollowsTheBulkheads(t *testing.T) {
	t.Parallel()
	r, next, _ := reloadable(t, bulkhead("a"), bulkhead("b"))
	views := viewing(t, r)
	until(t, views, "a is ready", func(v viewed) bool {
		return v.Name == "a" && v.Shown.State == "ready" && v.Shown.Breaker == "closed" && v.Shown.WorkersReady == 1 && v.Shown.Limit == 8
	})
	for range 3 {
		r.get("/a")
	}
	until(t, views, "a has traffic", func(v viewed) bool {
		return v.Name == "a" && v.Now["requests"] > 0 && v.Now["failed"] == 0 && v.Shown.P99MS > 0
	})
	for range 20 {
		r.get("/b/status?code=503")
	}
	until(t, views, "b fails and then refuses", func(v viewed) bool {
		return v.Name == "b" && v.Now["failed"] > 0 && v.Now["refused"] > 0 && v.Shown.Breaker != "closed" && v.Shown.Refused["breaker_open"] > 0
	})
	r.ForceBreaker(t.Context(), "a", breaker.Open)
	until(t, views, "a is forced open", func(v viewed) bool { return v.Name == "a" && v.Shown.Breaker == "forced_open" && v.Shown.Noted > 0 })
	*next = append(*next, bulkhead("c"))
	if rep := r.Reload(t.Context()); rep.Error != "" {
		t.Fatal(rep.Error)
	}
	until(t, views, "c is there", func(v viewed) bool { return v.Name == "c" && v.Shown.State == "ready" })
}

// What is refused is the same to the console, which shows rates, to top, which makes
// its own of the status, and to who reads the metrics: not what the backend failed
// of, nor whose client left.
func TestRefusedMeansTheSameEverywhere(t *testing.T) {
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) {
		c.Limit, c.Queue, c.Breaker.MinCalls = 1, 1, 1000
		c.Breaker.Window = time.Minute
	}))
	views := viewing(t, r)
	for range 4 {
		if got := r.reason("GET", "/a/status?code=503", nil); got != "503" {
			t.Fatal(got)
		}
	}
	if got := r.reason("GET", "/a/fault?fault=backend_refused", nil); got != "backend_refused" {
		t.Fatal(got)
	}
	release := r.hang("a", 1)
	leaves, _ := r.raw("GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
	eventually(t, 5*time.Second, "one queued", func() bool { return r.bulkhead("a").QueueDepth == 1 })
	for range 3 {
		if got := r.reason("GET", "/a", nil); got != "queue_full" {
			t.Fatal(got)
		}
	}
	leaves.Close()
	eventually(t, 5*time.Second, "and gone", func() bool { return r.bulkhead("a").Refused["client_gone"] == 1 })
	release()
	r.ForceBreaker(t.Context(), "a", breaker.Open)
	for range 2 {
		if got := r.reason("GET", "/a", nil); got != "breaker_open" {
			t.Fatal(got)
		}
	}

	const refused, failed, all = 5, 5, 12 // the one that hung was served
	eventually(t, 5*time.Second, "all are counted", func() bool { return r.bulkhead("a").RequestsTotal == all })
	b := r.bulkhead("a")
	if b.RefusedTotal != refused || b.Refused["backend_refused"] != 1 {
		t.Errorf("status: %d refused, %v", b.RefusedTotal, b.Refused)
	}
	if n := r.sample(`coordinator_requests_total{bulkhead="a",code="503",outcome="refused"}`); n != refused {
		t.Errorf("metrics: %v refused", n)
	}
	// Both rates cover the same time, so it is not needed to know it.
	until(t, views, "the console's rates of the same requests", func(v viewed) bool {
		of := func(kind string) float64 { return v.Now[kind] / v.Now["requests"] * all }
		return v.Name == "a" && math.Abs(of("refused")-refused) < 0.1 && math.Abs(of("failed")-failed) < 0.1
	})
}

func TestDetailRemembersTransitions(t *testing.T) {
	r := start(t, []supervisor.BulkheadConfig{bulkhead("a"), bulkhead("b")})
	for range 40 { // two each: what it did, and the breaker
		for _, mode := range []breaker.Mode{breaker.Open, breaker.Closed} {
			if rep := r.ForceBreaker(t.Context(), "a", mode); rep.Error != "" {
				t.Fatal(rep.Error)
			}
		}
	}
	if rep := r.Restart(t.Context(), "a"); rep.Error != "" {
		t.Fatal(rep.Error)
	}
	d, ok := r.Detail("a")
	if !ok || d.Bulkhead.Name != "a" || len(d.Bulkhead.Workers) != 1 || len(d.Transitions) != 32 || d.Slow == nil {
		t.Fatalf("%v %+v", ok, d)
	}
	if first := d.Transitions[0]; first.Kind != "operator" || first.What != "restart: replaced 1 worker" || time.Since(first.At) > time.Minute {
		t.Errorf("newest: %+v", first)
	}
	if !slices.ContainsFunc(d.Transitions, func(t supervisor.Transition) bool {
		return t.Kind == "worker" && strings.HasPrefix(t.What, "slot 0: worker replaced: operator")
	}) {
		t.Errorf("no replaced worker in %+v", d.Transitions)
	}
	if b, _ := r.Detail("b"); len(b.Transitions) > 2 { // its worker got ready
		t.Errorf("the sibling's: %+v", b.Transitions)
	}
	if _, ok := r.Detail("c"); ok {
		t.Error("there is a c")
	}
}

func TestDetailHasTheSlowLog(t *testing.T) {
	t.Parallel()
	r := start(t, []supervisor.BulkheadConfig{bulkhead("a", func(c *supervisor.BulkheadConfig) {
		c.SlowLog, c.Timeout = 50*time.Millisecond, time.Second
	})})
	r.get("/a/hang?secret=1", "X-Request-Id", "the-slow-one")
	d, _ := r.Detail("a")
	if len(d.Slow) != 1 {
		t.Fatalf("%+v", d.Slow)
	}
	s := d.Slow[0]
	if s.RequestID != "the-slow-one" || s.Method != "GET" || s.Path != "/a/hang" || s.AgeMS < 50 || s.Slot == nil || *s.Slot != 0 {
		t.Errorf("%+v", s)
	}
}

func TestConsoleURL(t *testing.T) {
	for address, want := range map[string]string{
		"": "", "127.0.0.1:9901": "http://127.0.0.1:9901/console/", "[::]:9901": "http://localhost:9901/console/", ":9901": "http://localhost:9901/console/",
		"0.0.0.0:80": "http://localhost:80/console/", "[::1]:9901": "http://[::1]:9901/console/", "shop-1:9901": "http://shop-1:9901/console/",
	} {
		if got := supervisor.ConsoleURL(address); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
}
