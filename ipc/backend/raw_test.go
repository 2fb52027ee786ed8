package backend_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"commerce.example/coordinator/ipc/backend"
	"commerce.example/coordinator/ipc/exchange"
)

const patience = 10 * time.Second

// rawBackend is a TCP server whose every byte the test writes.
type rawBackend struct {
	addr  string
	conns atomic.Int64
	ended atomic.Int64 // of them, where a server of net/http counts
}

// serve starts one; script runs for each connection, which is closed behind it.
func serve(t testing.TB, script func(p *peer)) *rawBackend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, l, script)
}

func serveOn(t testing.TB, l net.Listener, script func(p *peer)) *rawBackend {
	b := &rawBackend{addr: l.Addr().String()}
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[nc] = true
			mu.Unlock()
			n := b.conns.Add(1)
			wg.Go(func() {
				defer nc.Close()
				nc.SetDeadline(time.Now().Add(patience))
				script(&peer{Conn: nc, r: bufio.NewReader(nc), nth: int(n)})
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for nc := range open {
			nc.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return b
}

// peer is the backend's side of one connection.
type peer struct {
	net.Conn
	r   *bufio.Reader
	nth int // of the connections, from 1
}

// head reads a request's head as it was sent, without the empty line. It is ""
// at the end of the connection.
func (p *peer) head() string {
	var b strings.Builder
	for {
		line, err := p.r.ReadString('\n')
		if err != nil {
			return ""
		}
		if line == "\r\n" {
			return b.String()
		}
		b.WriteString(line)
	}
}

// request reads a request with net/http's parser, body included.
func (p *peer) request() (*http.Request, string, error) {
	req, err := http.ReadRequest(p.r)
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(req.Body)
	return req, string(body), err
}

func (p *peer) say(s string) { io.WriteString(p, s) }

// always answers every request with the same bytes.
func always(answer string) func(*peer) {
	return func(p *peer) {
		for {
			if _, _, err := p.request(); err != nil {
				return
			}
			p.say(answer)
		}
	}
}

// once answers one request and closes.
func once(answer string) func(*peer) {
	return func(p *peer) {
		if _, _, err := p.request(); err == nil {
			p.say(answer)
		}
	}
}

func newTransport(t testing.TB) *backend.Transport {
	tr := &backend.Transport{}
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	return tr
}

func newRequest(t testing.TB, b *rawBackend, method, path string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+b.addr+path, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// get runs a GET and reads the whole answer.
func get(t testing.TB, tr *backend.Transport, b *rawBackend) (*http.Response, string, error) {
	t.Helper()
	return run(tr, newRequest(t, b, "GET", "/", nil))
}

func run(tr *backend.Transport, req *http.Request) (*http.Response, string, error) {
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

// wantFault checks err's fault and stage.
func wantFault(t testing.TB, err error, f exchange.Fault, s exchange.Stage) {
	t.Helper()
	e, ok := errors.AsType[*exchange.Error](err)
	if !ok {
		t.Fatalf("error %v (%T) is no exchange.Error; want %s", err, err, f)
	}
	if e.Fault != f || e.Stage != s {
		t.Fatalf("got %s at stage %s (%v), want %s at %s", e.Fault, e.Stage, e.Err, f, s)
	}
}

// reporter is an exchange as the SDK has it.
type reporter struct {
	context.Context
	mu       sync.Mutex
	canceler exchange.Canceler
	gone     bool
	fenced   bool // given up as never sent
	log      []string
	informed []int
	refuse   error
}

func newReporter(ctx context.Context) *reporter { return &reporter{Context: ctx} }

func (r *reporter) Value(key any) any {
	if key == exchange.ReporterKey {
		return r
	}
	return r.Context.Value(key)
}

func (r *reporter) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return context.Canceled
	}
	return nil
}

func (r *reporter) note(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, s)
}

func (r *reporter) Sent() bool {
	r.note("sent")
	return !r.fenced
}

func (r *reporter) Unsent() { r.note("unsent") }

func (r *reporter) Answered() { r.note("answered") }

func (r *reporter) Attach(c exchange.Canceler) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return false
	}
	if r.canceler != nil {
		panic("two attached at a time")
	}
	r.canceler = c
	r.log = append(r.log, "attach")
	return true
}

func (r *reporter) Detach() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.canceler = nil
	r.log = append(r.log, "detach")
}

func (r *reporter) cancel() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = true
	if r.canceler != nil {
		r.canceler.Cancel()
	}
}

func (r *reporter) attached() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.canceler != nil
}

func (r *reporter) Inform(code int, h http.Header) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.informed = append(r.informed, code)
	return r.refuse
}

func (r *reporter) story() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.log, " ")
}

// eventually polls until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("in vain waited for: %s", what)
		}
	}
}

// noLeak fails the test when goroutines remain that were not there before.
func noLeak(t testing.TB) {
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		eventually(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
	})
}

func header(kv ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(kv); i += 2 {
		h.Add(textproto.CanonicalMIMEHeaderKey(kv[i]), kv[i+1])
	}
	return h
}
