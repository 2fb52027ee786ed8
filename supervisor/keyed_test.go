package supervisor_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/idempotency"
)

// pay is a payment: a file in the folder that the query names. It answers once
// there is a file "go" in it, with n bytes, or as fault and status say.
func pay(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if query.Get("unpaid") == "" {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			ipc.Fail(w, err)
			return
		}
		exchange.From(r.Context()).Sent()
		f, err := os.CreateTemp(query.Get("dir"), "paid-")
		if err != nil {
			panic(err)
		}
		f.Close()
	}
	for r.Context().Err() == nil {
		if _, err := os.Stat(filepath.Join(query.Get("dir"), "go")); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if fault := query.Get("fault"); fault != "" {
		ipc.Fail(w, &exchange.Error{Fault: exchange.Fault(fault), Err: io.ErrUnexpectedEOF})
		return
	}
	w.Header().Set("Location", "/payments/1")
	w.Header().Add("Set-Cookie", "a=1")
	w.Header().Set("Trailer", "X-Sum")
	n, _ := strconv.Atoi(query.Get("n"))
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, "payment at %d", time.Now().UnixNano())
	for range n / 1024 {
		w.Write(bytes.Repeat([]byte("x"), 1024))
	}
	w.Header().Set("X-Sum", "5")
}

// till is where payments go.
type till struct {
	t   *testing.T
	dir string
}

// newTill answers at once if it is open.
func newTill(t *testing.T, open bool) till {
	t.Helper()
	l := till{t, t.TempDir()}
	if open {
		l.open()
	}
	return l
}

func (l till) open() {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, "go"), nil, 0o600); err != nil {
		l.t.Fatal(err)
	}
}

func (l till) paid() int {
	files, _ := filepath.Glob(l.dir + "/paid-*")
	return len(files)
}

func (l till) target(more string) string { return "/a/pay?dir=" + url.QueryEscape(l.dir) + more }

// paying is a bulkhead that takes idempotency keys.
func paying(change ...func(*supervisor.BulkheadConfig)) supervisor.BulkheadConfig {
	return recorded("a", supervisor.JournalUnsafe, append([]func(*supervisor.BulkheadConfig){func(c *supervisor.BulkheadConfig) {
		c.Idempotency = supervisor.IdempotencyConfig{Mode: supervisor.IdempotencyOptional, Settings: idempotency.Settings{MaxAnswer: 8 << 20}}
	}}, change...)...)
}

// problemOf is the problem in a body, or none.
func problemOf(body string) (p struct {
	Reason, Outcome, Detail string
	RetrySafe               bool `json:"retry_safe"`
}) {
	_ = json.Unmarshal([]byte(body), &p)
	return p
}

const key = "Idempotency-Key"

func TestRepeatIsNotSent(t *testing.T) {
	l, state := newTill(t, true), t.TempDir()
	access := filepath.Join(state, "access.log")
	r := start(t, []supervisor.BulkheadConfig{paying()}, keep(state), accessLogged(t, "all", access))
	post := func(body string, fields ...string) (*http.Response, string) {
		return r.do("POST", l.target(""), strings.NewReader(body), fields...)
	}
	first, was := post("1 EUR", key, "k", "X-Request-Id", "one")
	if first.StatusCode != 201 || first.Header.Get("Idempotency-Replayed") != "" || first.Trailer.Get("X-Sum") != "5" {
		t.Fatalf("%v %q", first, was)
	}
	for i, quoted := range []string{"k", `"k"`} {
		again, is := post("1 EUR", key, quoted, "X-Request-Id", fmt.Sprint("again-", i))
		if again.StatusCode != 201 || is != was || again.Header.Get("Idempotency-Replayed") != "true" ||
			again.Header.Get("Location") != "/payments/1" || again.Header.Get("Set-Cookie") != "a=1" ||
			again.Trailer.Get("X-Sum") != "5" || again.Header.Get("X-Request-Id") != fmt.Sprint("again-", i) {
			t.Errorf("%v %q, was %q", again, is, was)
		}
	}
	if s := stories(t, state, "again-0")[0]; s.Outcome != "refused" || s.Fallback != "replay" || s.Status != 201 || !s.RetrySafe {
		t.Errorf("%+v", s)
	}
	eventually(t, 5*time.Second, "the access log tells of both repeats, and of them alone", func() bool {
		text, err := os.ReadFile(access)
		return err == nil && bytes.Count(text, []byte("\n")) == 3 && bytes.Count(text, []byte(`"fallback":"replay"`)) == 2
	})
	for _, c := range []struct {
		body, reason string
		status       int
		fields       []string
	}{
		{"2 EUR", "idempotency_mismatch", 422, []string{key, "k"}},
		{"1 EUR", "idempotency_mismatch", 422, []string{key, "k", "Content-Type", "text/plain"}},
		{"1 EUR", "bad_request", 400, []string{key, ""}},
		{"1 EUR", "bad_request", 400, []string{key, "two", key, "keys"}},
	} {
		resp, body := post(c.body, c.fields...)
		if p := problemOf(body); resp.StatusCode != c.status || p.Reason != c.reason || p.Outcome != "refused" {
			t.Errorf("%v: %d %s", c.fields, resp.StatusCode, body)
		}
	}
	if l.paid() != 1 {
		t.Errorf("%d payments", l.paid())
	}
	for n, fields := range [][]string{{key, "k", "Authorization", "Bearer x"}, {key, "other"}, nil, nil} {
		if resp, _ := post("1 EUR", fields...); resp.StatusCode != 201 || l.paid() != n+2 {
			t.Errorf("%v: %d, %d payments", fields, resp.StatusCode, l.paid())
		}
	}
	for verdict, want := range map[string]float64{"first": 3, "repeat": 2, "mismatch": 2, "malformed": 2, "unkeyed": 2, "known": 0} {
		if got := r.sample(`coordinator_idempotency_total{bulkhead="a",verdict="` + verdict + `"}`); got != want {
			t.Errorf("%s: %v, want %v", verdict, got, want)
		}
	}
	if s := r.bulkhead("a").Idempotency; s == nil || s.Keys != 3 || s.Answers != 3 || s.InProgress != 0 || s.Bytes == 0 {
		t.Errorf("%+v", s)
	}
}

func TestKeyRequired(t *testing.T) {
	l := newTill(t, true)
	r := start(t, []supervisor.BulkheadConfig{paying(func(c *supervisor.BulkheadConfig) { c.Idempotency.Mode = supervisor.IdempotencyRequired })})
	resp, body := r.do("POST", l.target(""), strings.NewReader("1 EUR"))
	if p := problemOf(body); resp.StatusCode != 400 || p.Reason != "bad_request" || !strings.Contains(p.Detail, key) || l.paid() != 0 {
		t.Errorf("%d %s, %d payments", resp.StatusCode, body, l.paid())
	}
	if resp, _ := r.get("/a/bytes?n=1"); resp.StatusCode != 200 {
		t.Errorf("GET: %d", resp.StatusCode)
	}
	if resp, _ := r.do("POST", l.target(""), nil, key, "k"); resp.StatusCode != 201 {
		t.Errorf("with a key: %d", resp.StatusCode)
	}
}

// While the first is at work a repeat has to wait; afterwards it gets the answer.
func TestRepeatWhileTheFirstIsAtWork(t *testing.T) {
	l := newTill(t, false)
	r := start(t, []supervisor.BulkheadConfig{paying()})
	r.raw("POST " + l.target("") + " HTTP/1.1\r\nHost: " + r.addr + "\r\nIdempotency-Key: k\r\nContent-Length: 1\r\n\r\n1")
	eventually(t, 5*time.Second, "it is paid", func() bool { return l.paid() == 1 })
	resp, body := r.do("POST", l.target(""), strings.NewReader("1"), key, "k")
	if p := problemOf(body); resp.StatusCode != 409 || p.Reason != "idempotency_conflict" || !p.RetrySafe || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s %v", resp.StatusCode, body, resp.Header)
	}
	l.open()
	eventually(t, 5*time.Second, "the answer", func() bool {
		resp, _ := r.do("POST", l.target(""), strings.NewReader("1"), key, "k")
		return resp.StatusCode == 201 && resp.Header.Get("Idempotency-Replayed") == "true"
	})
	if l.paid() != 1 {
		t.Errorf("%d payments", l.paid())
	}
}

// A client that leaves, or that does not read, costs nobody the answer: whoever
// repeats the request gets all of it.
func TestAnswerIsReadWithoutItsClient(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		n        int
		cut      func(l till, nc net.Conn)
		outcomes []string
	}{
		"before the answer": {0, func(l till, nc net.Conn) {
			nc.Close()
			time.AfterFunc(100*time.Millisecond, l.open) // later than the watch sees it
		}, []string{"undelivered"}},
		"as it begins": {4 << 20, func(l till, nc net.Conn) {
			l.open()
			_, _ = io.ReadFull(nc, make([]byte, 16))
			nc.Close()
		}, []string{"undelivered"}},
		"never reads": {4 << 20, func(l till, _ net.Conn) { l.open() }, []string{"undelivered", "done"}}, // the kernel may hold all of it
	} {
		t.Run(name, func(t *testing.T) {
			l, state := newTill(t, false), t.TempDir()
			r := start(t, []supervisor.BulkheadConfig{paying(func(c *supervisor.BulkheadConfig) { c.IdleTimeout = 400 * time.Millisecond })}, keep(state))
			target := l.target("&n=" + strconv.Itoa(c.n))
			nc, _ := r.raw("POST " + target + " HTTP/1.1\r\nHost: " + r.addr + "\r\nX-Request-Id: cut\r\nIdempotency-Key: k\r\nContent-Length: 1\r\n\r\n1")
			eventually(t, 5*time.Second, "it is paid", func() bool { return l.paid() == 1 })
			c.cut(l, nc)
			eventually(t, 8*time.Second, "the first is over", func() bool { return r.bulkhead("a").Idempotency.InProgress == 0 })
			resp, body := r.do("POST", target, strings.NewReader("1"), key, "k")
			if resp.StatusCode != 201 || !strings.HasPrefix(body, "payment at ") || len(body) < c.n || l.paid() != 1 {
				t.Errorf("%d, %d bytes, %d payments: %.300s", resp.StatusCode, len(body), l.paid(), body)
			}
			s := stories(t, state, "cut")[0]
			if !strings.Contains(strings.Join(c.outcomes, " "), s.Outcome) || s.IdempotencyDigest == "" {
				t.Errorf("%+v", s)
			}
		})
	}
}

// An answer that is too long to be kept is not waited for, and its outcome is known.
func TestRepeatOfWhatIsNotKept(t *testing.T) {
	l := newTill(t, true)
	state := t.TempDir()
	r := start(t, []supervisor.BulkheadConfig{paying(func(c *supervisor.BulkheadConfig) { c.Idempotency.MaxAnswer = 1 << 10 })}, keep(state))
	if resp, _ := r.do("POST", l.target("&n=4096"), nil, key, "k"); resp.StatusCode != 201 {
		t.Fatal(resp.Status)
	}
	resp, body := r.do("POST", l.target("&n=4096"), nil, key, "k", "X-Request-Id", "again")
	p := problemOf(body)
	if s := stories(t, state, "again")[0]; s.Outcome != "refused" || s.RetrySafe || s.IdempotencyDigest == "" {
		t.Errorf("%+v", s)
	}
	if resp.StatusCode != 409 || p.Outcome != "done" || p.RetrySafe || !strings.Contains(p.Detail, "has been done") ||
		resp.Header.Get("Retry-After") != "" || !strings.Contains(resp.Header.Get("Proxy-Status"), "outcome=done") {
		t.Errorf("%d %s %v", resp.StatusCode, body, resp.Header)
	}
	if l.paid() != 1 {
		t.Errorf("%d payments", l.paid())
	}
}

// The key is free again only if the first provably did nothing.
func TestKeyAfterAFailure(t *testing.T) {
	l := newTill(t, true)
	r := start(t, []supervisor.BulkheadConfig{paying(func(c *supervisor.BulkheadConfig) { c.BreakerMode = "closed" })})
	for _, c := range []struct{ key, more, first, then string }{
		{"refused", "&unpaid=1&fault=backend_refused", "backend_refused", "backend_refused"},
		{"unknown", "&fault=backend_reset", "backend_reset", "idempotency_conflict"},
		{"dead", "/../exit", "worker_died", "idempotency_conflict"},
	} {
		target := l.target(c.more)
		if c.key == "dead" {
			target = "/a/exit"
		}
		_, body := r.do("POST", target, strings.NewReader("1"), key, c.key)
		if p := problemOf(body); p.Reason != c.first {
			t.Errorf("%s: %s", c.key, body)
		} else if p.Outcome == "never_sent" {
			c.then = c.first
		}
		eventually(t, 10*time.Second, "a worker", func() bool { return r.bulkhead("a").Workers[0].State == "ready" })
		if _, body = r.do("POST", target, strings.NewReader("1"), key, c.key); problemOf(body).Reason != c.then {
			t.Errorf("%s, again: %s", c.key, body)
		}
	}
	if l.paid() != 1 {
		t.Errorf("%d payments", l.paid())
	}
}

// What a supervisor has forgotten the journal knows: a repeat is told the outcome.
func TestKeysOutliveTheSupervisor(t *testing.T) {
	l, state := newTill(t, true), t.TempDir()
	config := []supervisor.BulkheadConfig{paying()}
	r := start(t, config, keep(state))
	r.do("POST", l.target(""), strings.NewReader("1"), key, "done")
	r.do("POST", l.target("&fault=backend_reset"), strings.NewReader("1"), key, "unknown")
	r.do("POST", l.target("&unpaid=1&fault=backend_refused"), strings.NewReader("1"), key, "free")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	secret, err := os.ReadFile(filepath.Join(state, "idempotency.key"))
	if info, _ := os.Stat(filepath.Join(state, "idempotency.key")); err != nil || len(secret) != 32 || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %d bytes, %v", err, len(secret), info)
	}
	r = start(t, config, keep(state))
	for name, outcome := range map[string]string{"done": "done", "unknown": "sent_unknown"} {
		resp, body := r.do("POST", l.target(""), strings.NewReader("1"), key, name)
		if p := problemOf(body); resp.StatusCode != 409 || p.Outcome != outcome || p.RetrySafe {
			t.Errorf("%s: %d %s", name, resp.StatusCode, body)
		}
	}
	if resp, _ := r.do("POST", l.target(""), strings.NewReader("1"), key, "free"); resp.StatusCode != 201 || l.paid() != 3 {
		t.Errorf("%d, %d payments", resp.StatusCode, l.paid())
	}
}

// A reload keeps keys and answers; what it had forgotten in between it reads again.
func TestKeysOutliveReloads(t *testing.T) {
	l := newTill(t, true)
	config := supervisor.Config{}
	r := start(t, []supervisor.BulkheadConfig{paying()}, func(o *supervisor.Options) {
		config = o.Config
		o.Load = func() (supervisor.Config, error) { return config, nil }
	})
	config.Listen, config.AdminListen = []string{"127.0.0.1:0"}, ""
	pay := func() (int, string) {
		resp, body := r.do("POST", l.target(""), strings.NewReader("1"), key, "k")
		return resp.StatusCode, body
	}
	_, was := pay()
	reload := func(change func(*supervisor.BulkheadConfig)) {
		t.Helper()
		config.Bulkheads = []supervisor.BulkheadConfig{paying(change)}
		if report := r.Reload(t.Context()); report.Error != "" {
			t.Fatalf("%+v", report)
		}
	}
	reload(func(c *supervisor.BulkheadConfig) { c.Idempotency.MaxAge = 2 * time.Hour })
	if status, body := pay(); status != 201 || body != was {
		t.Errorf("%d %s", status, body)
	}
	reload(func(c *supervisor.BulkheadConfig) { c.Idempotency.Mode = supervisor.IdempotencyOff })
	reload(func(c *supervisor.BulkheadConfig) {})
	if status, body := pay(); status != 409 || problemOf(body).Outcome != "done" || l.paid() != 1 {
		t.Errorf("%d %s, %d payments", status, body, l.paid())
	}
}

// A repeat whose body does not come is not waited for longer than for an answer.
func TestRepeatWithoutItsBody(t *testing.T) {
	t.Parallel()
	l := newTill(t, true)
	r := start(t, []supervisor.BulkheadConfig{paying(func(c *supervisor.BulkheadConfig) { c.Timeout, c.QueueTimeout = 400*time.Millisecond, 0 })})
	r.do("POST", l.target(""), strings.NewReader("1"), key, "k")
	_, br := r.raw("POST " + l.target("") + " HTTP/1.1\r\nHost: " + r.addr + "\r\nIdempotency-Key: k\r\nContent-Length: 1\r\n\r\n")
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != 408 {
		t.Fatalf("%v %v", resp, err)
	}
	if l.paid() != 1 {
		t.Errorf("%d payments", l.paid())
	}
}

// BenchmarkKeyed is what a key costs a POST: of a bulkhead without keys, of one with
// them and a request without, with a new key each time, and of a repeat.
func BenchmarkKeyed(b *testing.B) {
	keyed := paying()
	keyed.Idempotency.Keys = 1 << 30
	r := start(b, []supervisor.BulkheadConfig{keyed, recorded("off", supervisor.JournalUnsafe)})
	text := func(name, fields string) string {
		return "POST /" + name + "/sum HTTP/1.1\r\nHost: x\r\n" + fields + "Content-Length: 456\r\n\r\n" + strings.Repeat("x", 456)
	}
	const known, unused = "Idempotency-Key: 8e03978e-40d5-43dd-bc93-6894a57f9324\r\n", "Idempotency-Klf: 8e03978e-40d5-43dd-bc93-6894a57f9324\r\n"
	b.Run("off", func(b *testing.B) { repeatOne(b, r, text("off", unused)) })
	b.Run("unkeyed", func(b *testing.B) { repeatOne(b, r, text("a", unused)) })
	n := 0
	b.Run("first", func(b *testing.B) {
		repeatEach(b, r, func() string {
			n++
			return text("a", fmt.Sprintf("Idempotency-Key: 8e03978e-40d5-43dd-bc93-%012d\r\n", n))
		})
	})
	b.Run("repeat", func(b *testing.B) { repeatOne(b, r, text("a", known)) })
}
