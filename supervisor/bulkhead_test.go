package supervisor_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/breaker"
)

func one(name string, change ...func(*supervisor.BulkheadConfig)) []supervisor.BulkheadConfig {
	return []supervisor.BulkheadConfig{bulkhead(name, change...)}
}

// crash ends the only worker of a bulkhead and waits for the next one.
func (r *running) crash(name string) {
	r.t.Helper()
	was := r.bulkhead(name).Restarts
	r.reason("GET", fmt.Sprintf("/%s/exit?%d", name, was), nil) // never the same: that would be refused
	eventually(r.t, 10*time.Second, "worker back", func() bool {
		b := r.bulkhead(name)
		return b.Restarts > was && b.State == "ready"
	})
}

// hang keeps n requests in flight until the function it returns is called.
func (r *running) hang(name string, n int) (release func()) {
	r.t.Helper()
	before := r.bulkhead(name).InFlight
	var conns []io.Closer
	for range n {
		nc, _ := r.raw("GET /" + name + "/hang HTTP/1.1\r\nHost: x\r\n\r\n")
		conns = append(conns, nc)
	}
	eventually(r.t, 5*time.Second, "requests in flight", func() bool { return r.bulkhead(name).InFlight == before+n })
	return func() {
		for _, c := range conns {
			c.Close()
		}
	}
}

func TestLimiterRefusesAndQueues(t *testing.T) {
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) {
		c.Limit, c.Queue, c.QueueTimeout = 2, 1, 300*time.Millisecond
	}))
	release := r.hang("a", 2)
	queued := make(chan string, 1)
	go func() { queued <- r.reason("GET", "/a", nil) }()
	eventually(t, 5*time.Second, "one queued", func() bool { return r.bulkhead("a").QueueDepth == 1 })
	if got := r.reason("GET", "/a", nil); got != "queue_full" {
		t.Errorf("over the queue: %s", got)
	}
	if got := <-queued; got != "queue_timeout" {
		t.Errorf("queued: %s", got)
	}
	release()
	eventually(t, time.Second, "slots back", func() bool { return r.bulkhead("a").InFlight == 0 })
	if got := r.reason("GET", "/a", nil); got != "200" {
		t.Errorf("after: %s", got)
	}
	eventually(t, time.Second, "all refusals counted", func() bool {
		refused := r.bulkhead("a").Refused
		return refused["queue_full"] == 1 && refused["queue_timeout"] == 1 && refused["client_gone"] == 2
	})
	s := r.bulkhead("a")
	if s.Breaker.Calls != 1 {
		t.Errorf("a refused or abandoned request counted against the backend: %+v", s.Breaker)
	}
}

// A client that leaves is noticed within 100 ms, in the queue and in flight.
func TestClientThatLeaves(t *testing.T) {
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) { c.Limit, c.Queue, c.QueueTimeout = 1, 2, 5*time.Second }))
	release := r.hang("a", 1)
	waiting, _ := r.raw("GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
	eventually(t, 5*time.Second, "queued", func() bool { return r.bulkhead("a").QueueDepth == 1 })
	begun := time.Now()
	waiting.Close()
	eventually(t, time.Second, "dequeued", func() bool { return r.bulkhead("a").QueueDepth == 0 })
	release()
	eventually(t, time.Second, "slot back", func() bool { return r.bulkhead("a").InFlight == 0 })
	t.Logf("both gone after %v", time.Since(begun))
}

func TestTimeRunsOut(t *testing.T) {
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) { c.Timeout, c.QueueTimeout = 200*time.Millisecond, 0 }))
	for target, want := range map[string]string{
		"/a/hang":        "deadline",        // the worker never sent it
		"/a/hang?sent=1": "backend_timeout", // the backend has it
	} {
		begun := time.Now()
		if got := r.reason("GET", target, nil); got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
		if d := time.Since(begun); d < 200*time.Millisecond || d > time.Second {
			t.Errorf("%s: took %v", target, d)
		}
	}
	if s := r.bulkhead("a").Breaker; s.Failures != 1 || s.Calls != 1 {
		t.Errorf("only the backend's time-out counts: %+v", s)
	}
}

// A body that the client does not send is the client's fault, not the backend's.
func TestClientThatSendsNoBody(t *testing.T) {
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) { c.Timeout, c.QueueTimeout = 300*time.Millisecond, 0 }))
	_, br := r.raw("POST /a/sum HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != http.StatusRequestTimeout {
		t.Fatalf("%v %v", resp, err)
	}
	if s := r.bulkhead("a"); s.Breaker.Calls != 0 || s.Refused["client_timeout"] != 1 {
		t.Errorf("%+v %v", s.Breaker, s.Refused)
	}
}

func TestIdleAnswerIsCut(t *testing.T) {
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) { c.IdleTimeout = 200 * time.Millisecond }))
	_, br := r.raw("GET /a/stall HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if string(b) != "begun" || err == nil {
		t.Errorf("got %q and a clean end (%v)", b, err)
	}
	eventually(t, 5*time.Second, "slot back, and its reason", func() bool {
		s := r.bulkhead("a")
		return s.InFlight == 0 && s.Refused["backend_timeout"] == 1
	})
}

// A reader that takes nothing: a small answer holds no slot at all, a large one
// only until the idle limit.
func TestSlowReader(t *testing.T) {
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) { c.Limit, c.IdleTimeout = 32, 500*time.Millisecond }))
	for range 20 {
		r.raw("GET /a/bytes?n=60000 HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	eventually(t, 5*time.Second, "all small answers handed over", func() bool {
		s := r.bulkhead("a")
		return s.InFlight == 0 && s.Breaker.Calls == 20
	})
	r.raw("GET /a/bytes?n=50000000 HTTP/1.1\r\nHost: x\r\n\r\n")
	eventually(t, 5*time.Second, "large answer in flight", func() bool { return r.bulkhead("a").InFlight == 1 })
	eventually(t, 5*time.Second, "cut at the idle limit", func() bool {
		s := r.bulkhead("a")
		return s.InFlight == 0 && s.Refused["client_timeout"] == 1
	})
	if s := r.bulkhead("a"); s.Breaker.Failures != 0 {
		t.Errorf("%+v", s.Breaker)
	}
}

func TestMaxDuration(t *testing.T) {
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) { c.MaxDuration = 300 * time.Millisecond }))
	_, br := r.raw("GET /a/events HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("an endless answer ended cleanly")
	}
	if d := time.Since(begun); d > 2*time.Second {
		t.Errorf("after %v", d)
	}
}

// Event streams and upgrades have their own limit, and leave the slots alone.
func TestStreamsDoNotEatTheSlots(t *testing.T) {
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) { c.Limit, c.Queue = 1, 0 }))
	const upgrade = "GET /a/upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	nc, br := r.raw(upgrade)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatalf("%v %v", resp, err)
	}
	fmt.Fprint(nc, "ping")
	got := make([]byte, 4)
	if _, err := io.ReadFull(br, got); err != nil || string(got) != "ping" {
		t.Fatalf("%q %v", got, err)
	}
	_, events := r.raw("GET /a/events HTTP/1.1\r\nHost: x\r\n\r\n")
	if resp, err = http.ReadResponse(events, nil); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v %v", resp, err)
	}
	eventually(t, 5*time.Second, "both counted apart", func() bool {
		s := r.bulkhead("a")
		return s.Upgrades == 2 && s.InFlight == 0
	})
	if got := r.reason("GET", "/a", nil); got != "200" {
		t.Errorf("plain request: %s", got)
	}
	_, br = r.raw(upgrade)
	if resp, err = http.ReadResponse(br, nil); err != nil || resp.StatusCode != 503 {
		t.Errorf("third stream: %v %v", resp, err)
	}
	if got := r.reason("GET", "/a/events", nil); got != "too_many_connections" {
		t.Errorf("third stream: %s", got)
	}
	nc.Close()
	eventually(t, 5*time.Second, "place of the upgrade back", func() bool { return r.bulkhead("a").Upgrades == 1 })
}

func TestBreakerOpensAndOnlyForTheBackend(t *testing.T) {
	t.Parallel()
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) { c.Owner, c.Runbook = "team-a", "https://runbooks.example/a" }))
	for range 6 {
		r.reason("GET", "/a/status?code=429", nil)
		r.crash("a")
	}
	if s := r.bulkhead("a").Breaker; s.State != "closed" || s.Failures != 0 {
		t.Fatalf("4xx or worker faults tripped it: %+v", s)
	}
	for range 12 {
		if got := r.reason("GET", "/a/status?code=503", nil); got == "breaker_open" {
			break
		}
	}
	resp, body := r.get("/a")
	if resp.StatusCode != 503 || !strings.Contains(body, `"reason":"breaker_open"`) || resp.Header.Get("Retry-After") == "" ||
		!strings.Contains(body, `"outcome":"refused"`) || !strings.Contains(body, `"retry_safe":true`) ||
		!strings.Contains(body, "team-a") || resp.Header.Get("X-Request-Id") == "" ||
		!strings.HasPrefix(resp.Header.Get("Proxy-Status"), "coordinator; error=destination_unavailable") {
		t.Errorf("%v %s", resp, body)
	}
	eventually(t, 5*time.Second, "closed again by a probe", func() bool {
		return r.reason("GET", "/a", nil) == "200" && r.bulkhead("a").Breaker.State == "closed"
	})
}

func TestSlowCallsCountWhileTheyWait(t *testing.T) {
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) {
		c.Breaker.SlowCall, c.Breaker.SlowRatio = 100*time.Millisecond, 0.5
	}))
	release := r.hang("a", 5)
	defer release()
	eventually(t, 2*time.Second, "open though no call has ended", func() bool { return r.bulkhead("a").Breaker.State == "open" })
}

// A request that died with its worker is sent again where that is harmless, and
// only there.
func TestRepeatsAfterAWorkersDeath(t *testing.T) {
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) { c.Workers = 2 }))
	for _, c := range []struct {
		method, target string
		body           io.Reader
		status         int
	}{
		{"GET", "/a/hang?sent=1", nil, 0},
		{"POST", "/a/hang?sent=1", strings.NewReader("pay"), 502},
	} {
		dir := t.TempDir()
		answered := make(chan string, 1)
		go func() { answered <- r.reason(c.method, c.target+"&dir="+dir, c.body) }()
		victim := holders(t, dir, 1)[0]
		syscall.Kill(victim, syscall.SIGKILL)
		if c.status == 502 {
			if got := <-answered; got != "worker_died" {
				t.Errorf("POST: %s", got)
			}
			continue
		}
		for _, pid := range holders(t, dir, 2) {
			if pid != victim {
				syscall.Kill(pid, syscall.SIGKILL) // a second time is not repeated
			}
		}
		if got := <-answered; got != "worker_died" {
			t.Errorf("GET after two deaths: %s", got)
		}
		eventually(t, 5*time.Second, "both workers back", func() bool { return r.bulkhead("a").State == "ready" })
	}
}

func TestFaultsOfTheBackend(t *testing.T) {
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) { c.BreakerMode = breaker.Closed }))
	for _, c := range []struct{ method, fault, sent, outcome, safe string }{
		{"POST", "backend_refused", "", "never_sent", "true"},
		{"POST", "backend_reset", "1", "sent_unknown", "false"},
		{"GET", "backend_protocol", "1", "sent_unknown", "true"},
		{"POST", "backend_tls", "", "never_sent", "true"},
		{"POST", "backend_unreachable", "", "never_sent", "true"},
		{"POST", "no such word", "1", "sent_unknown", "false"},
	} {
		resp, body := r.do(c.method, "/a/fault?sent="+c.sent+"&fault="+strings.ReplaceAll(c.fault, " ", "%20"), nil)
		want := c.fault
		if strings.Contains(want, " ") {
			want = "worker_protocol"
		}
		for _, part := range []string{`"reason":"` + want + `"`, `"outcome":"` + c.outcome + `"`, `"retry_safe":` + c.safe} {
			if !strings.Contains(body, part) {
				t.Errorf("%s %s: %d %s lacks %s", c.method, c.fault, resp.StatusCode, body, part)
			}
		}
	}
}

func TestBodyTooLarge(t *testing.T) {
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) { c.MaxBody = 1000 }))
	if got := r.reason("POST", "/a/echo", strings.NewReader(strings.Repeat("x", 1001))); got != "body_too_large" {
		t.Errorf("declared: %s", got)
	}
	chunked := io.MultiReader(strings.NewReader(strings.Repeat("x", 600)), strings.NewReader(strings.Repeat("y", 600)))
	if got := r.reason("POST", "/a/sum", chunked); got != "body_too_large" {
		t.Errorf("chunked: %s", got)
	}
	if got := r.reason("POST", "/a/echo", strings.NewReader("fits")); got != "200" {
		t.Errorf("after: %s", got)
	}
}

func TestMalformedBody(t *testing.T) {
	r := start(t, one("a"))
	_, br := r.raw("POST /a/sum HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnot hexadecimal\r\n")
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("%v %v", resp, err)
	}
	nc, _ := r.raw("POST /a/sum HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
	eventually(t, 5*time.Second, "in flight", func() bool { return r.bulkhead("a").InFlight == 1 })
	nc.Close()
	eventually(t, 5*time.Second, "client gone", func() bool { return r.bulkhead("a").Refused["client_gone"] == 1 })
	if s := r.bulkhead("a"); s.Breaker.Calls != 0 || s.Refused["bad_request"] != 1 {
		t.Errorf("%+v %v", s.Breaker, s.Refused)
	}
}

// One bulkhead full, dead and quarantined at once: its sibling notices nothing.
func TestSiblingsUnhurt(t *testing.T) {
	r := start(t, []supervisor.BulkheadConfig{
		bulkhead("a", func(c *supervisor.BulkheadConfig) { c.RestartBudget.Faults = 2 }),
		bulkhead("b"),
	})
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if got := r.reason("GET", "/b", nil); got != "200" {
				t.Errorf("sibling: %s", got)
			}
		}
	})
	for range 3 {
		r.reason("GET", "/a/exit", nil)
	}
	eventually(t, 10*time.Second, "quarantined", func() bool {
		r.reason("GET", "/a/exit", nil)
		return r.bulkhead("a").State == "quarantined"
	})
	resp, body := r.get("/a")
	if !strings.Contains(body, "quarantined") || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%v %s", resp, body)
	}
	if ok, degraded, why := r.Ready(); !ok || len(degraded) != 1 || degraded[0] != "a" {
		t.Errorf("ready %v %v %s", ok, degraded, why)
	}
	if rep := r.Restart(t.Context(), "a"); rep.Error != "" {
		t.Errorf("%+v", rep)
	}
	if got := r.reason("GET", "/a", nil); got != "200" {
		t.Errorf("after the operator's restart: %s", got)
	}
	close(done)
	wg.Wait()
}

// The slot of a client that takes nothing comes back for whatever reason its call
// ends, before the idle limit too.
func TestSlowReaderWhoseCallEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end    func(net.Conn)
		most   time.Duration
		reason string
	}{
		"its own side is shut": {func(nc net.Conn) { nc.(*net.TCPConn).CloseWrite() }, 0, "client_gone"},
		"MAX_DURATION":         {func(net.Conn) {}, 300 * time.Millisecond, "client_timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, one("a", func(b *supervisor.BulkheadConfig) { b.MaxDuration, b.IdleTimeout = c.most, 30*time.Second }))
			nc, _ := r.raw("GET /a/bytes?n=50000000 HTTP/1.1\r\nHost: x\r\n\r\n")
			eventually(t, 5*time.Second, "in flight", func() bool { return r.bulkhead("a").InFlight == 1 })
			c.end(nc)
			eventually(t, 5*time.Second, "slot back", func() bool { return r.bulkhead("a").InFlight == 0 })
			eventually(t, time.Second, "reason", func() bool { return r.bulkhead("a").Refused[c.reason] == 1 })
		})
	}
}

// HTTP/1.0 has no informational answers: one would pass for the answer.
func TestInformationalAnswers(t *testing.T) {
	r := start(t, one("a"))
	for version, heads := range map[string]int{"1.0": 1, "1.1": 2} {
		_, br := r.raw("GET /a/status?code=103 HTTP/" + version + "\r\nHost: x\r\nConnection: close\r\n\r\n")
		b, err := io.ReadAll(br)
		if err != nil || strings.Count(string(b), "HTTP/"+version) != heads || !strings.Contains(string(b), " 200 OK") {
			t.Errorf("%s: %q %v", version, b, err)
		}
	}
}

// A preflight is answered where its backend fails, and ends the connection like
// any answer that overtakes a body: the rest would disturb the next request.
func TestPreflightOvertakesItsBody(t *testing.T) {
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) { c.CORSOrigins = []string{"https://x"} }))
	nc, br := r.raw("OPTIONS /a/fault?fault=backend_reset HTTP/1.1\r\nHost: x\r\nOrigin: https://x\r\n" +
		"Access-Control-Request-Method: GET\r\nContent-Length: 10\r\n\r\nhello")
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != 204 || !resp.Close {
		t.Fatalf("%v %v, want a preflight's answer that ends the connection", resp, err)
	}
	io.WriteString(nc, "world")
	if rest, err := io.ReadAll(br); len(rest) > 0 || err != nil {
		t.Errorf("%q %v", rest, err)
	}
}
