package ipc

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"sync"
	"time"

	"commerce.example/coordinator/ipc/wire"
)

// requestBody is Request.Body in a worker. Read may run in another goroutine
// than the handler's; Close stops it.
type requestBody struct {
	session *session
	req     *http.Request

	reading sync.Mutex // held by Read: nobody else reads the connection meanwhile
	expect  bool       // the supervisor waits to be asked for the body
	ended   bool
	err     error

	state  sync.Mutex
	closed bool
}

func (b *requestBody) Read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	if b.isClosed() {
		return 0, http.ErrBodyReadAfterClose
	}
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	if b.expect {
		b.expect = false
		if err := b.session.write(wire.AppendEmpty(nil, wire.Continue)); err != nil {
			return 0, err
		}
	}
	n, t, payload, err := b.session.in.readBody(p)
	switch {
	case err != nil:
		b.err = err
	case t == wire.End:
		b.ended, b.err = true, io.EOF
		if err := b.takeTrailer(payload); err != nil {
			b.err = err
		}
	case t != wire.Data:
		b.err = fmt.Errorf("%w: frame %d inside a request's body", wire.ErrProtocol, t)
	}
	return n, b.err
}

// Buffered is how many bytes Read gives without waiting.
func (b *requestBody) Buffered() int {
	if !b.reading.TryLock() {
		return 0
	}
	defer b.reading.Unlock()
	return b.session.in.ahead()
}

func (b *requestBody) takeTrailer(payload []byte) error {
	trailer, err := wire.ParseEnd(payload)
	if len(trailer) > 0 {
		if b.req.Trailer == nil {
			b.req.Trailer = make(http.Header)
		}
		maps.Copy(b.req.Trailer, trailer)
	}
	return err
}

func (b *requestBody) isClosed() bool {
	b.state.Lock()
	defer b.state.Unlock()
	return b.closed
}

// Close makes a Read under way, and any later one, fail. When it returns, no
// Read touches the connection.
func (b *requestBody) Close() error {
	b.state.Lock()
	b.closed = true
	b.state.Unlock()
	if b.reading.TryLock() {
		b.reading.Unlock()
		return nil
	}
	b.session.nc.SetReadDeadline(time.Unix(1, 0))
	b.reading.Lock()
	defer b.reading.Unlock()
	b.session.nc.SetReadDeadline(time.Time{})
	if errors.Is(b.err, os.ErrDeadlineExceeded) {
		b.err = nil // the interruption was ours; the stream stands at a known byte
	}
	return nil
}

// skip leaves the connection at the next request: it reads past what the handler
// left of a closed body. It reports false when the supervisor closed the
// connection instead, as it does when there is much to come. nil is a request
// without body.
func (b *requestBody) skip() bool {
	if b == nil {
		return true
	}
	if b.ended || b.err != nil {
		return b.ended
	}
	if b.expect {
		return true // never asked for, so never sent
	}
	scratch := make([]byte, 4<<10)
	for {
		_, t, _, err := b.session.in.readBody(scratch)
		if err != nil || t != wire.Data {
			return err == nil && t == wire.End
		}
	}
}
