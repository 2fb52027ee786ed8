package supervisor

import (
	"net"
	"net/http"
)

// showPart sends what there is of an answer that will be cut, its head at least.
// net/http would drop what it has not sent yet, and a client that gets nothing at
// all on a connection it has used before takes that for a race with an idle
// timeout: browsers then send the same request again, a POST too.
func (c *call) showPart() {
	if c.written && c.reason != ReasonClientGone {
		c.writing.Store(1) // the watch ends it if the client does not read
		_ = http.NewResponseController(c.w).Flush()
		c.writing.Store(0)
	}
}

// cut ends an answer that has begun so that its client sees that it is not whole.
// It does not return, unless it took the connection.
//
// A panic has net/http end the stream or the connection, which is short of a
// Content-Length or of the last chunk. An answer of unknown length to an HTTP/1.0
// client (many proxies speak that to what is behind them) has neither: it ends
// with the connection (RFC 9112 section 8), and only a reset is no such end.
func (c *call) cut() {
	if c.written && !c.r.ProtoAtLeast(1, 1) && c.w.Header()["Content-Length"] == nil {
		if nc, _, err := http.NewResponseController(c.w).Hijack(); err == nil {
			resetConn(nc)
			return
		}
	}
	panic(http.ErrAbortHandler)
}

// resetConn closes with an RST, where the connection knows one, and without the
// farewell of TLS.
func resetConn(nc net.Conn) {
	nc = bare(nc)
	if l, ok := nc.(interface{ SetLinger(seconds int) error }); ok {
		_ = l.SetLinger(0)
	}
	nc.Close()
}

// bare is nc without what stands around it. To close it never blocks; the
// farewell of TLS may, for seconds, at a client that does not read.
func bare(nc net.Conn) net.Conn {
	for {
		outer, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return nc
		}
		nc = outer.NetConn()
	}
}
