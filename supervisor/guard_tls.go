package supervisor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// guardedTLSConn is a guardedConn over TLS. That it has a ConnectionState is how
// net/http knows, and it is nothing but HTTP/1.
type guardedTLSConn struct {
	guardedConn
	tls *tls.Conn
}

// ConnectionState is that of the TLS connection.
func (c *guardedTLSConn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

// securedListener does the handshakes of a listener with TLS. net/http would do
// them itself, and then serve HTTP/2 on a *tls.Conn alone, and HTTP/1 on the
// same: there is no place for a guard in between. So it gets connections that
// have agreed on a protocol: those of HTTP/2 bare, for its frames are not
// ambiguous, all others with a guard.
type securedListener struct {
	*limitedListener
	guards *guards
	config *tls.Config
	conns  *atomic.Int64 // counts those in the handshake too

	life    context.Context // ends at Close
	end     context.CancelFunc
	ready   chan net.Conn
	failed  chan error
	running sync.WaitGroup // accept
}

func newSecuredListener(ln *limitedListener, g *guards, config *tls.Config, conns *atomic.Int64) *securedListener {
	config = config.Clone()
	config.NextProtos = []string{"h2", "http/1.1"}
	l := &securedListener{
		limitedListener: ln, guards: g, config: config, conns: conns,
		ready: make(chan net.Conn), failed: make(chan error),
	}
	l.life, l.end = context.WithCancel(context.Background())
	l.running.Go(l.accept)
	return l
}

// Accept gives the next connection whose handshake is done.
func (l *securedListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case err := <-l.failed:
		return nil, err
	case <-l.life.Done():
		return nil, net.ErrClosed
	}
}

// Close ends Accept, and the handshakes that are under way.
func (l *securedListener) Close() error {
	l.end()
	return l.limitedListener.Close()
}

// wait waits for the end of what the listener started. It comes after Close.
func (l *securedListener) wait() { l.running.Wait() }

// accept hands errors on, so that net/http decides what they mean. What was
// accepted before the last of them, the end, is handed over before it.
func (l *securedListener) accept() {
	var handshakes sync.WaitGroup
	defer handshakes.Wait()
	for {
		nc, err := l.limitedListener.Accept()
		if err == nil {
			l.conns.Add(1)
			handshakes.Go(func() { l.handshake(nc) })
			continue
		}
		closed := errors.Is(err, net.ErrClosed)
		if closed {
			handshakes.Wait()
		}
		select {
		case l.failed <- err:
		case <-l.life.Done():
			return
		}
		if closed {
			return
		}
	}
}

// handshake survives a panic, as net/http's would: it sees what any client sends.
func (l *securedListener) handshake(nc net.Conn) {
	handed := false
	defer func() {
		if v := recover(); v != nil {
			l.guards.log.Error("front", "error", fmt.Sprintf("panic in a TLS handshake: %v", v), "client", nc.RemoteAddr().String())
		}
		if !handed {
			nc.Close()
			l.conns.Add(-1)
		}
	}()
	ctx, cancel := context.WithTimeout(l.life, l.guards.headerTimeout)
	defer cancel()
	secured := tls.Server(nc, l.config)
	if err := secured.HandshakeContext(ctx); err != nil {
		l.refuse(nc, err)
		return
	}
	var c net.Conn = secured
	if secured.ConnectionState().NegotiatedProtocol != "h2" {
		c = &guardedTLSConn{guardedConn{Conn: secured, guards: l.guards}, secured}
	}
	select {
	case l.ready <- c:
		handed = true // its count, too: that is net/http's now
	case <-l.life.Done():
	}
}

// refuse tells a client that speaks HTTP without TLS.
func (l *securedListener) refuse(nc net.Conn, err error) {
	if alien, ok := errors.AsType[tls.RecordHeaderError](err); ok && alien.Conn != nil && looksLikeHTTP(alien.RecordHeader) {
		_ = l.guards.refuse(nc, http.MethodGet, &Problem{Reason: ReasonBadRequest, Detail: "The request came without TLS to a port that takes TLS."})
		if !l.guards.stopping.Load() {
			linger(nc)
		}
		return
	}
	l.guards.log.Debug("front", "error", "TLS handshake: "+err.Error(), "client", nc.RemoteAddr().String())
}

// looksLikeHTTP looks for a method and a space, or its beginning, where the header
// of a TLS record should be.
func looksLikeHTTP(header [5]byte) bool {
	switch string(header[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "PATCH", "DELET", "OPTIO", "PRI *":
		return true
	}
	return false
}
