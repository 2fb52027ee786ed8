//go:build linux

package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/load"
)

// accessLine is one line of the access log.
type accessLine struct {
	Time                              time.Time
	RequestID                         string `json:"request_id"`
	TraceID                           string `json:"trace_id"`
	Client, Method, Host, Path, Proto string
	Bulkhead                          string
	Slot                              *int
	Attempts, Status                  int
	Reason, Outcome, Fallback         string
	BytesIn                           int64   `json:"bytes_in"`
	BytesOut                          int64   `json:"bytes_out"`
	Duration                          float64 `json:"duration_ms"`
	Queue                             float64 `json:"queue_ms"`
	Backend                           float64 `json:"backend_ms"`
	Sample                            int
}

// accessLines are those of a log, each of which must be whole.
func accessLines(t *testing.T, text []byte) (lines []accessLine) {
	t.Helper()
	for line := range bytes.Lines(text) {
		var l accessLine
		decoder := json.NewDecoder(bytes.NewReader(line))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&l); err != nil || line[len(line)-1] != '\n' {
			t.Fatalf("%v: %q", err, line)
		}
		lines = append(lines, l)
	}
	return lines
}

func readAccess(t *testing.T, path string) []accessLine {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return accessLines(t, text)
}

// logged waits for the line of a request.
func logged(t *testing.T, path, id string) (found accessLine) {
	t.Helper()
	eventually(t, 5*time.Second, "the line of "+id, func() bool {
		for _, l := range readAccess(t, path) {
			if l.RequestID == id {
				found = l
				return true
			}
		}
		return false
	})
	return found
}

// moody answers as the path says, and with 503 when it is ill.
func moody(t *testing.T) (backend *httptest.Server, ill *atomic.Bool) {
	l, ill := &ledger{done: make(map[string]int)}, new(atomic.Bool)
	backend = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case ill.Load():
			http.Error(w, "ill", http.StatusServiceUnavailable)
		case strings.HasSuffix(r.URL.Path, "/hang"):
			_, _ = io.Copy(io.Discard, r.Body) // only behind it the server sees that the client leaves
			<-r.Context().Done()
		default:
			l.serve(w, r)
		}
	}))
	t.Cleanup(backend.Close)
	return backend, ill
}

// Whatever becomes of a request, its line says it in the words of the answer, of the
// metrics and of the journal.
func TestE2EAccessLogOfEveryOutcome(t *testing.T) {
	beside(t)
	backend, ill := moody(t)
	gone := httptest.NewServer(nil)
	gone.Close()
	s := newSite(t, "COORDINATOR_BULKHEADS=pay,gone", "COORDINATOR_ACCESS_LOG=all",
		"BULKHEAD_PAY_ROUTES=/pay/", "BULKHEAD_PAY_BACKEND="+backend.URL, "BULKHEAD_PAY_MAX_BODY=1KiB",
		"BULKHEAD_PAY_FALLBACK=stale", "BULKHEAD_PAY_STALE_ON=503", "BULKHEAD_PAY_BREAKER_MODE=closed",
		"BULKHEAD_GONE_ROUTES=/gone/", "BULKHEAD_GONE_BACKEND="+gone.URL)
	path := s.dir + "/access.log"
	s.set("COORDINATOR_ACCESS_LOG_FILE=" + path)
	s.start()

	for _, c := range []struct {
		id, method, path, body              string
		status                              int
		reason, outcome, fallback, bulkhead string
		attempts                            int
		before                              func()
	}{
		{"done", "POST", "/pay/x", "12345", 200, "", "done", "", "pay", 1, nil},
		{"read", "GET", "/pay/x", "", 200, "", "done", "", "pay", 1, nil},
		{"unknown", "POST", "/pay/cut", "1", 502, "backend_reset", "sent_unknown", "", "pay", 1, nil},
		{"part", "POST", "/pay/part", "1", 200, "backend_reset", "partial", "", "pay", 1, nil},
		{"never", "POST", "/gone/x", "1", 502, "backend_refused", "never_sent", "", "gone", 1, nil},
		{"large", "POST", "/pay/x", strings.Repeat("x", 2048), 413, "body_too_large", "refused", "", "pay", 0, nil},
		{"nowhere", "GET", "/nowhere", "", 404, "no_route", "refused", "", "", 0, nil},
		{"traced", "TRACE", "/pay/x", "", 405, "bad_request", "refused", "", "", 0, nil},
		{"stood-in", "GET", "/pay/x", "", 200, "", "undelivered", "stale", "pay", 1, func() { ill.Store(true) }},
		{"drained", "POST", "/pay/x", "1", 503, "draining", "refused", "", "pay", 0, func() { s.must("drain", "pay") }},
	} {
		if c.before != nil {
			c.before()
		}
		p := probe{method: c.method, target: c.path, body: c.body}
		a, err := p.with("X-Request-Id", c.id).ask(newClient(t), s.url)
		if (err != nil) != (c.id == "part") {
			t.Errorf("%s: %v", c.id, err)
		}
		l := logged(t, path, c.id)
		if l.Method != c.method || l.Path != c.path || l.Status != c.status || l.Reason != c.reason || l.Outcome != c.outcome ||
			l.Fallback != c.fallback || l.Bulkhead != c.bulkhead || l.Attempts != c.attempts || (l.Slot != nil) != (c.attempts > 0) {
			t.Errorf("%s: %+v", c.id, l)
		}
		if l.Host != "bin.example" || l.Proto != "HTTP/1.1" || len(l.Client) != 16 || l.Duration <= 0 || time.Since(l.Time) > time.Minute {
			t.Errorf("%s: %+v", c.id, l)
		}
		if (l.Backend > 0) != (c.attempts > 0 && c.outcome != "sent_unknown" && c.outcome != "never_sent") || l.Backend > l.Duration {
			t.Errorf("%s: %v of %v ms in the backend", c.id, l.Backend, l.Duration)
		}
		if c.reason != "" && err == nil {
			wantProblem(t, a, c.status, c.reason, c.outcome, c.outcome == "refused" || c.outcome == "never_sent")
		}
	}
	if l := logged(t, path, "done"); l.BytesIn != 5 || l.BytesOut != 4 {
		t.Errorf("%+v", l)
	}
	s.must("resume", "pay")
	ill.Store(false)

	// The client leaves while the backend works.
	ctx, leave := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer leave()
	if _, whole := post(ctx, s.url, "/pay/hang", "left"); whole {
		t.Error("an answer of what hangs")
	}
	if l := logged(t, path, "left"); l.Status != 499 || l.Reason != "client_gone" || l.Outcome != "sent_unknown" {
		t.Errorf("%+v", l)
	}

	// A head that the server refuses has no id of the client's, and no path.
	head := malformed(t, s.url)
	l := logged(t, path, head)
	if l.Status != 400 || l.Reason != "bad_request" || l.Outcome != "refused" || l.Method+l.Path+l.Host != "" || len(l.Client) != 16 {
		t.Errorf("%+v", l)
	}

	lines, m := readAccess(t, path), s.metrics()
	for outcome, n := range count(lines, func(l accessLine) string { return l.Outcome }) {
		if got := m.sum("coordinator_requests_total", "outcome", outcome); int(got) != n {
			t.Errorf("%s: %v in the metrics, %d lines", outcome, got, n)
		}
	}
	if got := m.sum("coordinator_access_log_lines_total", "result", "written"); int(got) != len(lines) {
		t.Errorf("%v of %d lines are counted", got, len(lines))
	}
	s.signal(syscall.SIGTERM)
	s.exit(20 * time.Second)
	for id, story := range s.told() {
		if l := logged(t, path, id); l.Outcome != story.Outcome || l.Reason != story.Reason || story.Status != 0 && l.Status != story.Status || l.Client != story.Client {
			t.Errorf("%s: the journal has %+v, the line is %+v", id, story, l)
		}
	}
}

func count(lines []accessLine, word func(accessLine) string) map[string]int {
	n := make(map[string]int)
	for _, l := range lines {
		n[word(l)]++
	}
	return n
}

// malformed sends a head that no server takes and returns the id of the refusal.
func malformed(t *testing.T, front string) (id string) {
	t.Helper()
	nc, err := net.Dial("tcp", strings.TrimPrefix(front, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(nc, "GET /pay/x?token=canary-head HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx")
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.Header.Get("X-Request-Id")
}

// plain is a site with a backend that answers at once.
func plain(t *testing.T, settings ...string) *site {
	t.Helper()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	t.Cleanup(backend.Close)
	return newSite(t, append([]string{"COORDINATOR_BULKHEADS=a", "BULKHEAD_A_ROUTES=/a/", "BULKHEAD_A_BACKEND=" + backend.URL,
		"BULKHEAD_A_LIMIT=128", "BULKHEAD_A_QUEUE=1024", "BULKHEAD_A_QUEUE_TIMEOUT=10s"}, settings...)...)
}

// A reader of standard output that stands still delays nobody. What it did not take
// is counted, and what it takes later is whole.
func TestE2EAccessLogThatNobodyReads(t *testing.T) {
	beside(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := plain(t, "COORDINATOR_ACCESS_LOG=all")
	s.stdout = w
	s.start()
	w.Close()
	defer r.Close()

	// Each line is a little more than 1 KiB: more than a pipe, a block on its way
	// and what may wait take.
	const requests = 4000
	client := newClient(t)
	for n := range requests {
		a, err := get(fmt.Sprintf("/none/%d/%s", n, strings.Repeat("x", 1000))).ask(client, s.url)
		if err != nil || !strings.HasPrefix(a.status, "404") {
			t.Fatal(a.status, err)
		}
	}
	dropped := s.metric("coordinator_access_log_lines_total", "result", "dropped")
	if dropped == 0 {
		t.Error("nothing was dropped")
	}
	eventually(t, 15*time.Second, "the log tells of it", func() bool {
		text, err := os.ReadFile(s.log)
		return err == nil && bytes.Contains(text, []byte("access log lines dropped"))
	})
	read := make(chan []byte, 1)
	go func() {
		text, _ := io.ReadAll(r)
		read <- text
	}()
	s.signal(syscall.SIGTERM)
	if code := s.exit(20 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	lines := accessLines(t, <-read)
	if len(lines)+int(dropped) != requests {
		t.Errorf("%d lines and %v dropped of %d requests", len(lines), dropped, requests)
	}
}

// A stop does not wait for a reader that stands still.
func TestE2EAccessLogDoesNotKeepAStop(t *testing.T) {
	beside(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s := plain(t, "COORDINATOR_ACCESS_LOG=failures")
	s.stdout = w
	s.start()
	w.Close()
	client := newClient(t)
	for range 200 {
		if _, err := get("/none/"+strings.Repeat("x", 1000)).ask(client, s.url); err != nil {
			t.Fatal(err)
		}
	}
	begun := time.Now()
	s.signal(syscall.SIGTERM)
	if code := s.exit(20 * time.Second); code != 0 || time.Since(begun) > 10*time.Second {
		t.Errorf("exit code %d after %v", code, time.Since(begun))
	}
}

// Rotation as logrotate does it, reloads that change what is logged, and an upgrade
// with two processes at one file lose no line and tear none.
func TestE2EAccessLogRotates(t *testing.T) {
	s := upgradable(t, "COORDINATOR_ACCESS_LOG=all")
	path := s.dir + "/access.log"
	s.set("COORDINATOR_ACCESS_LOG_FILE=" + path)
	s.start()
	s.prime()
	running := s.generate("/healthy/ok", 200, 2*time.Minute, func(o *load.Options) { o.Conns = 32 })
	connected(t, 32, running)
	rotate := func(n int) {
		t.Helper()
		if err := os.Rename(path, fmt.Sprintf("%s.%d", path, n)); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 3 {
		rotate(n)
		s.signal(syscall.SIGHUP)
		eventually(t, 10*time.Second, "it is opened anew", func() bool { _, err := os.Stat(path); return err == nil })
	}
	// Also when the configuration has a mistake.
	s.set("COORDINATOR_CONNS=many")
	rotate(3)
	s.signal(syscall.SIGHUP)
	eventually(t, 10*time.Second, "it is opened anew", func() bool { _, err := os.Stat(path); return err == nil })
	s.set("COORDINATOR_CONNS=")
	old := s.serving()
	s.must("upgrade")
	s.replaced(old)
	rotate(4)
	s.must("reload")

	// Another place, and what cannot be one.
	s.set("COORDINATOR_ACCESS_LOG_FILE=" + s.dir + "/none/access.log")
	if code, output := s.cli("reload"); code != 1 || !strings.Contains(output, "COORDINATOR_ACCESS_LOG_FILE") {
		t.Errorf("exit code %d: %s", code, output)
	}
	s.set("COORDINATOR_ACCESS_LOG_FILE=" + path + ".other")
	s.must("reload")
	result := running.Stop()
	noErrors(t, result)
	s.set("COORDINATOR_ACCESS_LOG=off", "COORDINATOR_ACCESS_LOG_FILE=")
	s.must("reload") // writes what is left

	logs, err := filepath.Glob(path + "*")
	if err != nil || len(logs) != 7 {
		t.Fatalf("%v %v", logs, err)
	}
	seen, lines := make(map[string]bool), 0
	for _, log := range logs {
		for _, l := range readAccess(t, log) {
			if seen[l.RequestID] {
				t.Errorf("%s has two lines", l.RequestID)
			}
			seen[l.RequestID] = true
			if l.Path == "/healthy/ok" {
				lines++
			}
		}
	}
	if lines < result.Done || lines > result.Done+result.Canceled {
		t.Errorf("%d lines of %d requests, %d of them cut", lines, result.Done, result.Canceled)
	}
}

// What is secret of a request is in no line, in no log and in no file.
func TestE2EAccessLogHasNoSecrets(t *testing.T) {
	beside(t)
	s := plain(t, "COORDINATOR_ACCESS_LOG=all", "COORDINATOR_TRUSTED_PROXIES=127.0.0.1")
	path := s.dir + "/access.log"
	s.set("COORDINATOR_ACCESS_LOG_FILE=" + path)
	s.start()
	secrets := func(p probe) probe {
		for _, name := range []string{"Authorization", "X-Api-Key", "Referer", "User-Agent", "Origin", "X-Forwarded-User", "Tracestate", "Baggage"} {
			p = p.with(name, "canary-"+name)
		}
		return p.with("Cookie", "sid=canary-cookie").with("X-Forwarded-For", "203.0.113.77")
	}
	for _, target := range []string{"/a/x?token=canary-query", "/none?token=canary-query", "/a/x%00?token=canary-query"} {
		for _, method := range []string{"GET", "POST", "TRACE"} {
			p := probe{method: method, target: target}
			if method == "POST" {
				p.body = "canary-body"
			}
			if _, err := secrets(p).ask(newClient(t), s.url); err != nil {
				t.Error(method, target, err)
			}
		}
	}
	malformed(t, s.url)
	for _, head := range []string{"GET http://user:canary-user@x/a/x HTTP/1.1\r\nHost: x\r\n", "GET /a/x HTTP/1.1\r\nHost: user:canary-user@x\r\n"} {
		nc, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(nc, head+"X-Request-Id: last\r\nConnection: close\r\n\r\n")
		_, _ = io.Copy(io.Discard, nc)
		nc.Close()
	}
	_, metrics, err := s.adminGet("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	_, status, err := s.adminGet("/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	s.signal(syscall.SIGTERM)
	s.exit(20 * time.Second)
	if n := len(readAccess(t, path)); n != 12 {
		t.Errorf("%d lines", n)
	}
	clean := func(where string, text []byte) {
		t.Helper()
		for _, bad := range []string{"canary", "203.0.113.77"} {
			if i := bytes.Index(text, []byte(bad)); i >= 0 {
				t.Errorf("%s tells %q", where, text[i:min(len(text), i+40)])
			}
		}
	}
	clean("metrics", metrics)
	clean("status", status)
	err = filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		clean(path, text)
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
