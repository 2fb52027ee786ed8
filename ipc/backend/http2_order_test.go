package backend_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"commerce.example/coordinator/ipc/backend"
	"commerce.example/coordinator/ipc/exchange"
)

// between runs between the number that a stream gets and its head.
type between struct {
	*reporter
	run func()
}

func (b *between) Value(key any) any {
	if key == exchange.ReporterKey {
		return b
	}
	return b.reporter.Value(key)
}

func (b *between) Sent() bool {
	defer b.run()
	return b.reporter.Sent()
}

// A GOAWAY that crosses the beginning of a stream ends it before its head, which
// nobody would answer: it goes elsewhere.
func TestGoAwayBeforeTheHead(t *testing.T) {
	noLeak(t)
	goaway, pinged := make(chan struct{}), make(chan struct{})
	b := frames(t, nil, func(f *framed) {
		if f.nth > 1 {
			f.serveAll()
			return
		}
		f.ok(f.request())
		<-goaway
		f.WriteGoAway(1, http2.ErrCodeNo, nil)
		close(pinged)
		if id := f.request(); id != 0 {
			t.Errorf("stream %d begins behind the GOAWAY", id)
		}
	})
	tr := newHTTP2(t)
	if _, _, err := get(t, tr, b); err != nil {
		t.Fatal(err)
	}
	rep := &between{reporter: newReporter(t.Context())}
	rep.run = func() {
		if goaway != nil {
			close(goaway)
			<-pinged
			eventually(t, "the GOAWAY to be read", func() bool { return backend.Draining(tr) })
			goaway = nil
		}
	}
	_, body, err := run(tr, newRequest(t, b, "POST", "/", strings.NewReader("body")).WithContext(rep))
	if err != nil || body != "ok" {
		t.Error(body, err)
	}
	if got := rep.story(); got != "attach sent unsent sent answered detach" {
		t.Errorf("the exchange was told %q", got)
	}
}

// What comes for a stream before its head is nobody's answer.
func TestAnswerBeforeTheHead(t *testing.T) {
	noLeak(t)
	speak, over := make(chan struct{}), make(chan struct{})
	b := frames(t, nil, func(f *framed) {
		if f.nth > 1 {
			f.serveAll()
			return
		}
		<-speak
		f.fields(1, true, ":status", "404")
		f.reset() // up to the end
		close(over)
	})
	tr := newHTTP2(t)
	rep := &between{reporter: newReporter(t.Context())}
	first := true
	rep.run = func() {
		if first {
			first = false
			close(speak)
			select {
			case <-over:
			case <-time.After(patience):
				t.Error("the connection goes on")
			}
		}
	}
	_, body, err := run(tr, newRequest(t, b, "GET", "/", nil).WithContext(rep))
	if err != nil || body != "ok" {
		t.Error(body, err)
	}
}

// A place is free for another stream when the peer knows: the reset is ahead of
// the next head.
func TestResetGoesAheadOfTheNextHead(t *testing.T) {
	b := frames(t, []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 1}}, func(f *framed) {
		open := map[uint32]bool{}
		for {
			switch frame := f.next().(type) {
			case nil:
				return
			case *http2.RSTStreamFrame:
				delete(open, frame.StreamID)
			case *http2.MetaHeadersFrame:
				if len(open) > 0 {
					t.Errorf("stream %d beside %v", frame.StreamID, open)
				}
				open[frame.StreamID] = true
				f.fields(frame.StreamID, false, ":status", "200")
			}
		}
	})
	tr := newHTTP2(t)
	for range 500 {
		resp, err := tr.RoundTrip(newRequest(t, b, "GET", "/", nil))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
}

// A body that was read for HTTP/2 goes with the request when HTTP/1.1 is the way
// after all.
func TestBodySurvivesTheFallBack(t *testing.T) {
	noLeak(t)
	srv := httptest.NewUnstartedServer(nil)
	srv.StartTLS()
	cert := srv.TLS.Certificates
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	srv.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	goaway := make(chan struct{})
	b := serveOn(t, l, func(p *peer) {
		protos := []string{"h2"}
		if p.nth > 1 {
			protos = nil
		}
		c := tls.Server(p.Conn, &tls.Config{Certificates: cert, NextProtos: protos})
		defer c.Close()
		if p.nth > 1 {
			inner := &peer{Conn: c, r: bufio.NewReader(c)}
			always(ok)(inner)
			return
		}
		io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
		f := http2.NewFramer(c, c)
		f.WriteSettings()
		<-goaway
		f.WriteGoAway(0, http2.ErrCodeNo, nil)
		io.Copy(io.Discard, c)
	})
	tr := newTransport(t)
	tr.TLS = &tls.Config{RootCAs: roots}
	rep := &between{reporter: newReporter(t.Context())}
	rep.run = func() {
		if goaway != nil {
			close(goaway)
			eventually(t, "the GOAWAY to be read", func() bool { return backend.Draining(tr) })
			goaway = nil
		}
	}
	req := newRequest(t, b, "POST", "/", bytes.NewReader([]byte("body"))).WithContext(rep)
	req.URL.Scheme = "https"
	resp, _, err := run(tr, req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
}

// What a backend thinks of the client's certificate is told so over HTTP/2 too.
func TestTLSRefusalBeforeSettings(t *testing.T) {
	srv := httptest.NewUnstartedServer(nil)
	srv.StartTLS()
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: srv.TLS.Certificates, ClientAuth: tls.RequireAnyClientCert, NextProtos: []string{"h2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	b := serveOn(t, l, func(p *peer) { p.head() })
	for range 20 {
		tr := &backend.Transport{TLS: &tls.Config{RootCAs: roots}}
		req := newRequest(t, b, "POST", "/", nil)
		req.URL.Scheme = "https"
		_, _, err = run(tr, req)
		tr.Close()
		wantFault(t, err, exchange.BackendTLS, exchange.Taken)
	}
}

// Whether a backend has learnt HTTP/2 is asked again from time to time. Meanwhile
// nobody waits for it who has a connection.
func TestAskingForHTTP2HoldsUpNobody(t *testing.T) {
	srv := httptest.NewUnstartedServer(nil)
	srv.StartTLS()
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	b := serve(t, func(p *peer) {
		if p.nth > 1 {
			io.Copy(io.Discard, p) // it says nothing
			return
		}
		c := tls.Server(p.Conn, &tls.Config{Certificates: srv.TLS.Certificates})
		always(ok)(&peer{Conn: c, r: bufio.NewReader(c)})
	})
	tr := newTransport(t)
	tr.TLS, tr.DialTimeout = &tls.Config{RootCAs: roots}, patience
	for i := range 3 {
		if i == 1 {
			backend.AskAgain(tr)
		}
		req := newRequest(t, b, "GET", "/", nil)
		req.URL.Scheme = "https"
		begun := time.Now()
		if _, _, err := run(tr, req); err != nil || time.Since(begun) > patience/2 {
			t.Fatal(err, time.Since(begun))
		}
	}
	eventually(t, "the question", func() bool { return b.conns.Load() == 2 })
}
