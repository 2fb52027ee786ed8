package backend_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"commerce.example/coordinator/ipc/backend"
	"commerce.example/coordinator/ipc/exchange"
)

func TestALPNChoosesHTTP1(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(site)) // HTTP/1.1 only
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	b := &rawBackend{addr: srv.Listener.Addr().String()}
	for _, p := range []backend.Protocol{backend.Auto, backend.HTTP2} {
		tr := newTransport(t)
		tr.TLS, tr.Protocol = &tls.Config{RootCAs: roots}, p
		for range 3 {
			rep := newReporter(t.Context())
			req := newRequest(t, b, "POST", "/", strings.NewReader("body")).WithContext(rep)
			req.URL.Scheme = "https"
			_, body, err := run(tr, req)
			if p == backend.HTTP2 {
				wantFault(t, err, exchange.BackendTLS, exchange.Taken)
			} else if err != nil || body != "HTTP/1.1body" {
				t.Fatal(body, err)
			}
		}
	}
}

// A server that knows no ALPN at all takes no HTTP/2 either.
func TestNoALPN(t *testing.T) {
	req, trust := secured(t, always(ok))
	tr := newHTTP2(t)
	tr.TLS = trust
	_, _, err := run(tr, req)
	wantFault(t, err, exchange.BackendProtocol, exchange.Taken)
}

func TestPriorKnowledgeIsWrong(t *testing.T) {
	noLeak(t)
	var requests atomic.Int64
	b := plainServer(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.Method != "PRI" { // the preface, as HTTP/1.1 reads it
			requests.Add(1)
		}
	},

		func(p *http.Protocols) { p.SetHTTP1(true) })
	_, _, err := get(t, newHTTP2(t), b)
	e, told := errors.AsType[*exchange.Error](err)
	if !told || e.Stage != exchange.Taken || e.Fault != exchange.BackendProtocol && e.Fault != exchange.BackendReset {
		t.Errorf("got %v", err)
	}
	if n := requests.Load(); n != 0 {
		t.Errorf("the backend saw %d requests", n)
	}
}

func TestUpgradeIsHTTP1(t *testing.T) {
	b := serve(t, func(p *peer) {
		p.head()
		p.say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
	})
	req := newRequest(t, b, "GET", "/", nil)
	req.Header.Set("Upgrade", "websocket")
	resp, err := newHTTP2(t).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestHTTP2DialFaults(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	_, _, err = get(t, newHTTP2(t), &rawBackend{addr: l.Addr().String()})
	wantFault(t, err, exchange.BackendRefused, exchange.Taken)

	silent := serve(t, func(p *peer) { io.Copy(io.Discard, p) })
	tr := newHTTP2(t)
	tr.DialTimeout = 50 * time.Millisecond
	_, _, err = get(t, tr, silent)
	wantFault(t, err, exchange.BackendTimeout, exchange.Taken)

	ctx, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	_, err = newHTTP2(t).RoundTrip(newRequest(t, silent, "GET", "/", nil).WithContext(ctx))
	wantFault(t, err, exchange.BackendTimeout, exchange.Taken)
}
