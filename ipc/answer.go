package ipc

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/ipc/wire"
)

// writeBuffer gathers a small answer, so that its head, body and end leave in
// one write.
const writeBuffer = 16 << 10

// answer is the http.ResponseWriter of a worker's handler. Its buffers are the
// connection's and the next exchange's after this one, so a handler that goes on
// writing after its return must never get at them: hence the lock and over.
type answer struct {
	x      *inbound
	s      *session
	req    *http.Request
	header http.Header

	mu   sync.Mutex // held by each method while it runs
	over bool       // the handler has returned

	status   int
	length   int64 // declared, -1 when not
	written  int64
	streamed bool // the handler wants no Content-Length worked out for it
	bodiless bool // HEAD, 204, 304
	trailer  []string
	begun    bool // bytes of the final head or body are on the wire
	hijacked bool
	failed   bool
	fault    []byte // the frame that says why, while it is to be sent
	panicked error  // why the handler did not return
	err      error  // of the connection
}

func (a *answer) Header() http.Header {
	if a.header == nil {
		a.header = make(http.Header)
	}
	return a.header
}

func (a *answer) WriteHeader(status int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.over {
		a.writeHeader(status)
	}
}

func (a *answer) writeHeader(status int) {
	if a.status != 0 || a.hijacked || a.failed {
		return
	}
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("ipc: invalid status %d", status))
	}
	if status < 200 && status != http.StatusSwitchingProtocols {
		a.err = a.inform(status, a.Header())
		return
	}
	a.status = status
	a.bodiless = a.req.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified
	a.encodeHead()
}

// inform writes an informational answer. One too large for a frame is left out.
func (a *answer) inform(status int, h http.Header) error {
	head := wire.ResponseHead{Status: status, Header: h, NoBody: true}
	frame := wire.AppendResponse(nil, wire.Inform, &head)
	if !wire.Fits(frame) {
		return nil
	}
	return a.s.write(frame)
}

// encodeHead fixes the fields as they are now; SetLength may follow.
func (a *answer) encodeHead() {
	h := a.Header()
	if v := h["Content-Length"]; len(v) > 0 {
		if n, err := strconv.ParseInt(v[0], 10, 64); err == nil && n >= 0 && len(v) == 1 {
			a.length = n
		} else {
			delete(h, "Content-Length")
		}
	}
	if _, ok := h["Transfer-Encoding"]; ok {
		a.streamed = true
		delete(h, "Transfer-Encoding")
	}
	head := wire.ResponseHead{Status: a.status, Header: h, ContentLength: a.length}
	if names := h["Trailer"]; len(names) > 0 {
		head.Trailer = a.announce(names)
		delete(h, "Trailer")
	}
	a.s.head = wire.AppendResponse(a.s.head[:0], wire.Response, &head)
	a.s.out = append(a.s.out[:0], byte(wire.Data), 0, 0, 0)
	if !wire.Fits(a.s.head) {
		a.fail(errors.New("the answer's head is too large"))
	}
}

func (a *answer) announce(fields []string) http.Header {
	h := make(http.Header)
	for _, field := range fields {
		for name := range strings.SplitSeq(field, ",") {
			if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); name != "" {
				h[name] = nil
				a.trailer = append(a.trailer, name)
			}
		}
	}
	return h
}

var errReturned = errors.New("ipc: written after the handler returned")

// writable admits n more bytes of body, or says why not.
func (a *answer) writable(n int) error {
	switch {
	case a.over:
		return errReturned
	case a.hijacked:
		return http.ErrHijacked
	case a.failed:
		return http.ErrAbortHandler
	}
	if a.status == 0 {
		a.writeHeader(http.StatusOK)
	}
	switch {
	case a.err != nil:
		return a.err
	case a.failed:
		return http.ErrAbortHandler
	case a.bodiless && a.req.Method != http.MethodHead:
		return http.ErrBodyNotAllowed
	case a.length >= 0 && a.written+int64(n) > a.length:
		return http.ErrContentLength
	}
	return nil
}

func (a *answer) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.writable(len(p)); err != nil {
		return 0, err
	}
	if a.bodiless {
		a.written += int64(len(p))
		return len(p), nil
	}
	for rest := p; len(rest) > 0; {
		room, err := a.room()
		if err != nil {
			return len(p) - len(rest), err
		}
		n := min(len(rest), len(room))
		a.s.out = append(a.s.out, rest[:n]...)
		a.written += int64(n)
		rest = rest[n:]
	}
	return len(p), nil
}

// ReadFrom copies src without another buffer. A src that tells what it has
// Buffered is relayed honestly: what is here goes out before the copy waits for
// more, and a body that is at hand whole goes out in one piece.
func (a *answer) ReadFrom(src io.Reader) (n int64, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.writable(0); err != nil {
		return 0, err
	}
	if a.bodiless {
		return io.Copy(io.Discard, src)
	}
	ahead, honest := src.(interface{ Buffered() int })
	for {
		if honest && ahead.Buffered() == 0 {
			if err := a.flush(false); err != nil {
				return n, err
			}
		}
		room, err := a.room()
		if err != nil {
			return n, err
		}
		m, err := src.Read(room)
		if full := a.writable(m); full != nil {
			return n, full
		}
		a.s.out = a.s.out[:len(a.s.out)+m]
		a.written += int64(m)
		n += int64(m)
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// room is the free end of the write buffer, which is flushed when full; a body
// that fills it gets the largest one that a frame can fill.
func (a *answer) room() ([]byte, error) {
	if len(a.s.out) == cap(a.s.out) {
		if err := a.flush(false); err != nil {
			return nil, err
		}
		if cap(a.s.out) < wire.HeaderLen+wire.MaxData {
			a.s.out = append(make([]byte, 0, wire.HeaderLen+wire.MaxData), a.s.out...)
		}
	}
	return a.s.out[len(a.s.out):cap(a.s.out)], nil
}

func (a *answer) Flush() { _ = a.FlushError() }

// FlushError is what http.ResponseController calls.
func (a *answer) FlushError() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.writable(0); err != nil && !errors.Is(err, http.ErrBodyNotAllowed) {
		return err
	}
	return a.flush(false)
}

// flush writes what is gathered; the last time with the end of the answer.
func (a *answer) flush(last bool) error {
	if a.err != nil {
		return a.err
	}
	s := a.s
	first := !a.begun
	var trailer http.Header
	if last && !a.bodiless {
		trailer = a.trailers()
	}
	alone := false // the head is the whole answer
	if first {
		a.x.answerBegun()
		if last && !a.bodiless && a.length < 0 && !a.streamed && len(a.trailer) == 0 {
			a.length = a.written
			a.bodiless = a.written == 0
		}
		// A head that goes out early leaves the exchange open, body or not: the
		// connection must not get the next one while this handler runs.
		alone = last && a.bodiless
		wire.SetLength(s.head, a.length, alone)
	}
	out := s.out
	if n := len(out) - wire.HeaderLen; n > 0 {
		wire.PutHeader(out, wire.Data, n)
	} else {
		out = out[:0]
	}
	if last && !alone {
		data := len(out)
		if out = wire.AppendEnd(out, trailer); !wire.Fits(out[data:]) {
			a.fail(errors.New("the answer's trailers are too large"))
			return a.err
		}
	}
	a.begun = true
	switch {
	case len(out) == 0 && !first:
	case !first:
		a.err = s.write(out)
	case len(out) <= readBuffer/2:
		s.head = append(s.head, out...)
		a.err = s.write(s.head)
	default:
		a.err = s.writeTwo(s.head, out)
	}
	s.out = s.out[:wire.HeaderLen]
	return a.err
}

// trailers are the announced ones that got a value, and those set with
// http.TrailerPrefix.
func (a *answer) trailers() http.Header {
	var t http.Header
	set := func(name string, values []string) {
		if t == nil {
			t = make(http.Header)
		}
		t[name] = values
	}
	for _, name := range a.trailer {
		if v := a.header[name]; len(v) > 0 {
			set(name, v)
		}
	}
	for name, v := range a.header {
		if name, ok := strings.CutPrefix(name, http.TrailerPrefix); ok && len(v) > 0 {
			set(http.CanonicalHeaderKey(name), v)
		}
	}
	return t
}

// retire takes the answer from the handler, which has returned. It reports false
// when a goroutine that the handler left behind is writing at this moment: then
// its buffers are lost, and the connection with them.
func (a *answer) retire() bool {
	if !a.mu.TryLock() {
		return false
	}
	defer a.mu.Unlock()
	a.over = true
	return true
}

// finish ends a retired answer.
func (a *answer) finish() error {
	if a.panicked != nil {
		a.fail(&exchange.Error{Fault: exchange.WorkerProtocol, Err: a.panicked})
	}
	if a.status == 0 && !a.failed {
		a.writeHeader(http.StatusOK)
	}
	if !a.failed && a.length >= 0 && a.written != a.length && !a.bodiless {
		a.fail(&exchange.Error{
			Fault: exchange.WorkerProtocol,
			Err:   fmt.Errorf("handler declared %d bytes and wrote %d", a.length, a.written),
		})
	}
	if !a.failed {
		_ = a.flush(true)
	}
	a.tell()
	return a.err
}

// Fail ends the exchange with the fault that err carries, in place of the
// answer or of the rest of it. What was written before goes out first, so that
// the client sees a cut answer and not an empty one. In place of the answer it
// is told when the handler returns: the connection that stands at the next
// request then must not be this handler's any more.
func (a *answer) Fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.over {
		a.fail(err)
	}
}

func (a *answer) fail(err error) {
	if a.hijacked || a.failed {
		return
	}
	if a.begun {
		_ = a.flush(false)
	}
	a.failed = true
	f := exchange.Error{Fault: exchange.WorkerProtocol, Err: err}
	if e, ok := errors.AsType[*exchange.Error](err); ok && e.Fault != "" {
		f = *e
	}
	detail := ""
	if f.Err != nil {
		detail = f.Err.Error()
	}
	a.fault = wire.AppendFail(nil, string(f.Fault), byte(f.Stage), detail)
	if a.begun {
		a.tell()
	}
}

// tell sends what fail has noted.
func (a *answer) tell() {
	if a.fault == nil {
		return
	}
	if err := a.s.write(a.fault); a.err == nil {
		a.err = err
	}
	a.fault = nil
}

// EnableFullDuplex is always on here; http.ResponseController asks.
func (a *answer) EnableFullDuplex() error { return nil }

// Fail tells the supervisor why a handler has no answer, or not all of it: the
// fault of an *exchange.Error in err, as ipc/backend returns them, becomes the
// reason that the client sees. The handler should return afterwards: before that,
// nobody is told of a failure in place of an answer. On a ResponseWriter that is
// not this package's, the handler is aborted.
func Fail(w http.ResponseWriter, err error) {
	f, ok := w.(interface{ Fail(error) })
	if !ok {
		panic(http.ErrAbortHandler)
	}
	f.Fail(err)
}
