package backend

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"commerce.example/coordinator/ipc/exchange"
)

// errClosed is the cause of an exchange that came after Close.
var errClosed = errors.New("backend: the transport is closed")

// Protocol is the version of HTTP that a [Transport] speaks. An upgrade, such as
// to WebSocket, is HTTP/1.1 always.
type Protocol uint8

const (
	// Auto is HTTP/2 where the backend chooses it by ALPN, and HTTP/1.1 everywhere
	// else: over cleartext always.
	Auto Protocol = iota
	// HTTP1 is HTTP/1.1 only.
	HTTP1
	// HTTP2 is HTTP/2 only: a backend must choose it by ALPN over TLS, and is known
	// to speak it over cleartext (RFC 9113 section 3.3).
	HTTP2
)

// Transport calls backends. The zero value is ready to use; the fields must not
// change after the first request. It is safe for concurrent use and must not be
// copied.
//
// Every error is an [*exchange.Error]. A request that was written, in whole or in
// part, is never written again.
type Transport struct {
	// TLS is the base of the configuration for https: root certificates, client
	// certificate. Certificates are always verified and TLS 1.2 is the least,
	// whatever it says.
	TLS *tls.Config

	// Protocol is the version of HTTP to speak.
	Protocol Protocol

	// ConnMaxAge is how long a connection may serve, so that a backend's new
	// address is followed even while its connections are busy. 0 means 5m.
	ConnMaxAge time.Duration

	// IdleTimeout is how long a connection may lie idle. 0 means 30s over HTTP/2,
	// where a server that closes says what it did not take up, and 4s over HTTP/1.1:
	// servers commonly close after 5s, and a request that crosses such a close on
	// the wire ends as "perhaps sent". A shorter `Keep-Alive: timeout=` of the backend wins.
	IdleTimeout time.Duration

	// ReadIdleTimeout is how long an HTTP/2 connection with requests on it may be
	// silent before the backend is asked for a sign of life, and PingTimeout how
	// long that may take; then the connection ends, and what waits on it with
	// [exchange.BackendTimeout]. 0 means 15s and 5s.
	ReadIdleTimeout, PingTimeout time.Duration

	// MaxIdle is how many HTTP/1.1 connections to one origin may lie idle. 0 means 64.
	MaxIdle int

	// DialTimeout bounds name look-up, connecting, the TLS handshake and the wait for
	// an HTTP/2 backend's SETTINGS together; the deadline of the request does so
	// too. 0 means 5s.
	DialTimeout time.Duration

	// MaxResponseHead is the largest head of an answer, and the largest trailer
	// section, in bytes. 0 means 1 MiB.
	MaxResponseHead int

	// ExpectTimeout is how long a body announced with Expect: 100-continue waits
	// for a word of the backend (RFC 9110 section 10.1.1: not indefinitely). 0
	// means 1s.
	ExpectTimeout time.Duration

	// Lookup resolves a host name. nil means the system's resolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

	conns     conns
	muxes     muxes
	names     names
	tlsOnce   sync.Once
	tlsConfig *tls.Config
}

// origin is what connections are shared by.
type origin struct {
	scheme string
	host   string // without a port
	port   string
}

// RoundTrip implements [http.RoundTripper]. The request is not changed. The
// answer's body must be closed; Read returns io.EOF together with its last bytes,
// and what has arrived without waiting for more. The body of a 101 is an
// [io.ReadWriteCloser] with CloseWrite.
//
// Deviating from net/http: URL.Opaque is sent as it is when it starts with "/",
// "//" included; no User-Agent and no Accept-Encoding are added; the answer is
// never decompressed; the environment's proxies are not used. The fields
// Connection, Content-Length, Transfer-Encoding and Trailer of req.Header are
// ignored: they follow from req.Close, Upgrade, TE, ContentLength and Trailer.
//
// Informational answers other than 100 go to the [Informer] of the exchange and
// to the Got1xxResponse of an [net/http/httptrace.ClientTrace].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	x := &trip{t: t, req: req, ctx: req.Context(), stage: exchange.Taken}
	x.rep = exchange.From(x.ctx)
	drilled := false
	if t.multiplexes(req) {
		resp, err := x.multiplex()
		if err != errNotHTTP2 {
			return resp, err
		}
		drilled = true
		req = x.req
	}
	defer x.msg.release()
	if err := x.msg.encode(req); err != nil {
		closeBody(req)
		return nil, x.fail(cmp.Or(exchange.FaultOf(err), exchange.BadRequest), err)
	}
	if !drilled {
		if err := x.drill(); err != nil {
			closeBody(req)
			return nil, err
		}
	}
	if err := x.connect(); err != nil {
		closeBody(req)
		return nil, err
	}
	if !x.send() {
		closeBody(req)
		x.end(false)
		return nil, x.cancelled()
	}
	resp, err := x.answer()
	if x.up == nil && x.msg.body != nil {
		x.msg.body.Close() // never begun: the backend answered Expect with its last word
	}
	return resp, err
}

// CloseIdleConnections closes the connections that are not in use. It is what
// [http.Client.CloseIdleConnections] calls.
func (t *Transport) CloseIdleConnections() {
	t.conns.closeIdle()
	t.muxes.closeIdle()
}

// Close closes every connection, those in use too, and waits for the goroutines
// that serve them, for a second at most: one that copies a request's body may
// hang in a Read that its owner does not end. Requests after it fail.
func (t *Transport) Close() error {
	drained := t.conns.close()
	timeout := time.NewTimer(time.Second)
	defer timeout.Stop()
	select {
	case <-drained:
		return nil
	case <-timeout.C:
		return errors.New("backend: a request body is still being read")
	}
}

func (t *Transport) connMaxAge() time.Duration  { return cmp.Or(t.ConnMaxAge, 5*time.Minute) }
func (t *Transport) idleTimeout() time.Duration { return cmp.Or(t.IdleTimeout, 4*time.Second) }
func (t *Transport) maxIdle() int               { return cmp.Or(t.MaxIdle, 64) }
func (t *Transport) dialTimeout() time.Duration { return cmp.Or(t.DialTimeout, 5*time.Second) }
func (t *Transport) maxHead() int               { return cmp.Or(t.MaxResponseHead, 1<<20) }
func (t *Transport) readIdleTimeout() time.Duration {
	return cmp.Or(t.ReadIdleTimeout, 15*time.Second)
}
func (t *Transport) pingTimeout() time.Duration    { return cmp.Or(t.PingTimeout, 5*time.Second) }
func (t *Transport) muxIdleTimeout() time.Duration { return cmp.Or(t.IdleTimeout, 30*time.Second) }

// watchEvery is how often an HTTP/2 connection looks at the clock.
func (t *Transport) watchEvery() time.Duration {
	return max(min(t.readIdleTimeout(), t.pingTimeout(), t.muxIdleTimeout())/4, time.Millisecond)
}
func (t *Transport) expectTimeout() time.Duration {
	return cmp.Or(t.ExpectTimeout, time.Second)
}

// secure is the TLS configuration of every connection but for its server name.
func (t *Transport) secure() *tls.Config {
	t.tlsOnce.Do(func() {
		c := &tls.Config{}
		if t.TLS != nil {
			c = t.TLS.Clone()
		}
		c.InsecureSkipVerify = false
		c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
		c.NextProtos = []string{"http/1.1"}
		if c.ClientSessionCache == nil {
			c.ClientSessionCache = tls.NewLRUClientSessionCache(8)
		}
		t.tlsConfig = c
	})
	return t.tlsConfig
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

func (o origin) address(ip netip.Addr) string { return net.JoinHostPort(ip.String(), o.port) }
