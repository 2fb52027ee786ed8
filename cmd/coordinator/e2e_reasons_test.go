//go:build linux

package main_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// actor is the path of a worker binary: the test binary under another name.
func actor(t *testing.T, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.Symlink(self(t), path); err != nil {
		t.Fatal(err)
	}
	return path
}

// reasonsSite has a bulkhead for each way to fail.
func reasonsSite(t *testing.T) *site {
	t.Helper()
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	t.Cleanup(echo.Close)
	secure := httptest.NewTLSServer(echo.Config.Handler) // whose authority nobody knows
	t.Cleanup(secure.Close)
	swallow := func(answer string) string {
		return rawBackend(t, func(nc net.Conn, br *bufio.Reader) {
			if r, err := http.ReadRequest(br); err == nil {
				_, _ = io.Copy(io.Discard, r.Body)
			}
			_, _ = io.WriteString(nc, answer)
		})
	}
	hang := rawBackend(t, func(_ net.Conn, br *bufio.Reader) { _, _ = io.Copy(io.Discard, br) })

	s := newSite(t)
	settings := []string{}
	var names []string
	bulkhead := func(name string, more ...string) {
		names = append(names, name)
		prefix := "BULKHEAD_" + strings.ToUpper(name) + "_"
		settings = append(settings, prefix+"ROUTES=/"+name, prefix+"WORKERS=1", prefix+"BREAKER_MODE=observe",
			prefix+"OWNER=team "+name, prefix+"RUNBOOK=https://runbook.example/"+name)
		for _, m := range more {
			settings = append(settings, prefix+m)
		}
	}
	bulkhead("echo", "BACKEND="+echo.URL, "MAX_BODY=1KiB", "TIMEOUT=700ms", "QUEUE_TIMEOUT=500ms", "UPGRADE_LIMIT=0", "BREAKER_MODE=auto")
	bulkhead("refused", "BACKEND="+closedPort(t))
	bulkhead("reset", "BACKEND="+swallow(""))
	bulkhead("garbage", "BACKEND="+swallow("\x16\x03\x01 no HTTP\r\n\r\n"))
	bulkhead("unreachable", "BACKEND=http://255.255.255.255:80")
	bulkhead("tls", "BACKEND="+secure.URL)
	bulkhead("hung", "BACKEND="+hang, "TIMEOUT=400ms", "QUEUE_TIMEOUT=100ms")
	bulkhead("one", "BACKEND="+hang, "TIMEOUT=8s", "QUEUE_TIMEOUT=2s", "LIMIT=1", "QUEUE=1", "BREAKER_MIN_CALLS=1")
	bulkhead("dead", "WORKER=/bin/false", "RESTART_BUDGET=1/60s")
	bulkhead("gone", "WORKER=/bin/false", "RESTART_BUDGET=1000/60s")
	bulkhead("stuck", "WORKER="+actor(t, s.dir, "stuck"), "TIMEOUT=400ms", "QUEUE_TIMEOUT=100ms")
	bulkhead("mortal", "WORKER="+actor(t, s.dir, "mortal"), "WORKERS=3", "RESTART_BUDGET=100/60s")
	s.set(append(settings, "COORDINATOR_BULKHEADS="+strings.Join(names, ","))...)
	s.start()
	return s
}

func TestE2EReasons(t *testing.T) {
	s := reasonsSite(t)
	client := newClient(t)
	ask := func(method, target string) answer {
		t.Helper()
		p := probe{method: method, target: target}
		if method == http.MethodPost {
			p = send(method, target, "text/plain", "body")
		}
		a, err := p.ask(client, s.url)
		if err != nil {
			t.Fatalf("%s %s: %v", method, target, err)
		}
		return a
	}
	refused, requests := map[[2]string]float64{}, map[[3]string]float64{}
	for _, c := range []struct {
		method, target, reason string
		status                 int
		outcome                string
		retrySafe              bool
	}{
		{"GET", "/nowhere", "no_route", 404, "refused", true},
		{"POST", "/nowhere", "no_route", 404, "refused", true},
		{"GET", "/echo//x", "bad_request", 400, "refused", true},
		{"TRACE", "/echo", "bad_request", 405, "refused", true},
		{"GET", "/echo?" + strings.Repeat("q", 17<<10), "bad_request", 414, "refused", true},
		{"GET", "/refused", "backend_refused", 502, "never_sent", true},
		{"POST", "/refused", "backend_refused", 502, "never_sent", true},
		{"GET", "/reset", "backend_reset", 502, "sent_unknown", true},
		{"POST", "/reset", "backend_reset", 502, "sent_unknown", false},
		{"GET", "/garbage", "backend_protocol", 502, "sent_unknown", true},
		{"POST", "/garbage", "backend_protocol", 502, "sent_unknown", false},
		{"GET", "/unreachable", "backend_unreachable", 502, "never_sent", true},
		{"POST", "/tls", "backend_tls", 502, "never_sent", true},
		{"GET", "/hung", "backend_timeout", 504, "sent_unknown", true},
		{"POST", "/hung", "backend_timeout", 504, "sent_unknown", false},
		{"POST", "/stuck", "deadline", 504, "never_sent", true},
		{"GET", "/dead", "quarantined", 503, "refused", true},
		{"POST", "/gone", "no_worker", 503, "refused", true},
		{"POST", "/mortal/sent", "worker_died", 502, "sent_unknown", false},
	} {
		bulkhead := strings.FieldsFunc(c.target, func(r rune) bool { return r == '/' || r == '?' })[0]
		if c.outcome == "refused" && c.reason != "quarantined" && c.reason != "no_worker" {
			bulkhead = "none"
		}
		answers := 1.0
		a := ask(c.method, c.target)
		wantProblem(t, a, c.status, c.reason, c.outcome, c.retrySafe)
		if bulkhead != "none" && !strings.Contains(a.body, `"owner":"team `+bulkhead+`","runbook":"https://runbook.example/`+bulkhead+`"`) {
			t.Errorf("%s: owner and runbook are missing: %s", c.target, a.body)
		}
		if c.method == http.MethodGet {
			answers++
			head := ask(http.MethodHead, c.target)
			if head.body != "" || !strings.HasPrefix(head.status, strconv.Itoa(c.status)) {
				t.Errorf("HEAD %s: %s %q", c.target, head.status, head.body)
			}
			wantProblemHead(t, head, c.reason)
		}
		refused[[2]string{bulkhead, c.reason}] += answers
		requests[[3]string{bulkhead, strconv.Itoa(c.status), c.outcome}] += answers
	}
	m := s.metrics()
	for key, want := range refused {
		if n := m.sum("coordinator_refused_total", "bulkhead", key[0], "reason", key[1]); n != want {
			t.Errorf("coordinator_refused_total of %s: %v, want %v", key, n, want)
		}
	}
	for key, want := range requests {
		if n := m.sum("coordinator_requests_total", "bulkhead", key[0], "code", key[1], "outcome", key[2]); n != want {
			t.Errorf("coordinator_requests_total of %s: %v, want %v", key, n, want)
		}
	}
}

// What needs more than one request, or one that is not whole.
func TestE2EReasonsOfClientsAndQueues(t *testing.T) {
	beside(t)
	s := reasonsSite(t)
	client := newClient(t)
	counted := func(bulkhead, reason string) {
		t.Helper()
		if n := s.metric("coordinator_refused_total", "bulkhead", bulkhead, "reason", reason); n < 1 {
			t.Errorf("%s of %s is counted %v times", reason, bulkhead, n)
		}
	}
	try := func(p probe) answer {
		t.Helper()
		a, err := p.ask(client, s.url)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}

	wantProblem(t, try(send("POST", "/echo", "text/plain", strings.Repeat("b", 2048))), 413, "body_too_large", "refused", true)
	chunked := s.raw(t, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n"+strings.Repeat("b", 2048)+"\r\n0\r\n\r\n")
	if !strings.HasPrefix(chunked.status, "413") || !strings.Contains(chunked.body, `"reason":"body_too_large"`) {
		t.Errorf("chunked: %s %s", chunked.status, chunked.body)
	}
	counted("echo", "body_too_large")

	wantProblem(t, s.raw(t, "PUT /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf"), 408, "client_timeout", "sent_unknown", true)
	counted("echo", "client_timeout")

	upgrade := get("/echo").with("Connection", "Upgrade").with("Upgrade", "websocket").
		with("Sec-WebSocket-Version", "13").with("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
	wantProblem(t, try(upgrade), 503, "too_many_connections", "refused", true)
	counted("echo", "too_many_connections")

	// One in flight, one in the queue, and one too many.
	holding, waiting := make(chan answer, 1), make(chan answer, 1)
	hold := func(to chan answer, p probe) {
		a, err := p.ask(client, s.url)
		if err != nil {
			a.status = err.Error()
		}
		to <- a
	}
	go hold(holding, get("/one"))
	eventually(t, 2*time.Second, "a request holds the slot", func() bool { return s.bulkhead("one").InFlight == 1 })
	go hold(waiting, send("POST", "/one", "text/plain", "queued"))
	eventually(t, 2*time.Second, "another waits", func() bool { return s.bulkhead("one").QueueDepth == 1 })
	wantProblem(t, try(get("/one")), 503, "queue_full", "refused", true)
	wantProblem(t, <-waiting, 503, "queue_timeout", "refused", true)
	counted("one", "queue_full")
	counted("one", "queue_timeout")
	wantProblem(t, <-holding, 504, "backend_timeout", "sent_unknown", true)

	s.must("breaker", "echo", "open")
	wantProblem(t, try(send("POST", "/echo", "text/plain", "b")), 503, "breaker_open", "refused", true)
	counted("echo", "breaker_open")
	s.must("breaker", "echo", "auto")
	s.must("drain", "echo")
	wantProblem(t, try(get("/echo")), 503, "draining", "refused", true)
	counted("echo", "draining")
	s.must("resume", "echo")
	if a := try(get("/echo")); a.status != "200 OK" {
		t.Errorf("after all of it: %s", a.status)
	}
	a := try(probe{method: "POST", target: "/mortal/unsent"})
	wantProblem(t, a, 502, "worker_died", "never_sent", true)
}

// raw sends bytes on a connection of their own and reads one answer.
func (s *site) raw(t *testing.T, request string) answer {
	t.Helper()
	nc, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(nc, request); err != nil {
		t.Fatal(err)
	}
	return readAnswer(t, nc)
}

func readAnswer(t *testing.T, nc net.Conn) answer {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.Status, resp.Header, string(body), resp.ContentLength, resp.Trailer}
}

func TestE2ETooManyConnections(t *testing.T) {
	s := newSite(t, "COORDINATOR_CONNS=2", "COORDINATOR_BULKHEADS=dead", "BULKHEAD_DEAD_ROUTES=/", "BULKHEAD_DEAD_WORKER=/bin/false",
		"BULKHEAD_DEAD_WORKERS=1", "BULKHEAD_DEAD_RESTART_BUDGET=1/60s")
	s.start()
	addr := strings.TrimPrefix(s.url, "http://")
	dial := func() net.Conn {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
		return nc
	}
	kept := []net.Conn{dial(), dial()}
	for _, nc := range kept { // they are in
		fmt.Fprintf(nc, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if a := readAnswer(t, nc); !strings.HasPrefix(a.status, "503") {
			t.Errorf("got %s", a.status)
		}
	}
	a := readAnswer(t, dial())
	a.header.Set("X-Request-Id", "no request was read")
	a.body = strings.Replace(a.body, `"retry_safe"`, `"request_id":"no request was read","retry_safe"`, 1)
	wantProblem(t, a, 503, "too_many_connections", "refused", true)
	if n := s.metric("coordinator_refused_total", "bulkhead", "none", "reason", "too_many_connections"); n != 1 {
		t.Errorf("counted %v times, want once", n)
	}
	kept[0].Close()
	eventually(t, 2*time.Second, "a place is free again", func() bool {
		a, err := get("/").ask(newClient(t), s.url)
		return err == nil && a.header.Get("Proxy-Status") == `coordinator; error=destination_unavailable; details="quarantined"; outcome=refused`
	})
}
