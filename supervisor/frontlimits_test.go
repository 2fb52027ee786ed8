package supervisor_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
)

func limited(l supervisor.FrontLimits) option {
	return func(o *supervisor.Options) { o.Config.FrontLimits = l }
}

// Each bound of a head that was set is kept, and names itself.
func TestHeadLimits(t *testing.T) {
	r := start(t, one("a"), limited(supervisor.FrontLimits{Head: supervisor.HeadLimits{TargetBytes: 300, Fields: 10, FieldBytes: 2048}}))
	line := func(target int) string { return "GET /a?" + strings.Repeat("q", target-3) + " HTTP/1.1\r\nHost: x\r\n" }
	fields := func(n int) string { return strings.Repeat("X-F: y\r\n", n) }
	for _, c := range []struct {
		name, head, detail string
		status             int
	}{
		{"target at the limit", line(300), "", 200},
		{"target over it", line(301), "longer than 300 bytes", 414},
		{"fields at the limit", line(10) + fields(10), "", 200},
		{"fields over it", line(10) + fields(11), "more than 10 header fields", 431},
		{"bytes at the limit", line(10) + "X-F: " + strings.Repeat("y", 2048-3-4) + "\r\n", "", 200},
		{"bytes over it", line(10) + "X-F: " + strings.Repeat("y", 2048-3-3) + "\r\n", "larger than 2 KiB", 431},
		{"what net/http would refuse", line(10) + "X-F: " + strings.Repeat("y", 30<<10) + "\r\n", "larger than the coordinator takes", 431},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, br := r.raw(c.head + "\r\n")
			resp, body := answer(t, br, "GET")
			if resp.StatusCode != c.status {
				t.Fatalf("%s %s, want %d", resp.Status, body, c.status)
			}
			if c.status != 200 && !(strings.Contains(body, `"reason":"bad_request"`) && strings.Contains(body, c.detail)) {
				t.Errorf("%s, want bad_request that says %q", body, c.detail)
			}
		})
	}
}

// A head has HeaderTimeout, with TLS and without; a connection without a request
// has KeepAliveTimeout.
func TestConnectionTimes(t *testing.T) {
	t.Parallel()
	const head, idle = 400 * time.Millisecond, 700 * time.Millisecond
	cert, key := pair(t, t.TempDir(), 1)
	for name, options := range map[string][]option{
		"cleartext": nil,
		"TLS":       {func(o *supervisor.Options) { o.Config.TLSCert, o.Config.TLSKey = cert, key }},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, one("a"), append(options, limited(supervisor.FrontLimits{HeaderTimeout: head, KeepAliveTimeout: idle}))...)
			say := r.raw
			if name == "TLS" {
				say = r.rawTLS
			}
			begun := time.Now()
			_, br := say("GET /a HTTP/1.1\r\nHost: x\r\n")
			refusal(t, br, "GET", http.StatusRequestTimeout, "client_timeout", "")
			if d := time.Since(begun); d < head || d > head+2*time.Second {
				t.Errorf("a head was given %v, want %v", d, head)
			}
			_, br = say("GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
			if resp, _ := answer(t, br, "GET"); resp.StatusCode != 200 {
				t.Fatal(resp.Status)
			}
			begun = time.Now()
			if rest, err := io.ReadAll(br); len(rest) > 0 || err != nil {
				t.Errorf("at the end of the idle time came %q %v", rest, err)
			}
			if d := time.Since(begun); d < idle-100*time.Millisecond || d > idle+2*time.Second {
				t.Errorf("an idle connection was kept for %v, want %v", d, idle)
			}
		})
	}
}

// A client that does not finish its handshake has HeaderTimeout too.
func TestHandshakeTime(t *testing.T) {
	cert, key := pair(t, t.TempDir(), 1)
	r := start(t, one("a"), limited(supervisor.FrontLimits{HeaderTimeout: 300 * time.Millisecond}),
		func(o *supervisor.Options) { o.Config.TLSCert, o.Config.TLSKey = cert, key })
	begun := time.Now()
	nc, _ := r.raw("\x16\x03\x01")
	_, _ = io.Copy(io.Discard, nc)
	if d := time.Since(begun); d < 300*time.Millisecond || d > 3*time.Second {
		t.Errorf("a handshake was given %v, want 300ms", d)
	}
}

// A minimum rate ends uploads that their clients hold up, and no body that others
// do.
func TestMinBodyRate(t *testing.T) {
	t.Parallel()
	const rate = 64 << 10 // what is slow then shows soon
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) {
		c.Timeout, c.IdleTimeout, c.Limit, c.MaxBody = time.Minute, time.Minute, 32, 8<<20
	}), limited(supervisor.FrontLimits{MinBodyRate: rate}))
	const upload = "POST /a/sum HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
	var clients sync.WaitGroup
	clients.Go(func() { // stands still
		begun := time.Now()
		_, br := r.raw(upload + "some")
		r.timedOut(answer(t, br, "POST"))
		if d := time.Since(begun); d < 5*time.Second || d > 9*time.Second {
			t.Errorf("an upload that stands still was ended after %v, want 5s", d)
		}
	})
	clients.Go(func() { // drips
		nc, br := r.raw(upload)
		stop := every(50*time.Millisecond, func() bool { _, err := nc.Write([]byte("a")); return err == nil })
		defer stop()
		r.timedOut(answer(t, br, "POST"))
	})
	clients.Go(func() { // drips over HTTP/2
		protocols := new(http.Protocols)
		protocols.SetUnencryptedHTTP2(true)
		tr := &http.Transport{Protocols: protocols}
		defer tr.CloseIdleConnections()
		body, end := io.Pipe()
		defer every(50*time.Millisecond, func() bool { _, err := end.Write([]byte("a")); return err == nil })()
		defer body.Close()
		resp, err := (&http.Client{Transport: tr, Timeout: 20 * time.Second}).Post("http://"+r.addr+"/a/sum", "text/plain", body)
		if err != nil {
			t.Errorf("an upload that drips over HTTP/2: %v", err)
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		r.timedOut(resp, string(b))
	})
	clients.Go(func() { // at twice the rate
		const part, parts = 2 * rate / 10, 70
		nc, br := r.raw(fmt.Sprintf("POST /a/sum HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", part*parts))
		sent, block := 0, make([]byte, part)
		stop := every(100*time.Millisecond, func() bool { _, err := nc.Write(block); sent++; return err == nil && sent < parts })
		defer stop()
		if resp, body := answer(t, br, "POST"); resp.StatusCode != 200 || body != fmt.Sprint(part*parts) {
			t.Errorf("an upload at twice the rate: %s %s", resp.Status, body)
		}
	})
	clients.Go(func() { // it is the backend that drips
		if resp, body := r.get("/a/drip?n=80"); resp.StatusCode != 200 || len(body) != 80 {
			t.Errorf("a backend that drips: %s, %d bytes", resp.Status, len(body))
		}
	})
	clients.Go(func() { // it is the worker that sips, 40 KiB a second of what is there at once
		const size = 512 << 10
		if resp, body := r.do("POST", "/a/sip", bytes.NewReader(make([]byte, size))); resp.StatusCode != 200 || body != fmt.Sprint(size) {
			t.Errorf("a worker that sips: %s %s", resp.Status, body)
		}
	})
	clients.Wait()
	s := r.bulkhead("a")
	if s.Refused["client_timeout"] != 3 || s.InFlight != 0 || s.Breaker.Failures != 0 {
		t.Errorf("%v, %d in flight, %+v", s.Refused, s.InFlight, s.Breaker)
	}
}

// unread asks for what it does not read. What the kernel takes counts as read: it
// is told to take little.
func (r *running) unread(target string) {
	r.t.Helper()
	nc, _ := r.raw("")
	_ = nc.(*net.TCPConn).SetReadBuffer(4 << 10)
	if _, err := fmt.Fprintf(nc, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", target); err != nil {
		r.t.Fatal(err)
	}
}

// timedOut wants a 408.
func (r *running) timedOut(resp *http.Response, body string) {
	r.t.Helper()
	if resp.StatusCode != http.StatusRequestTimeout || !strings.Contains(body, `"reason":"client_timeout"`) {
		r.t.Errorf("%s %s, want 408 client_timeout", resp.Status, body)
	}
}

// every calls f at that pace until it is false or stop is called.
func every(d time.Duration, f func() bool) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(d)
		defer tick.Stop()
		for f() {
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}

// What the server was not made with changes with a reload, for calls in flight
// too; the rest is told.
func TestReloadOfFrontLimits(t *testing.T) {
	t.Parallel()
	var config, next supervisor.Config
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) { c.Timeout, c.IdleTimeout = time.Minute, time.Minute }), func(o *supervisor.Options) {
		o.Load = func() (supervisor.Config, error) { return next, nil }
		config = o.Config
	})
	reload := func(l supervisor.FrontLimits) supervisor.Report {
		t.Helper()
		next = config
		next.FrontLimits = l
		report := r.Reload(t.Context())
		if report.Error != "" {
			t.Fatalf("%+v", report)
		}
		return report
	}
	many := "GET /a HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-F: y\r\n", 50) + "\r\n"
	large := "GET /a HTTP/1.1\r\nHost: x\r\nX-F: " + strings.Repeat("y", 3<<10) + "\r\n\r\n"
	expect := func(request string, want int) {
		t.Helper()
		_, br := r.raw(request)
		if resp, body := answer(t, br, "GET"); resp.StatusCode != want {
			t.Errorf("%.30q: %s %s, want %d", request, resp.Status, body, want)
		}
	}
	expect(many, 200)
	expect(large, 200)

	_, br := r.raw("POST /a/sum HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
	r.unread("/a/bytes?n=100000000")
	eventually(t, 5*time.Second, "in flight", func() bool { return r.bulkhead("a").InFlight == 2 })
	lower := supervisor.FrontLimits{Head: supervisor.HeadLimits{Fields: 20, FieldBytes: 2 << 10}, MinBodyRate: 1 << 20}
	if report := reload(lower); len(report.Details) > 0 {
		t.Errorf("of what can change was said %q", report.Details)
	}
	expect(many, 431)
	expect(large, 431)
	r.timedOut(answer(t, br, "POST"))
	eventually(t, 20*time.Second, "the answer that nobody reads is cut, for its client too", func() bool {
		s := r.bulkhead("a")
		return s.InFlight == 0 && s.Refused["client_timeout"] == 2
	})

	higher := supervisor.FrontLimits{
		HeaderTimeout: time.Second, KeepAliveTimeout: time.Second, MaxStreams: 3,
		Head: supervisor.HeadLimits{Fields: 200, FieldBytes: 128 << 10, TargetBytes: 32 << 10},
	}
	said := strings.Join(reload(higher).Details, "\n")
	for _, name := range []string{"HEADER_TIMEOUT", "KEEPALIVE_TIMEOUT", "MAX_STREAMS", "MAX_FIELD_BYTES", "MAX_TARGET_BYTES"} {
		if !strings.Contains(said, "COORDINATOR_"+name+" changed") {
			t.Errorf("nothing was said of %s:\n%s", name, said)
		}
	}
	if strings.Contains(said, "MAX_FIELDS") {
		t.Errorf("said of what did change:\n%s", said)
	}
	expect(many, 200)
	expect(large, 431) // as before
	if report := reload(supervisor.FrontLimits{}); len(report.Details) > 0 {
		t.Errorf("of what is as at the start was said %q", report.Details)
	}
	expect(large, 200)
}
