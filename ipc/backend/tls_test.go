package backend_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"commerce.example/coordinator/ipc/backend"
	"commerce.example/coordinator/ipc/exchange"
)

func TestTLS(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		io.WriteString(w, r.Proto+string(body))
	}))
	srv.EnableHTTP2 = true // must not be chosen
	srv.StartTLS()
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	b := &rawBackend{addr: srv.Listener.Addr().String()}
	call := func(config *tls.Config) error {
		tr := &backend.Transport{TLS: config, Protocol: backend.HTTP1}
		defer tr.Close()
		for range 3 {
			req := newRequest(t, b, "POST", "/", strings.NewReader("body"))
			req.URL.Scheme = "https"
			_, body, err := run(tr, req)
			if err != nil {
				return err
			}
			if body != "HTTP/1.1body" {
				t.Errorf("got %q", body)
			}
		}
		return nil
	}
	if err := call(&tls.Config{RootCAs: roots}); err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]*tls.Config{
		"unknown issuer": nil,
		"told to skip":   {InsecureSkipVerify: true},
		"wrong name":     {RootCAs: roots, ServerName: "other.invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			wantFault(t, call(config), exchange.BackendTLS, exchange.Taken)
		})
	}
}

func TestTLSConnectionsAreReused(t *testing.T) {
	var remotes = map[string]bool{}
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		remotes[r.RemoteAddr] = true
	}))
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	tr := &backend.Transport{TLS: &tls.Config{RootCAs: roots}}
	defer tr.Close()
	for range 5 {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", srv.URL, nil)
		if _, _, err := run(tr, req); err != nil {
			t.Fatal(err)
		}
	}
	if len(remotes) != 1 {
		t.Errorf("%d connections, want 1", len(remotes))
	}
}

// secured is a request to a backend behind a TLS that knows no ALPN, and whom to
// trust for it.
func secured(t testing.TB, script func(p *peer)) (*http.Request, *tls.Config) {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: srv.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	req := newRequest(t, serveOn(t, l, script), "GET", "/", nil)
	req.URL.Scheme = "https"
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	return req, &tls.Config{RootCAs: roots}
}

// TLS tells an end from a cut: an answer until close needs the word of farewell.
func TestTLSTruncation(t *testing.T) {
	req, trust := secured(t, func(p *peer) {
		p.head()
		p.say("HTTP/1.1 200 OK\r\n\r\nhalf")
		p.Conn.(*tls.Conn).NetConn().Close()
	})
	tr := &backend.Transport{TLS: trust}
	defer tr.Close()
	_, _, err := run(tr, req)
	wantFault(t, err, exchange.BackendReset, exchange.Answered)
}
