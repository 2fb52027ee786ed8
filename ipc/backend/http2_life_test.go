package backend_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"commerce.example/coordinator/ipc/backend"
	"commerce.example/coordinator/ipc/exchange"
)

func TestHTTP2ConnectionsRetire(t *testing.T) {
	noLeak(t)
	b := h2c(t, site)
	for name, tr := range map[string]*backend.Transport{
		"idle":   {Protocol: backend.HTTP2, IdleTimeout: 10 * time.Millisecond},
		"closed": {Protocol: backend.HTTP2},
	} {
		t.Run(name, func(t *testing.T) {
			defer tr.Close()
			for range 2 {
				before := b.conns.Load()
				if _, _, err := get(t, tr, b); err != nil {
					t.Fatal(err)
				}
				if name == "closed" {
					tr.CloseIdleConnections()
				}
				if n := b.conns.Load() - before; n != 1 {
					t.Errorf("%d new connections, want 1", n)
				}
				eventually(t, "the connection to end", func() bool { return b.ended.Load() == b.conns.Load() })
			}
		})
	}
}

// A backend that is gone without a word: no end of the connection, no answer to
// a ping.
func TestLostConnection(t *testing.T) {
	noLeak(t)
	over := make(chan struct{})
	b := frames(t, nil, func(f *framed) {
		f.request()
		<-over
	})
	defer close(over)
	tr := newHTTP2(t)
	tr.ReadIdleTimeout, tr.PingTimeout = 20*time.Millisecond, 20*time.Millisecond
	_, _, err := get(t, tr, b)
	wantFault(t, err, exchange.BackendTimeout, exchange.Sent)
}

// One that answers pings is slow, not gone.
func TestSlowConnectionLives(t *testing.T) {
	b := frames(t, nil, func(f *framed) {
		id, pings := f.request(), 0
		for pings < 3 {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if p, ok := frame.(*http2.PingFrame); ok {
				f.WritePing(true, p.Data)
				pings++
			}
		}
		f.ok(id)
		f.serveAll()
	})
	tr := newHTTP2(t)
	tr.ReadIdleTimeout, tr.PingTimeout = 10*time.Millisecond, 5*time.Second
	if _, body, err := get(t, tr, b); err != nil || body != "ok" {
		t.Error(body, err)
	}
}

// Frames that ask for an answer are answered while the backend reads, and end the
// connection when it does not.
func TestPingFlood(t *testing.T) {
	noLeak(t)
	// The answers to few fill a small buffer. It must be small from the first window
	// on: shrunk later, the kernel drops what it had promised to take, ACKs with it.
	small := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		bad := c.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 16<<10)
		})
		return errors.Join(bad, err)
	}}
	l, err := small.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := serveOn(t, l, func(p *peer) {
		f := p.framed(t)
		f.WriteSettings()
		f.request()
		for f.WritePing(false, [8]byte{}) == nil {
		}
	})
	begun := time.Now()
	_, _, err = get(t, newHTTP2(t), b)
	wantFault(t, err, exchange.BackendProtocol, exchange.Sent)
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
}

func BenchmarkHTTP2RoundTrip(b *testing.B) {
	srv := h2c(b, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	tr := newHTTP2(b)
	req, err := http.NewRequest("GET", "http://"+srv.addr+"/", nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		resp, err := tr.RoundTrip(req)
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}
