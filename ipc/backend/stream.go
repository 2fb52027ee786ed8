package backend

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"commerce.example/coordinator/ipc/exchange"
)

// stream is one exchange over HTTP/2: what is attached to it, from the search for
// a connection on, and the body of its answer. It belongs to the goroutine of the
// exchange, but for what mux.mu guards.
type stream struct {
	x    *trip
	ask  ask
	m    *mux
	id   uint32
	on   atomic.Pointer[mux] // m, for Cancel
	gone atomic.Bool         // cancelled
	wake chan struct{}       // something came, or changed
	room chan struct{}       // there may be room to send

	wants int64 // room for its body that it was promised a place with, in bytes

	// Guarded by mux.mu.
	opened   bool     // the head may have been written
	localEnd bool     // our side is at its end
	ended    bool     // the peer's side is
	over     bool     // nothing more is to be sent
	broken   *verdict // why no more comes, unless ended
	window   int64    // what may be sent
	credit   int      // what the peer may send
	interim  int      // informational answers
	goOn     bool     // 100 was among them
	informs  [][]hpack.HeaderField
	final    []hpack.HeaderField
	trailer  []hpack.HeaderField
	bodiless bool
	buf      []byte // buf[r:] has come and was not read
	r        int
	consumed int // bytes read since our last WINDOW_UPDATE

	// Of the exchange.
	uploading bool
	length    int64 // of the body; -1: unknown
	given     int64 // of it
	err       error // of the last Read
	closed    atomic.Bool
	finished  atomic.Bool
}

// Cancel implements [exchange.Canceler]: the peer is told by the writer.
func (s *stream) Cancel() {
	s.gone.Store(true)
	if m := s.on.Load(); m != nil {
		m.mu.Lock()
		s.over = true
		m.reset(s, http2.ErrCodeCancel)
		m.mu.Unlock()
	}
	signal(s.wake)
	signal(s.room)
}

// detach ends the cancelling of s with its exchange.
func (s *stream) detach() {
	if s.x.rep != nil {
		s.x.rep.Detach()
	} else if s.x.unhook != nil {
		s.x.unhook()
	}
}

// finish leaves the connection; a stream that has not ended both ways is reset.
// Only the first call counts.
func (s *stream) finish() {
	if !s.finished.CompareAndSwap(false, true) {
		return
	}
	s.detach()
	if m := s.m; m != nil {
		m.mu.Lock()
		s.over = true
		code := http2.ErrCodeCancel
		if s.ended {
			code = http2.ErrCodeNo // the answer is whole; the rest of the request is not needed
		}
		m.reset(s, code)
		s.buf, s.r = nil, 0
		m.mu.Unlock()
	}
	signal(s.wake)
	signal(s.room)
}

// fail ends the exchange and says what failed it: that it was cancelled, else f.
func (s *stream) fail(f exchange.Fault, err error) error {
	s.finish()
	if s.x.ctx.Err() != nil || s.gone.Load() {
		return s.x.cancelled()
	}
	return &exchange.Error{Fault: f, Stage: s.x.stage, Err: err}
}

func (s *stream) failed(v *verdict) error {
	if v.unseen {
		s.retract()
	}
	return s.fail(v.fault, v.err)
}

// retract takes back the report that the request was sent: nothing was done.
func (s *stream) retract() {
	if s.x.stage != exchange.Sent {
		return
	}
	s.x.stage = exchange.Taken
	if r, ok := s.x.rep.(exchange.Retractor); ok {
		r.Unsent()
	}
}

// unsent takes s, of which nothing was written, off m.
func (s *stream) unsent(m *mux) {
	m.mu.Lock()
	m.forget(s)
	m.mu.Unlock()
	s.retract()
}

// spoil notes why no more comes. An answer that is whole stays one. It is called
// under mux.mu.
func (s *stream) spoil(v *verdict) {
	if s.broken == nil && !s.ended {
		s.broken = v
	}
	s.over = true
	signal(s.wake)
	signal(s.room)
}

// untouched reports that nothing has come which says that the backend did take s
// up: then it may prove that it did not. It is called under mux.mu.
func (s *stream) untouched() bool { return s.final == nil && s.interim == 0 }

// takeHead sorts a block of fields (RFC 9113 section 8.1). It is called under
// mux.mu; what the fields say is looked at by the goroutine of the exchange.
func (s *stream) takeHead(f *http2.MetaHeadersFrame) error {
	if s.final != nil {
		if !f.StreamEnded() || len(f.PseudoFields()) > 0 {
			return malformed("fields in the middle of an answer")
		}
		s.trailer, s.ended = f.Fields, true
		return nil
	}
	status := f.PseudoValue("status")
	if len(f.PseudoFields()) != 1 || len(status) != 3 || status == "101" {
		return malformed("no status that HTTP/2 has")
	}
	if status[0] != '1' {
		s.final, s.ended = f.Fields, f.StreamEnded()
		s.bodiless = s.x.req.Method == http.MethodHead || status == "204" || status == "304"
		return nil
	}
	if s.interim++; f.StreamEnded() || s.interim > floodLimit {
		return malformed("informational answers without a final one")
	}
	if status == "100" {
		s.goOn = true
	} else if s.x.passed < passedOn {
		s.x.passed++
		s.informs = append(s.informs, f.Fields)
	}
	return nil
}

// takeData keeps what came of the body. It is called under mux.mu. The window
// bounds the buffer.
func (s *stream) takeData(data []byte, padding int, end bool) {
	if s.r == len(s.buf) {
		s.buf, s.r = s.buf[:0], 0
	} else if s.r > 0 && len(s.buf)+len(data) > cap(s.buf) {
		s.buf = s.buf[:copy(s.buf, s.buf[s.r:])]
		s.r = 0
	}
	s.buf = append(s.buf, data...)
	s.consumed += padding
	s.ended = end
}

// answer waits for heads until the final one.
func (s *stream) answer() (*http.Response, error) {
	var late <-chan time.Time
	waiting := s.ask.expect
	if waiting {
		timer := time.NewTimer(s.x.t.expectTimeout())
		defer timer.Stop()
		late = timer.C
	}
	for {
		s.m.mu.Lock()
		informs, goOn, final, broken := s.informs, s.goOn, s.final, s.broken
		s.informs = nil
		s.m.mu.Unlock()
		for _, fields := range informs {
			if err := s.inform(fields); err != nil {
				return nil, err
			}
		}
		switch {
		case s.gone.Load():
			return nil, s.fail(exchange.ClientGone, context.Canceled)
		case final != nil:
			return s.respond(final)
		case broken != nil:
			return nil, s.failed(broken)
		case waiting && goOn:
			waiting, late = false, nil
			s.upload()
		}
		select {
		case <-s.wake:
		case <-late:
			waiting, late = false, nil
			s.upload()
		}
	}
}

// inform hands an informational answer on.
func (s *stream) inform(fields []hpack.HeaderField) error {
	code, err := statusOf(fields)
	if err != nil {
		return s.fail(exchange.BackendProtocol, err)
	}
	h, err := fieldsOf(fields)
	if err != nil {
		return s.fail(exchange.BackendProtocol, err)
	}
	if err := s.x.tell(code, h); err != nil {
		return s.fail(tellFault(err), err)
	}
	return nil
}

// respond makes the answer from its head.
func (s *stream) respond(final []hpack.HeaderField) (*http.Response, error) {
	x := s.x
	code, err := statusOf(final)
	if err != nil {
		return nil, s.fail(exchange.BackendProtocol, err)
	}
	x.answered()
	fields, err := fieldsOf(final)
	if err != nil {
		return nil, s.fail(exchange.BackendProtocol, err)
	}
	x.head = head{code: code, minor: 1, fields: fields, status: strconv.Itoa(code) + " " + http.StatusText(code)}
	framing, length, err := x.head.framing(x.req.Method)
	if err != nil {
		return nil, s.fail(exchange.BackendProtocol, err)
	}
	trailer, err := announced(fields)
	if err != nil {
		return nil, s.fail(exchange.BackendProtocol, err)
	}
	delete(fields, "Trailer")
	s.m.mu.Lock()
	empty := s.ended && s.r == len(s.buf) && s.trailer == nil
	s.m.mu.Unlock()
	if code == http.StatusNoContent {
		delete(fields, "Content-Length") // RFC 9110 section 8.6
		length = 0
	}
	if framing == untilClose && empty {
		framing, length = none, 0
	}
	x.fillResponse()
	x.resp.Proto, x.resp.ProtoMajor, x.resp.ProtoMinor = "HTTP/2.0", 2, 0
	x.resp.ContentLength = length
	x.resp.Trailer = trailer
	if framing == none && empty {
		x.resp.Body = http.NoBody
		s.finish()
		return &x.resp, nil
	}
	s.length = -1
	if framing == exactly || framing == none && !s.bodiless {
		s.length = length
	}
	x.resp.Body = s
	return &x.resp, nil
}

// Read gives what has arrived, waiting only when nothing has, and io.EOF with the
// last bytes, as the body of an answer over HTTP/1.1 does.
func (s *stream) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, end, broken := s.take(p)
	s.given += int64(n)
	switch {
	case s.closed.Load():
		n, s.err = 0, errBodyClosed
	case s.gone.Load():
		n, s.err = 0, s.fail(exchange.ClientGone, context.Canceled)
	case broken != nil:
		s.err = s.failed(broken)
	case s.length >= 0 && s.given > s.length:
		n -= int(s.given - s.length)
		s.err = s.fail(exchange.BackendProtocol, malformed("more data than the Content-Length"))
	case end && s.given < s.length:
		s.err = s.fail(exchange.BackendProtocol, &cutShort{malformed("less data than the Content-Length")})
	case end:
		s.err = s.whole()
	}
	return n, s.err
}

// take moves what has come into p, and reports whether that was the last of it.
func (s *stream) take(p []byte) (n int, end bool, broken *verdict) {
	m := s.m
	m.mu.Lock()
	defer m.mu.Unlock()
	for s.r == len(s.buf) && !s.ended && s.broken == nil {
		if s.closed.Load() || s.gone.Load() {
			return 0, false, nil
		}
		m.mu.Unlock()
		<-s.wake
		m.mu.Lock()
	}
	n = copy(p, s.buf[s.r:])
	s.r += n
	if n == 0 && !s.ended {
		return 0, false, s.broken
	}
	if s.consumed += n; s.consumed >= streamWindow/2 && !s.ended && m.streams[s.id] == s {
		m.enqueue(control{frame: http2.FrameWindowUpdate, stream: s.id, value: uint32(s.consumed)})
		s.credit += s.consumed
		s.consumed = 0
	}
	return n, s.ended && s.r == len(s.buf), nil
}

// whole ends an exchange whose answer came to its end: io.EOF, if its trailers
// are in order.
func (s *stream) whole() error {
	if s.trailer != nil {
		fields, err := fieldsOf(s.trailer)
		if err == nil {
			err = s.x.addTrailer(fields)
		}
		if err != nil {
			return s.fail(exchange.BackendProtocol, err)
		}
	}
	s.finish()
	return io.EOF
}

// Buffered is how many bytes Read would give without waiting.
func (s *stream) Buffered() int {
	if s.err != nil || s.closed.Load() {
		return 0
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	return len(s.buf) - s.r
}

// Close ends the exchange. What is left of the answer is not waited for.
func (s *stream) Close() error {
	s.closed.Store(true)
	s.finish()
	return nil
}
