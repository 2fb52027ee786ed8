package supervisor

import (
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// lingerFor is how long a connection whose body was not wanted still takes it:
// closed over unread bytes it would be reset, and the answer lost with it.
const lingerFor = 500 * time.Millisecond

// clientBody is the body of a request on its way to a worker. What it is for is
// its end: behind a body that has not been read to it, the connection must not
// be used again, or the rest would be taken for the next request. For requests
// that no worker got net/http sees to that itself; in full duplex it does not.
// A nil one is that of a request without body.
type clientBody struct {
	io.ReadCloser
	trailer    http.Header // filled at its end
	fullDuplex bool
	ended      atomic.Bool // read to its end: set before the worker is told
}

// takeBody bounds the body. The request is copied for that: by the Body of its
// own one net/http finds out whether the connection can be used again. The reader
// is not given the answer, whose header it would write beside its handler: an upload
// reads in a goroutine of its own. beforeHead says that the connection ends.
func (c *call) takeBody() {
	if c.r.Body == nil || c.r.Body == http.NoBody {
		return
	}
	if c.r.ContentLength < 0 && c.r.Trailer == nil {
		c.r.Trailer = make(http.Header) // where net/http leaves those that nobody announced
	}
	cleanTrailer(c.r.Trailer) // what is announced
	c.body = &clientBody{ReadCloser: http.MaxBytesReader(nil, c.r.Body, c.set.MaxBody), trailer: c.r.Trailer}
	bounded := *c.r
	bounded.Body = c.body
	c.r = &bounded
}

func (b *clientBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		cleanTrailer(b.trailer)
		b.ended.Store(true)
	}
	return n, err
}

// duplex lets the answer overtake the body. A request that is refused before
// keeps net/http's way, which reads small bodies first and spares the connection.
func (b *clientBody) duplex(c *call) {
	if b != nil && c.r.ProtoMajor == 1 {
		b.fullDuplex = http.NewResponseController(c.w).EnableFullDuplex() == nil
	}
}

// beforeHead announces the end of a connection that is not to be used again.
func (b *clientBody) beforeHead(c *call) {
	switch {
	case b == nil || b.ended.Load():
	case c.r.ProtoMajor == 2: // a stream is full duplex, and nothing is read behind it
	case b.fullDuplex:
		c.w.Header()["Connection"] = connectionClose
	default: // net/http reads what is left, of a client that may be slow
		_ = http.NewResponseController(c.w).SetReadDeadline(time.Now().Add(lingerFor))
	}
}

// leave bounds what net/http still reads behind the answer.
func (b *clientBody) leave(c *call) {
	if b != nil && b.fullDuplex && !b.ended.Load() {
		_ = http.NewResponseController(c.w).SetReadDeadline(time.Now().Add(lingerFor))
	}
}

// stopBody makes a read of the body that is under way return.
func (c *call) stopBody() {
	_ = http.NewResponseController(c.w).SetReadDeadline(time.Unix(1, 0))
}
