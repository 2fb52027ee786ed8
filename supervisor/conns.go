package supervisor

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// connLimits caps the connections of the front, in all and for each client
// address. It is shared by all listeners.
type connLimits struct {
	all       atomic.Int64 // 0: no cap
	perClient atomic.Int64
	trusted   *atomic.Pointer[TrustedProxies]
	refused   func()
	spare     spare

	open atomic.Int64
	mu   sync.Mutex
	by   map[netip.Addr]int64
}

// overLimit is what a connection over a cap gets, written without reading: no
// goroutine and no buffer are spent on it.
var overLimit = sync.OnceValue(func() []byte {
	p := Problem{Reason: ReasonTooManyConnections, Outcome: OutcomeRefused}
	facts := p.Reason.facts()
	body := p.appendBody(nil, facts, facts.status, http.MethodGet)
	head := fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: %s\r\nProxy-Status: %s\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n",
		facts.status, http.StatusText(facts.status), problemContentType[0], proxyStatus(p.Reason, p.Outcome)[0], len(body))
	return append([]byte(head), body...)
})

// limitedListener admits connections within the limits.
type limitedListener struct {
	frontListener
	limits  *connLimits
	tls     bool
	closing atomic.Bool
}

// lastCalls is how long a closing listener still takes what the kernel has
// accepted for it: closed at once, those connections would be reset.
const lastCalls = 50 * time.Millisecond

// Close ends Accept.
func (l *limitedListener) Close() error {
	l.closing.Store(true)
	return l.Listener.Close()
}

// shutGracefully ends Accept once the backlog is empty.
func (l *limitedListener) shutGracefully() {
	l.closing.Store(true)
	if d, ok := l.Listener.(interface{ SetDeadline(time.Time) error }); ok {
		_ = d.SetDeadline(time.Now().Add(lastCalls))
	} else {
		l.Close()
	}
}

func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil && outOfFiles(err) && !l.closing.Load() {
			l.limits.spare.give()
			for {
				time.Sleep(acceptPause) // first: those in the middle of their work take what was let go
				// Without clients there is nobody to wait for.
				if l.closing.Load() || l.limits.spare.take() || l.limits.open.Load() == 0 {
					break
				}
			}
			continue
		}
		if err != nil && l.closing.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
			if nc = acceptNow(l.Listener); nc == nil {
				l.Listener.Close() // at once, before another one comes
				return nil, net.ErrClosed
			}
			err = nil
		}
		if err != nil {
			return nil, err
		}
		if c := l.limits.admit(nc); c != nil {
			return c, nil
		}
		l.limits.refused()
		if !l.tls { // a socket's buffer takes it whole: this cannot block
			_, _ = nc.Write(overLimit())
		}
		nc.Close()
	}
}

func (l *connLimits) admit(nc net.Conn) net.Conn {
	open := l.open.Add(1)
	if most := l.all.Load(); most > 0 && open > most {
		l.open.Add(-1)
		return nil
	}
	c := &limitedConn{Conn: nc, limits: l}
	most := l.perClient.Load()
	tcp, ok := nc.RemoteAddr().(*net.TCPAddr)
	if most == 0 || !ok {
		return c
	}
	addr := tcp.AddrPort().Addr().Unmap()
	if l.trusted.Load().Contains(addr) {
		return c
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by[addr] >= most {
		l.open.Add(-1)
		return nil
	}
	l.by[addr]++
	c.addr = addr
	return c
}

// limitedConn gives its place back when it is closed.
type limitedConn struct {
	net.Conn
	limits *connLimits
	addr   netip.Addr // zero: not counted by client
	once   sync.Once
}

func (c *limitedConn) Close() error {
	c.once.Do(func() {
		l := c.limits
		l.open.Add(-1)
		if c.addr.IsValid() {
			l.mu.Lock()
			if l.by[c.addr]--; l.by[c.addr] == 0 {
				delete(l.by, c.addr)
			}
			l.mu.Unlock()
		}
	})
	return c.Conn.Close()
}

// SetLinger is that of TCP: see resetConn. Elsewhere it does nothing.
func (c *limitedConn) SetLinger(seconds int) error {
	if l, ok := c.Conn.(interface{ SetLinger(int) error }); ok {
		return l.SetLinger(seconds)
	}
	return nil
}

// CloseWrite lets net/http end an answer before it closes: without it the
// client may lose what it has not read yet.
func (c *limitedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
