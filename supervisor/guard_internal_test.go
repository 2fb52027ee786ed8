package supervisor

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"commerce.example/coordinator/supervisor/framing"
)

func testGuards() *guards {
	return &guards{
		stats: newBulkheadStats(newMetrics(), "none", time.Now()), ids: NewRequestIDs(),
		log: hclog.NewNullLogger(), stopping: new(atomic.Bool), headerTimeout: 10 * time.Second,
	}
}

// guarded serves handler on a guarded listener of its own, with little time for
// heads and less for idling.
func guarded(t *testing.T, handler http.HandlerFunc) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	limits := &connLimits{by: make(map[netip.Addr]int64), trusted: new(atomic.Pointer[TrustedProxies]), refused: func() {}}
	srv := &http.Server{
		Protocols: new(http.Protocols), Handler: handler, ReadHeaderTimeout: 300 * time.Millisecond, IdleTimeout: 200 * time.Millisecond,
		ConnState: func(nc net.Conn, state http.ConnState) { nc.(*guardedConn).changed(state) },
	}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	ended := make(chan error, 1)
	go func() {
		ended <- srv.Serve(&guardedListener{&limitedListener{frontListener: frontListener{Listener: l}, limits: limits}, testGuards()})
	}()
	t.Cleanup(func() { srv.Close(); <-ended })
	return l.Addr().String()
}

// A head that does not end in time is answered; a connection that says nothing
// is closed without a word.
func TestHeadThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	address := guarded(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	const whole = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na"
	for _, c := range []struct {
		sent          string
		answers, late int
	}{
		{"", 0, 0},
		{"G", 0, 1},
		{"PRI * HT", 0, 1},
		{"PRI * HTTP/2.0\r\n\r\n", 1, 0}, // net/http has a handler answer it
		{"GET / HTTP/1.1\r\nHost: x\r\n", 0, 1},
		{"GET / HTTP/1.1\r\nHost: x\r\n\r", 0, 1},
		{"\r\n", 0, 0},
		{whole, 1, 0},
		{whole + "\r\n", 1, 0},
		{whole + whole + "POST / HTTP/1.1\r\nHost", 2, 1},
	} {
		nc, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(nc, c.sent)
		b, err := io.ReadAll(nc)
		nc.Close()
		if err != nil || bytes.Count(b, []byte("HTTP/1.1 200")) != c.answers || bytes.Count(b, []byte("HTTP/1.1 408")) != c.late ||
			strings.Count(string(b), `"reason":"client_timeout"`) != c.late {
			t.Errorf("%q: %q %v", c.sent, b, err)
		}
	}
}

// told is a connection that gives and takes what a test says.
type told struct {
	net.Conn
	read    func([]byte) (int, error)
	written bytes.Buffer
}

func (c *told) Read(p []byte) (int, error)       { return c.read(p) }
func (c *told) Write(p []byte) (int, error)      { return c.written.Write(p) }
func (c *told) SetReadDeadline(time.Time) error  { return nil }
func (c *told) SetWriteDeadline(time.Time) error { return nil }
func (c *told) Close() error                     { return nil }
func (c *told) RemoteAddr() net.Addr             { return &net.UnixAddr{} }

// Read is called in a goroutine that would take the process down.
func TestGuardSurvivesItself(t *testing.T) {
	nc := &told{read: func(p []byte) (int, error) { return cap(p) + 1, nil }}
	c := &guardedConn{Conn: nc, guards: testGuards()}
	got, err := io.ReadAll(io.LimitReader(c, 100))
	if string(got) != framing.Poison || err != nil {
		t.Errorf("%q %v", got, err)
	}
}

// A body may look like a refusal of net/http. It is only taken for one where no
// body can be.
func TestAnswersAreNotRewritten(t *testing.T) {
	const own = "HTTP/1.1 400 Bad Request: x\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request"
	nc := &told{}
	c := &guardedConn{Conn: nc, guards: testGuards()}
	_ = c.SetReadDeadline(time.Now())
	_ = c.SetReadDeadline(time.Time{}) // a request is accepted
	if n, err := c.Write([]byte(own)); n != len(own) || err != nil || nc.written.String() != own {
		t.Errorf("in an answer: %d %v %q", n, err, nc.written.String())
	}
	nc.written.Reset()
	c.changed(http.StateIdle)
	if n, err := c.Write([]byte(own)); n != len(own) || err != nil || !strings.Contains(nc.written.String(), "problem+json") || strings.Contains(nc.written.String(), "text/plain") {
		t.Errorf("between answers: %d %v %q", n, err, nc.written.String())
	}
	nc.written.Reset()
	c.guard.StepAside()
	if _, err := c.Write([]byte(own)); err != nil || nc.written.String() != own {
		t.Errorf("of another protocol: %q", nc.written.String())
	}
}

// A request whose body is at fault has the answer of its handler, if one has it.
func TestNoSecondAnswer(t *testing.T) {
	const own = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request"
	for _, handled := range []bool{true, false} {
		nc := &told{read: func(p []byte) (int, error) {
			return copy(p, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnonsense"), nil
		}}
		c := &guardedConn{Conn: nc, guards: testGuards()}
		got, err := io.ReadAll(c)
		if !strings.HasSuffix(string(got), framing.Poison) || err != nil {
			t.Fatalf("%q %v", got, err)
		}
		if handled {
			_ = c.SetReadDeadline(time.Time{})
			c.changed(http.StateIdle)
		}
		if _, err := c.Write([]byte(own)); err != nil || nc.written.Len() > 0 == handled {
			t.Errorf("handled %v: %q %v", handled, nc.written.String(), err)
		}
	}
}

// securedFor is a listener with that configuration, and a connection to it.
func securedFor(t *testing.T, config *tls.Config, conns *atomic.Int64) (*securedListener, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	limits := &connLimits{by: make(map[netip.Addr]int64), trusted: new(atomic.Pointer[TrustedProxies]), refused: func() {}}
	limited := &limitedListener{frontListener: frontListener{Listener: l}, limits: limits, tls: true}
	secured := newSecuredListener(limited, testGuards(), config, conns)
	t.Cleanup(func() { secured.Close(); secured.wait() })
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	return secured, nc
}

// A panic in a handshake ends its connection, and nothing else.
func TestHandshakeThatPanics(t *testing.T) {
	var conns atomic.Int64
	secured, nc := securedFor(t, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { panic("on purpose") }}, &conns)
	if err := tls.Client(nc, &tls.Config{InsecureSkipVerify: true}).Handshake(); err == nil {
		t.Error("a handshake without a certificate")
	}
	secured.Close()
	secured.wait()
	if open := secured.limits.open.Load(); conns.Load() != 0 || open != 0 {
		t.Errorf("%d connections counted, %d open", conns.Load(), open)
	}
}

// Handshakes end with their listener, however long the client would take.
func TestHandshakesEndWithTheListener(t *testing.T) {
	var conns atomic.Int64
	secured, nc := securedFor(t, &tls.Config{}, &conns)
	for deadline := time.Now().Add(5 * time.Second); conns.Load() != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not accepted")
		}
	}
	accepted := make(chan error, 1)
	go func() { _, err := secured.Accept(); accepted <- err }()
	secured.Close()
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	secured.wait()
	if open := secured.limits.open.Load(); conns.Load() != 0 || open != 0 {
		t.Errorf("%d connections counted, %d open", conns.Load(), open)
	}
	if _, err := nc.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is open")
	}
}
