package backend

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync/atomic"
	"time"

	"commerce.example/coordinator/ipc/exchange"
)

const (
	passedOn   = 5   // informational answers that are handed on; the rest is dropped
	floodLimit = 100 // more of them are not an answer in the making
)

// Informer is what a [exchange.Reporter] implements to be told of informational
// answers (1xx but 100 and 101), at most five an exchange. An error fails the
// exchange. h belongs to the Informer.
type Informer interface {
	Inform(code int, h http.Header) error
}

// trip is one exchange: request, connection, answer, in one allocation.
type trip struct {
	t   *Transport
	req *http.Request
	ctx context.Context
	rep exchange.Reporter // nil outside an exchange of a worker
	msg message

	c      *conn
	unhook func() bool // ends context.AfterFunc, where there is no Reporter
	up     *upload     // nil without a body, or while the body waits for 100
	stage  exchange.Stage
	ended  atomic.Bool

	head    head
	interim int  // informational answers, 100 included
	passed  int  // of them handed on
	keep    bool // the answer's framing lets the connection serve again
	resp    http.Response
	body    answerBody
}

// attach has c cancelled with the exchange. It reports false when that has
// happened already.
func (x *trip) attach(c exchange.Canceler) bool {
	if x.rep != nil {
		return x.rep.Attach(c)
	}
	if x.ctx.Done() != nil {
		if x.ctx.Err() != nil {
			return false
		}
		x.unhook = context.AfterFunc(x.ctx, c.Cancel)
	}
	return true
}

// detach ends that. It reports whether the connection is certain not to be
// cancelled, neither before nor after.
func (x *trip) detach() bool {
	if x.rep != nil {
		x.rep.Detach()
	} else if x.unhook != nil && !x.unhook() {
		return false // Cancel runs, or is about to
	}
	return !x.c.isCancelled()
}

// send writes the request, and has the rest of its body copied. A failed write
// is no verdict: the backend may have answered before it stopped reading. The
// answer, or its absence, is.
//
// It reports false when the exchange was given up as never sent: then nothing
// was written, and nothing may be.
func (x *trip) send() bool {
	if x.rep != nil && !x.rep.Sent() {
		return false
	}
	x.stage = exchange.Sent
	_, err := x.c.nc.Write(*x.msg.wire)
	if err != nil {
		x.msg.expect = false
		x.head.broken = true
		return true
	}
	if x.msg.body != nil && !x.msg.expect {
		x.upload()
	}
	return true
}

// answer reads heads until the final one.
func (x *trip) answer() (*http.Response, error) {
	waiting := x.msg.expect
	if waiting {
		x.c.nc.SetReadDeadline(time.Now().Add(x.t.expectTimeout()))
	}
	for {
		err := x.head.read(x)
		ne, ok := errors.AsType[net.Error](err)
		late := waiting && ok && ne.Timeout()
		if err != nil && !late {
			return nil, x.fail(headFaultOf(err), unexpected(err))
		}
		if waiting && (late || x.head.code == http.StatusContinue || x.head.code >= 200) {
			waiting = false
			x.c.nc.SetReadDeadline(time.Time{})
			if x.head.code < 200 {
				x.upload()
			}
		}
		if late {
			continue
		}
		switch code := x.head.code; {
		case code == http.StatusSwitchingProtocols:
			return x.switchProtocols()
		case code >= 200:
			return x.respond()
		}
		if err := x.inform(); err != nil {
			return nil, err
		}
		x.head = head{broken: x.head.broken}
	}
}

// answered reports the status line of the final answer.
func (x *trip) answered() {
	x.stage = exchange.Answered
	if x.rep != nil {
		x.rep.Answered()
	}
}

// inform hands on an informational answer. 100 is a matter between this client
// and the backend.
func (x *trip) inform() error {
	if x.interim++; x.interim > floodLimit {
		return x.fail(exchange.BackendProtocol, errors.New("a flood of informational answers"))
	}
	if x.head.code == http.StatusContinue || x.passed == passedOn {
		return nil
	}
	x.passed++
	if err := x.tell(x.head.code, x.head.fields); err != nil {
		return x.fail(tellFault(err), err)
	}
	return nil
}

func tellFault(err error) exchange.Fault {
	return cmp.Or(exchange.FaultOf(err), exchange.ClientGone)
}

// tell gives an informational answer to those who want to know.
func (x *trip) tell(code int, h http.Header) error {
	h.Del("Content-Length") // RFC 9110 section 8.6: there is nothing that they could frame
	h.Del("Transfer-Encoding")
	var err error
	if i, ok := x.rep.(Informer); ok {
		err = i.Inform(code, h)
	}
	trace := httptrace.ContextClientTrace(x.ctx)
	if err == nil && trace != nil && trace.Got1xxResponse != nil {
		err = trace.Got1xxResponse(code, textproto.MIMEHeader(h))
	}
	return err
}

// respond makes the answer from its head.
func (x *trip) respond() (*http.Response, error) {
	framing, length, err := x.head.framing(x.req.Method)
	if err != nil {
		return nil, x.fail(faultOf(err), err)
	}
	x.keep = x.head.persistent() && framing != untilClose && !x.req.Close && !x.head.broken &&
		!(x.head.code == http.StatusNoContent && length != 0)
	x.c.heed(x.head.fields["Keep-Alive"])
	delete(x.head.fields, "Transfer-Encoding")
	x.fillResponse()
	x.resp.ContentLength = length
	x.resp.Close = !x.keep
	switch {
	case framing == chunked:
		x.resp.TransferEncoding = chunkedEncoding
		x.resp.Trailer, err = announced(x.head.fields)
		if err != nil {
			return nil, x.fail(faultOf(err), err)
		}
		delete(x.head.fields, "Trailer")
	case framing == none && x.head.code == http.StatusNoContent:
		delete(x.head.fields, "Content-Length") // RFC 9110 section 8.6
		x.resp.ContentLength = 0
	}
	if framing == none {
		x.resp.Body = http.NoBody
		x.end(x.keep)
		return &x.resp, nil
	}
	x.body = answerBody{x: x, framing: framing}
	if framing == exactly {
		x.body.remain = length
	}
	x.resp.Body = &x.body
	return &x.resp, nil
}

var chunkedEncoding = []string{"chunked"}

func (x *trip) fillResponse() {
	x.resp.Status = x.head.status
	x.resp.StatusCode = x.head.code
	x.resp.Proto = "HTTP/1.1"
	x.resp.ProtoMajor = 1
	x.resp.ProtoMinor = x.head.minor
	if x.head.minor == 0 {
		x.resp.Proto = "HTTP/1.0"
	}
	x.resp.Header = x.head.fields
	x.resp.Request = x.req
}

// end gives the connection back, or closes it. Only the first call counts.
func (x *trip) end(keep bool) {
	if x.c == nil || !x.ended.CompareAndSwap(false, true) {
		return
	}
	uncancelled := x.detach()
	keep = keep && uncancelled && len(x.c.buffered()) == 0
	switch {
	case x.up != nil:
		x.up.end(keep)
	case keep && x.msg.body == nil:
		x.t.conns.put(x.c)
	default:
		x.c.close()
	}
}

// fail ends the exchange and says what failed it: that it was cancelled, else
// that its body could not be read, else f.
func (x *trip) fail(f exchange.Fault, err error) error {
	if x.ctx.Err() != nil || x.c != nil && x.c.isCancelled() {
		x.end(false)
		return x.cancelled()
	}
	if x.up != nil {
		if cause := x.up.failure(); cause != nil {
			f, err = cmp.Or(exchange.FaultOf(cause), exchange.ClientGone), cause
		}
	}
	x.end(false)
	return &exchange.Error{Fault: f, Stage: x.stage, Err: err}
}

// cancelled is the error of an exchange that somebody else ended.
func (x *trip) cancelled() error {
	cause := context.Cause(x.ctx)
	f := exchange.FaultOf(cause)
	switch {
	case f != "":
	case cause == nil && x.t.conns.isClosed():
		f, cause = exchange.BackendReset, errClosed
	case errors.Is(cause, context.DeadlineExceeded):
		f = exchange.BackendTimeout
	default:
		f, cause = exchange.ClientGone, cmp.Or(cause, context.Canceled)
	}
	return &exchange.Error{Fault: f, Stage: x.stage, Err: cause}
}

// malformed is what a backend sent that is not HTTP, or not unambiguous.
type malformed string

func (m malformed) Error() string { return string(m) }

func faultOf(err error) exchange.Fault {
	if _, ok := errors.AsType[malformed](err); ok {
		return exchange.BackendProtocol
	}
	return exchange.BackendReset
}

// headFaultOf is faultOf before an answer: in TLS 1.3 a backend that refuses our
// certificate says so behind the handshake (RFC 8446 section 4.4.2.4), with an
// alert, for which crypto/tls has no type.
func headFaultOf(err error) exchange.Fault {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return exchange.BackendTLS
	}
	return faultOf(err)
}

// unexpected keeps the end of a connection from looking like the end of a body.
func unexpected(err error) error {
	if _, ok := errors.AsType[malformed](err); ok {
		return err
	}
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return &cutShort{err}
}

// cutShort is a connection's error where an answer should have gone on.
type cutShort struct{ err error }

func (e *cutShort) Error() string   { return io.ErrUnexpectedEOF.Error() + ": " + e.err.Error() }
func (e *cutShort) Unwrap() []error { return []error{io.ErrUnexpectedEOF, e.err} }
