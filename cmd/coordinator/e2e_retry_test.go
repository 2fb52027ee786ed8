//go:build linux

package main_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// The backend answers the first request of a connection and breaks off at the
// second: the keep-alive race, at every request.
func TestE2ERetries(t *testing.T) {
	var seen tally
	backend := rawBackend(t, func(nc net.Conn, br *bufio.Reader) {
		for n := 0; ; n++ {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			seen.add(r)
			if n == 1 || r.URL.Path == "/x/never" {
				return
			}
			fmt.Fprintf(nc, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	s := runSite(t, "COORDINATOR_BULKHEADS=x", "BULKHEAD_X_ROUTES=/x", "BULKHEAD_X_BACKEND="+backend,
		"BULKHEAD_X_WORKERS=1", "BULKHEAD_X_BREAKER_MODE=observe")
	client := newClient(t)
	ask := func(method, target, name, body string) answer {
		t.Helper()
		p := probe{method: method, target: target, body: body}.with("X-Name", name).with("Idempotency-Key", name)
		a, err := p.ask(client, s.url)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	prime := func() { // a connection that breaks off at its next request
		t.Helper()
		for n := range 3 {
			if a := ask("GET", "/x", fmt.Sprint("prime", n), ""); a.status != "200 OK" {
				t.Fatalf("priming: %s", a.status)
			} else if s.metric("coordinator_retries_total") == 0 {
				return
			}
		}
	}
	prime()
	if a := ask("GET", "/x", "get", ""); a.status != "200 OK" {
		t.Errorf("GET: %s %s", a.status, a.body)
	}
	if n := seen.of("get"); n != 2 {
		t.Errorf("the backend saw the GET %d times, want twice", n)
	}
	if n := s.metric("coordinator_retries_total", "bulkhead", "x"); n != 1 {
		t.Errorf("%v retries, want 1", n)
	}
	// The retry went out on a connection of its own, which breaks off next.
	for _, c := range []struct{ method, name, body string }{
		{"POST", "post", "body"}, {"POST", "bodiless post", ""}, {"PUT", "put with a body", "body"}, {"PATCH", "bodiless patch", ""},
	} {
		a := ask(c.method, "/x", c.name, c.body)
		if n := seen.of(c.name); n != 1 {
			t.Errorf("the backend saw %s %d times, want once", c.name, n)
		}
		wantProblem(t, a, 502, "backend_reset", "sent_unknown", c.method == "PUT")
		if a := ask("POST", "/x", "renew "+c.name, "b"); a.status != "200 OK" || seen.of("renew "+c.name) != 1 {
			t.Errorf("the next request, on a new connection: %s", a.status)
		}
	}

	// A backend that always breaks off: retries stay within a tenth.
	const calls = 60
	for n := range calls {
		ask("GET", "/x/never", fmt.Sprint("never", n), "")
	}
	sent := 0
	for n := range calls {
		sent += seen.of(fmt.Sprint("never", n))
	}
	t.Logf("%d GETs that always fail reached the backend %d times; %v retries in all", calls, sent, s.metric("coordinator_retries_total"))
	if sent <= calls || sent > calls+calls/10+2 {
		t.Errorf("%d GETs were sent %d times, want a tenth more", calls, sent)
	}
}

// A worker that is killed takes no GET with it: the other one repeats them.
func TestE2EKilledWithRequestsInFlight(t *testing.T) {
	const gets, posts = 20, 4
	var seen tally
	release := make(chan struct{})
	backend := rawBackend(t, func(nc net.Conn, br *bufio.Reader) {
		for {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			seen.add(r)
			<-release
			fmt.Fprintf(nc, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	t.Cleanup(sync.OnceFunc(func() {
		select {
		case <-release:
		default:
			close(release)
		}
	}))
	s := runSite(t, "COORDINATOR_BULKHEADS=x", "BULKHEAD_X_ROUTES=/x", "BULKHEAD_X_BACKEND="+backend)
	client := newClient(t)
	answers := make(chan answer, gets+posts)
	for n := range gets + posts {
		p := get("/x").with("X-Name", fmt.Sprint("get", n))
		if n >= gets {
			p = send("POST", "/x", "text/plain", "body").with("X-Name", fmt.Sprint("post", n))
		}
		go func() {
			a, err := p.ask(client, s.url)
			if err != nil {
				a.status = err.Error()
			}
			a.header.Set("X-Method", p.method)
			answers <- a
		}()
	}
	arrived := func() (n int) {
		for i := range gets + posts {
			n += seen.of(fmt.Sprint("get", i)) + seen.of(fmt.Sprint("post", i))
		}
		return n
	}
	eventually(t, 5*time.Second, "all are at the backend", func() bool { return arrived() == gets+posts })
	workers := s.bulkhead("x").Workers
	held := workers[0].InFlight
	begun := time.Now()
	kill(t, workers[0].Pid)
	died := 0
	for range posts { // at most all of them were with it
		select {
		case a := <-answers:
			died++
			wantProblem(t, a, 502, "worker_died", "sent_unknown", false)
			if took := time.Since(begun); took > 500*time.Millisecond {
				t.Errorf("a POST learned of it after %v", took)
			}
		case <-time.After(300 * time.Millisecond):
		}
	}
	eventually(t, 2*time.Second, "the GETs are repeated", func() bool { return arrived() == gets+posts+held-died })
	t.Logf("the worker held %d requests; %d POSTs were refused, %d GETs were repeated by the other one", held, died, held-died)
	close(release)
	for range gets + posts - died {
		if a := <-answers; a.status != "200 OK" {
			t.Errorf("%s: %s %s", a.header.Get("X-Method"), a.status, a.body)
		}
	}
	if n := s.metric("coordinator_retries_total"); n != 0 {
		t.Errorf("%v retries were taken from the budget", n)
	}
}

// A client that leaves frees what it held: nothing of it is a failure.
func TestE2EClientGone(t *testing.T) {
	arrived, closed := make(chan time.Time, 8), make(chan time.Time, 8)
	backend := rawBackend(t, func(nc net.Conn, br *bufio.Reader) {
		if _, err := http.ReadRequest(br); err == nil {
			arrived <- time.Now()
			_, _ = br.ReadByte() // until it is closed
			closed <- time.Now()
		}
	})
	s := runSite(t, "COORDINATOR_BULKHEADS=x", "BULKHEAD_X_ROUTES=/x", "BULKHEAD_X_BACKEND="+backend,
		"BULKHEAD_X_LIMIT=1", "BULKHEAD_X_QUEUE=4", "BULKHEAD_X_BREAKER_MIN_CALLS=1", "BULKHEAD_X_QUEUE_TIMEOUT=10s")
	dial := func() net.Conn {
		nc, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		fmt.Fprintf(nc, "GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
		return nc
	}
	const rounds = 5
	for range rounds {
		client := dial()
		<-arrived
		queued := dial()
		eventually(t, time.Second, "another is queued", func() bool { return s.bulkhead("x").QueueDepth == 1 })
		queued.Close()
		left := eventually(t, time.Second, "it left the queue", func() bool { return s.bulkhead("x").QueueDepth == 0 })
		gone := time.Now()
		client.Close()
		took := (<-closed).Sub(gone)
		t.Logf("the backend's connection was closed %v after the client had left; the queue's place was free after %v", took, left)
		if took > 100*time.Millisecond {
			t.Errorf("the backend's connection was closed after %v, want 100 ms", took)
		}
		eventually(t, time.Second, "the slot is free", func() bool { return s.bulkhead("x").InFlight == 0 })
	}
	b := s.bulkhead("x")
	if b.Breaker.State != "closed" || b.Breaker.Failures != 0 {
		t.Errorf("the breaker is %s with %d failures", b.Breaker.State, b.Breaker.Failures)
	}
	if n := s.metric("coordinator_refused_total", "bulkhead", "x", "reason", "client_gone"); n != 2*rounds {
		t.Errorf("client_gone is counted %v times, want %d", n, 2*rounds)
	}
	if n := s.metric("coordinator_requests_total", "bulkhead", "x", "code", "499"); n != 2*rounds {
		t.Errorf("code 499 is counted %v times, want %d", n, 2*rounds)
	}
}

// A reader that takes its time holds no slot.
func TestE2ESlowReader(t *testing.T) {
	body := strings.Repeat("s", 60<<10)
	backend := rawBackend(t, func(nc net.Conn, br *bufio.Reader) {
		for {
			if _, err := http.ReadRequest(br); err != nil {
				return
			}
			fmt.Fprintf(nc, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
	})
	s := runSite(t, "COORDINATOR_BULKHEADS=x", "BULKHEAD_X_ROUTES=/x", "BULKHEAD_X_BACKEND="+backend, "BULKHEAD_X_LIMIT=1", "BULKHEAD_X_QUEUE=0")
	var slow []net.Conn
	for range 5 {
		nc, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		_ = nc.(*net.TCPConn).SetReadBuffer(16 << 10)
		fmt.Fprintf(nc, "GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
		slow = append(slow, nc)
		n := len(slow)
		eventually(t, time.Second, "the backend has answered and the slot is free", func() bool {
			return s.metric("coordinator_backend_duration_seconds", "bulkhead", "x") == float64(n) && s.bulkhead("x").InFlight == 0
		})
	}
	for _, nc := range slow {
		_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
		if a := readAnswer(t, nc); a.body != body {
			t.Errorf("%s with %d bytes", a.status, len(a.body))
		}
	}
	if n := s.metric("coordinator_requests_total", "bulkhead", "x", "code", "200", "outcome", "done"); n != float64(len(slow)) {
		t.Errorf("%v were done, want %d", n, len(slow))
	}
}
