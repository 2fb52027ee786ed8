package supervisor

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"commerce.example/coordinator/supervisor/framing"
)

// guards is what the connections of the front have in common.
type guards struct {
	stats    *bulkheadStats // of requests that reach no bulkhead
	ids      *RequestIDs
	access   *access
	log      hclog.Logger
	stopping *atomic.Bool

	headerTimeout time.Duration // as that of the server
}

// guardedListener gives each connection without TLS its guard.
type guardedListener struct {
	*limitedListener
	guards *guards
}

func (l *guardedListener) Accept() (net.Conn, error) {
	nc, err := l.limitedListener.Accept()
	if err != nil {
		return nil, err
	}
	c := &guardedConn{Conn: nc, guards: l.guards}
	c.guard.PriorKnowledge = true
	return c, nil
}

// guardedConn stands between net/http and a connection. It keeps requests from
// the server whose framing is ambiguous, and it has what the server would say
// about a request in its own words said as a problem.
//
// A request that is refused must not disturb those before it on the connection,
// which may be in flight: an error from Read would cancel them. So Read poisons
// instead: in place of the faulty bytes it hands out framing.Poison, which the
// server refuses when its turn comes.
//
// It has no ConnectionState, by which net/http would take it for one with TLS.
type guardedConn struct {
	net.Conn
	guards *guards

	// Of whoever reads. There is one at a time; net/http sees to it.
	guard    framing.Guard
	ahead    []byte // was read, and waits behind a request to upgrade; no longer than the server's buffer
	poisoned bool
	given    int // of the poison

	// net/http tells nobody when it begins to handle a request, but it does
	// lift the deadline of its head then, and never before.
	accepted atomic.Bool // since the connection was idle last
	handled  uint64      // requests that were
	refused  bool        // by an answer that was not a handler's: the last one

	rude atomic.Bool // the client may be sending what nobody will read
}

// Read implements net.Conn.
func (c *guardedConn) Read(p []byte) (int, error) {
	switch {
	case c.guard.Aside(), len(p) == 0:
		return c.take(p)
	case c.poisoned:
		return c.readPoison(p)
	}
	n, err := c.take(p)
	if n == 0 {
		if errors.Is(err, os.ErrDeadlineExceeded) && !c.accepted.Load() && c.guard.InHead() && !c.refused {
			_ = c.refuse(&Problem{Reason: ReasonClientTimeout}) // RFC 9110 section 15.5.9
		}
		return 0, err
	}
	// An error beside bytes comes again without them.
	first, maybeForeign := c.guard.Between(), c.guard.Held() && len(p) == 1
	sound, fault := c.follow(p, n)
	switch {
	case fault != nil:
		c.poisoned = true
		c.rude.Store(true)
		if maybeForeign {
			// net/http waits for the client's leaving with a read of one byte. It
			// goes to the new protocol if there is an upgrade, and leads the
			// poison if there is none.
			return 1, nil
		}
		if sound == 0 {
			return c.readPoison(p)
		}
	case sound < n:
		c.ahead = append(append([]byte(nil), p[sound:n]...), c.ahead...)
	}
	if first && n < 4 && c.guard.InHead() && c.guard.Heads() > 0 && !c.accepted.Load() {
		// net/http begins to time a head at its fourth byte.
		_ = c.Conn.SetReadDeadline(time.Now().Add(c.guards.headerTimeout))
	}
	return sound, nil
}

// take reads without looking.
func (c *guardedConn) take(p []byte) (int, error) {
	if len(c.ahead) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.ahead)
	if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
		c.ahead = nil
	}
	return n, nil
}

// follow is where a mistake of the guard would end: net/http reads in a goroutine
// of its own as well, and a panic there would end the process.
func (c *guardedConn) follow(p []byte, n int) (sound int, err error) {
	defer func() {
		if v := recover(); v != nil {
			c.guards.log.Error("front", "error", fmt.Sprintf("the framing guard gives a connection up: %v", v))
			sound, err = 0, errors.New("the framing guard failed")
		}
	}()
	return c.guard.Follow(p[:n])
}

func (c *guardedConn) readPoison(p []byte) (int, error) {
	n := copy(p, framing.Poison[c.given:])
	c.given += n
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// changed is told by net/http, in the goroutine that serves the connection.
func (c *guardedConn) changed(state http.ConnState) {
	switch state {
	case http.StateIdle:
		c.accepted.Store(false)
	case http.StateHijacked:
		c.guard.StepAside()
		c.rude.Store(false)
	}
}

// SetReadDeadline implements net.Conn.
func (c *guardedConn) SetReadDeadline(t time.Time) error {
	if t.IsZero() && !c.accepted.Swap(true) {
		c.handled++
	}
	return c.Conn.SetReadDeadline(t)
}

// NetConn is the connection without its guard.
func (c *guardedConn) NetConn() net.Conn { return c.Conn }

// CloseWrite lets net/http end an answer before it closes, as that of limitedConn.
func (c *guardedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close implements net.Conn. Behind a refusal it takes for a while what the
// client still sends: closed over unread bytes the connection would be reset,
// and the answer lost with it (RFC 9112 section 9.6).
func (c *guardedConn) Close() error {
	if c.rude.Swap(false) && !c.guards.stopping.Load() {
		linger(c.Conn)
	}
	return c.Conn.Close()
}

// linger ends the answer and waits for the client to have read it.
func linger(nc net.Conn) {
	half, ok := nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = nc.SetReadDeadline(time.Now().Add(lingerFor))
	_, _ = io.Copy(io.Discard, nc)
}
