package ipc

import (
	"bufio"
	"errors"
	"net"
	"net/http"

	"commerce.example/coordinator/ipc/wire"
)

// Hijack hands over the connection. What the handler writes next is HTTP/1.1
// for the client, status line first, as on a connection of net/http.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over || a.hijacked || a.begun || a.failed {
		return nil, nil, http.ErrHijacked
	}
	if a.req.Body != http.NoBody {
		return nil, nil, errors.New("ipc: cannot hijack an exchange that has a request body")
	}
	// Both before the supervisor knows: from then on a client may end its half.
	a.x.answerBegun()
	a.s.plane.sweeper.hijacked(a.s)
	if err := a.s.write(wire.AppendEmpty(nil, wire.Hijack)); err != nil {
		return nil, nil, err
	}
	a.hijacked = true
	c := &hijackedConn{UnixConn: a.s.nc, session: a.s, early: a.s.in.buffered()}
	return c, bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(c)), nil
}

// hijackedConn first gives what was read ahead of the hijack. While the handler
// runs, the sweeper watches for its client's leaving: a backend that only listens
// would never end an upgrade.
type hijackedConn struct {
	*net.UnixConn
	session *session
	early   []byte
}

// Close takes the descriptor from the sweeper first: it may be another's next.
func (c *hijackedConn) Close() error {
	c.session.plane.sweeper.remove(c.session)
	return c.UnixConn.Close()
}

func (c *hijackedConn) CloseWrite() error {
	c.session.plane.sweeper.halve(c.session)
	return c.UnixConn.CloseWrite()
}

func (c *hijackedConn) Read(p []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(p, c.early)
		c.early = c.early[n:]
		return n, nil
	}
	return c.UnixConn.Read(p)
}
