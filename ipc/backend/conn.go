package backend

import (
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// readBuffer is what a connection holds for reading while it is idle.
const readBuffer = 8 << 10

var (
	errTooLarge  = malformed("too many bytes before the end of a head or line")
	errCancelled = errors.New("cancelled")
)

// conn is one connection to a backend and its read buffer. All but Cancel and
// close belong to whoever holds it: an exchange or the idle list.
type conn struct {
	t         *Transport
	origin    origin
	offer     []string // what is offered by ALPN; nil: HTTP/1.1
	nc        net.Conn // what is spoken on: raw, or TLS over it
	under     *underTLS
	look      *lookout // how to see unread bytes of raw without waiting
	retireAt  time.Time
	idleFor   time.Duration
	idleUntil time.Time

	buf  []byte
	r, w int // buf[r:w] is read and not yet consumed

	mu        sync.Mutex
	raw       net.Conn
	stopDial  func()
	cancelled bool
	gone      bool
}

// Cancel implements [exchange.Canceler]: whoever waits for the connection stops
// to, and it is never used again. The close of a socket does not block; closing
// TLS could, so that is left out.
func (c *conn) Cancel() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancelled = true
	if c.stopDial != nil {
		c.stopDial()
	}
	if c.raw != nil {
		c.raw.Close()
	}
}

func (c *conn) isCancelled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cancelled
}

// hold makes raw what Cancel closes.
func (c *conn) hold(raw net.Conn) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancelled {
		raw.Close()
		return errCancelled
	}
	c.raw, c.nc = raw, raw
	return nil
}

// close ends a connection in whatever state it is, from any goroutine.
func (c *conn) close() {
	c.mu.Lock()
	raw, first := c.raw, !c.gone
	c.gone = true
	c.mu.Unlock()
	if raw != nil {
		raw.Close()
	}
	if first {
		c.t.conns.forget(c)
	}
}

// retire ends a healthy idle connection: over TLS with a word of farewell. Its
// send buffer is empty, so that does not block.
func (c *conn) retire() {
	if c.nc != c.raw {
		c.nc.Close()
	}
	c.close()
}

// fresh tells whether an idle connection is young enough to be used.
func (c *conn) fresh(now time.Time) bool {
	return now.Before(c.idleUntil) && now.Before(c.retireAt)
}

// clean tells whether nothing has come on an idle connection since its last
// answer: neither bytes that would be taken for the next answer nor an end.
func (c *conn) clean() bool {
	unread := c.look.readable()
	if c.nc == c.raw {
		return !unread
	}
	// Records that TLS has read already, and what lies on the socket: a session
	// ticket only TLS can consume. A Read past its deadline gives what is there.
	deadline := time.Unix(1, 0)
	if unread {
		deadline = time.Now().Add(time.Millisecond)
	}
	c.nc.SetReadDeadline(deadline)
	_, err := c.nc.Read(make([]byte, 1))
	if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() {
		return false
	}
	return c.nc.SetReadDeadline(time.Time{}) == nil
}

// shrink gives back the buffer of an unusually large head.
func (c *conn) shrink() {
	if len(c.buf) > readBuffer && c.r == c.w {
		c.buf, c.r, c.w = make([]byte, readBuffer), 0, 0
	}
}

// underTLS notes the end of the bare connection. crypto/tls gives io.EOF both for
// a farewell (close_notify) and for a connection that just ended between two
// records; only the first completes an answer that ends with its connection
// (RFC 9112 section 8).
type underTLS struct {
	net.Conn
	ended bool // belongs to the reader
}

func (u *underTLS) Read(p []byte) (int, error) {
	n, err := u.Conn.Read(p)
	u.ended = u.ended || err == io.EOF
	return n, err
}

// truncated tells whether an io.EOF of nc came without a farewell.
func (c *conn) truncated() bool { return c.under != nil && c.under.ended }

// buffered is what has been read and not consumed.
func (c *conn) buffered() []byte { return c.buf[c.r:c.w] }

// fill waits for at least one more byte behind what is buffered, which may grow
// to limit bytes.
func (c *conn) fill(limit int) error {
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	if c.w-c.r >= limit {
		return errTooLarge
	}
	if c.w == len(c.buf) {
		if c.r > 0 {
			c.w = copy(c.buf, c.buf[c.r:c.w])
			c.r = 0
		} else {
			grown := make([]byte, max(readBuffer, 2*len(c.buf)))
			copy(grown, c.buf)
			c.buf = grown
		}
	}
	n, err := c.nc.Read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	return err
}

// read gives buffered bytes, or waits for some.
func (c *conn) read(p []byte) (int, error) {
	if c.r == c.w {
		if len(p) >= len(c.buf) {
			return c.nc.Read(p)
		}
		if err := c.fill(len(c.buf)); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.buf[c.r:c.w])
	c.r += n
	return n, nil
}

// heed follows what an answer says about how long the backend keeps an idle
// connection, a second less because of the time on the wire.
func (c *conn) heed(keepAlive []string) {
	for _, v := range keepAlive {
		for item := range strings.SplitSeq(v, ",") {
			name, value, _ := strings.Cut(trimBlanks(item), "=")
			if !strings.EqualFold(name, "timeout") {
				continue
			}
			if n, err := strconv.ParseUint(value, 10, 31); err == nil {
				c.idleFor = min(c.idleFor, time.Duration(n)*time.Second-time.Second)
			}
		}
	}
}
