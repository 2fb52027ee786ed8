package backend_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"commerce.example/coordinator/ipc/backend"
	"commerce.example/coordinator/ipc/exchange"
)

// A backend that takes a connection and does not shake hands: it is late, whoever
// set the time, and says so before the exchange is over.
func TestDialTimesOut(t *testing.T) {
	noLeak(t)
	b := serve(t, func(p *peer) { io.Copy(io.Discard, p) })
	for _, own := range []bool{true, false} {
		tr, limit := &backend.Transport{DialTimeout: 200 * time.Millisecond}, patience
		if !own {
			tr, limit = &backend.Transport{}, 400*time.Millisecond
		}
		ctx, stop := context.WithTimeout(t.Context(), limit)
		req := newRequest(t, b, "GET", "/", nil).WithContext(ctx)
		req.URL.Scheme = "https"
		_, _, err := run(tr, req)
		if ctx.Err() != nil {
			t.Error("told when it was too late")
		}
		wantFault(t, err, exchange.BackendTimeout, exchange.Taken)
		stop()
		tr.Close()
	}
}

// What a backend thinks of the client's certificate comes behind the handshake.
func TestTLSRefusalBehindTheHandshake(t *testing.T) {
	srv := httptest.NewUnstartedServer(nil)
	srv.StartTLS()
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: srv.TLS.Certificates, ClientAuth: tls.RequireAnyClientCert})
	if err != nil {
		t.Fatal(err)
	}
	b := serveOn(t, l, func(p *peer) { p.head() })
	tr := &backend.Transport{TLS: &tls.Config{RootCAs: roots}}
	defer tr.Close()
	req := newRequest(t, b, "POST", "/", nil)
	req.URL.Scheme = "https"
	_, _, err = run(tr, req)
	wantFault(t, err, exchange.BackendTLS, exchange.Sent)
}

// A resolver that hangs holds up one dial at a time, and none for longer than
// leaves it half of its time.
func TestResolverHangs(t *testing.T) {
	b := serve(t, always(ok))
	host, port, _ := net.SplitHostPort(b.addr)
	var mu sync.Mutex
	asked, hangs := 0, false
	tr := &backend.Transport{ConnMaxAge: time.Nanosecond, Lookup: func(ctx context.Context, _ string) ([]netip.Addr, error) {
		mu.Lock()
		asked++
		hang := hangs
		mu.Unlock()
		if !hang {
			return []netip.Addr{netip.MustParseAddr(host)}, nil
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	defer tr.Close()
	named := &rawBackend{addr: "legacy.example:" + port}
	if _, body, err := get(t, tr, named); err != nil || body != "ok" {
		t.Fatal(body, err)
	}
	mu.Lock()
	asked, hangs = 0, true
	mu.Unlock()
	backend.ForgetNames(tr)
	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			ctx, stop := context.WithTimeout(t.Context(), 800*time.Millisecond)
			defer stop()
			if _, body, err := run(tr, newRequest(t, named, "GET", "/", nil).WithContext(ctx)); err != nil || body != "ok" {
				t.Error(body, err)
			}
		})
	}
	calls.Wait()
	if asked != 1 {
		t.Errorf("the resolver was asked %d times, want once", asked)
	}

	// A dial that is given up says nothing about the name.
	backend.ForgetNames(tr)
	ctx, leave := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	time.AfterFunc(20*time.Millisecond, func() { leave(gone) })
	if _, _, err := run(tr, newRequest(t, named, "GET", "/", nil).WithContext(ctx)); !errors.Is(err, gone) {
		t.Error(err)
	}
}

func TestDialFaults(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	nobody := &rawBackend{addr: l.Addr().String()}
	rep := newReporter(t.Context())
	_, _, err = run(newTransport(t), newRequest(t, nobody, "GET", "/", nil).WithContext(rep))
	wantFault(t, err, exchange.BackendRefused, exchange.Taken)
	if got := rep.story(); got != "attach detach" {
		t.Errorf("the exchange was told %q", got)
	}

	tr := &backend.Transport{Lookup: func(context.Context, string) ([]netip.Addr, error) {
		return nil, errors.New("no such host")
	}}
	req := newRequest(t, &rawBackend{addr: "legacy.example:80"}, "GET", "/", nil)
	_, _, err = run(tr, req)
	wantFault(t, err, exchange.BackendUnreachable, exchange.Taken)

	hang := func(ctx context.Context, _ string) ([]netip.Addr, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	synctest.Test(t, func(t *testing.T) {
		tr := &backend.Transport{Lookup: hang}
		_, err := tr.RoundTrip(req.WithContext(t.Context()))
		wantFault(t, err, exchange.BackendUnreachable, exchange.Taken)
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		_, err = tr.RoundTrip(req.WithContext(ctx))
		wantFault(t, err, exchange.BackendTimeout, exchange.Taken)

		rep := newReporter(context.Background())
		time.AfterFunc(time.Second, rep.cancel)
		_, err = tr.RoundTrip(req.WithContext(rep))
		wantFault(t, err, exchange.ClientGone, exchange.Taken)
	})
}

func TestLastGoodAddress(t *testing.T) {
	b := serve(t, always(ok))
	host, port, _ := net.SplitHostPort(b.addr)
	good := []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr(host)}
	fails := false
	tr := &backend.Transport{ConnMaxAge: time.Nanosecond, Lookup: func(context.Context, string) ([]netip.Addr, error) {
		if fails {
			return nil, errors.New("SERVFAIL")
		}
		return good, nil
	}}
	defer tr.Close()
	named := &rawBackend{addr: "legacy.example:" + port}
	for range 2 {
		if _, body, err := get(t, tr, named); err != nil || body != "ok" {
			t.Fatal(body, err)
		}
		backend.ForgetNames(tr)
		fails = true
	}
}

func TestSystemResolver(t *testing.T) {
	b := serve(t, always(ok))
	_, port, _ := net.SplitHostPort(b.addr)
	req := newRequest(t, &rawBackend{addr: "localhost:" + port}, "GET", "/", nil)
	if _, body, err := run(newTransport(t), req); err != nil || body != "ok" {
		t.Fatal(body, err)
	}
}
