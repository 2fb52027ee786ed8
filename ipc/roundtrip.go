package ipc

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"time"

	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/ipc/wire"
)

// RoundTrip implements http.RoundTripper: Do with the request's own context and
// deadline, and httptrace's hook for informational answers. As that interface
// has it, Request.Body is closed when the exchange is over, and a Close must end
// a Read that is under way.
func (w *Worker) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	call := &Call{Request: req}
	call.Deadline, _ = ctx.Deadline()
	if trace := httptrace.ContextClientTrace(ctx); trace != nil && trace.Got1xxResponse != nil {
		call.Inform = func(status int, h http.Header) {
			_ = trace.Got1xxResponse(status, textproto.MIMEHeader(h))
		}
	}
	stop := context.AfterFunc(ctx, func() { call.Cancel(context.Cause(ctx)) })
	call.over = func() { stop() }
	if body := req.Body; body != nil {
		call.StopBody = func() { body.Close() }
		call.over = func() { stop(); body.Close() }
	}
	return w.Do(call)
}

// Do sends a request to the worker and returns its answer when the head is
// there. The answer's Body is a *Body, or for status 101 an io.ReadWriteCloser;
// it must be closed. Every error is an *exchange.Error that says how far the
// worker got: it never sends what was refused below exchange.Sent.
func (w *Worker) Do(call *Call) (*http.Response, error) {
	c, err := w.client.take(context.Background())
	if err != nil {
		call.detach()
		return nil, undialled(err)
	}
	w.client.next(c)
	if cause := call.attach(c); cause != nil {
		failure := c.failure(call, cause)
		c.release(call, false)
		return nil, failure
	}
	resp, err := c.exchange(call)
	if err != nil {
		failure := c.failure(call, err)
		_, told := err.(*reported)
		c.release(call, told)
		return nil, failure
	}
	return resp, nil
}

// undialled is the failure to reach a worker at all: nothing was sent.
func undialled(err error) error {
	if e, ok := errors.AsType[*exchange.Error](err); ok {
		return &exchange.Error{Fault: e.Fault, Stage: exchange.Waiting, Err: err}
	}
	return &exchange.Error{
		Fault: exchange.WorkerDied, Stage: exchange.Waiting, Err: fmt.Errorf("%w: %w", ErrUnreachable, err),
	}
}

// ErrUnreachable is wrapped by the failure of a request that found no way to
// its worker: it stands at exchange.Waiting.
var ErrUnreachable = errors.New("worker unreachable")

// Told reports whether a failure is the worker's own account, as opposed to
// what the supervisor saw of it.
func Told(err error) bool {
	_, told := errors.AsType[*reported](err)
	return told
}

var errHeadTooLarge = errors.New("the request's head is too large for a frame")

// exchange writes the request and reads up to the final answer's head.
func (c *conn) exchange(call *Call) (*http.Response, error) {
	req := call.Request
	head := wire.RequestHead{
		Seq: c.seq, ContentLength: req.ContentLength, NoBody: req.Body == nil || req.Body == http.NoBody,
		TLS: req.TLS != nil, ProtoMajor: byte(req.ProtoMajor), ProtoMinor: byte(req.ProtoMinor),
		Method: req.Method, Target: req.RequestURI, Host: req.Host, RemoteAddr: req.RemoteAddr,
		Header: req.Header, Trailer: req.Trailer,
	}
	if head.Target == "" {
		head.Target = req.URL.RequestURI()
	}
	if head.Host == "" {
		head.Host = req.URL.Host
	}
	if head.NoBody {
		head.ContentLength, head.Trailer = 0, nil
	}
	if !call.Deadline.IsZero() {
		head.Timeout = uint32(min(max(1, time.Until(call.Deadline).Milliseconds()), math.MaxUint32))
	}
	head.Expect = !head.NoBody && len(req.Header["Expect"]) > 0
	hello := len(c.out)
	c.out = wire.AppendRequest(c.out, &head)
	if !wire.Fits(c.out[hello:]) {
		return nil, errHeadTooLarge
	}
	if _, err := c.nc.Write(c.out); err != nil {
		return nil, err
	}
	c.out = c.out[:0]
	if !head.NoBody {
		c.upload = &upload{conn: c, call: call, done: make(chan struct{})}
		if !head.Expect {
			c.upload.start()
		}
	}
	for {
		t, payload, err := c.in.frame()
		if err != nil {
			return nil, err
		}
		switch t {
		case wire.Response:
			return c.answer(call, payload)
		case wire.Inform:
			if err := call.inform(payload); err != nil {
				return nil, err
			}
		case wire.Continue:
			if c.upload == nil || c.upload.started {
				return nil, wire.Violation("a body asked for twice or that is none")
			}
			c.upload.start()
		case wire.Hijack:
			return c.hijacked(call)
		case wire.Fail:
			return nil, c.failed(call, payload)
		default:
			return nil, wire.Violation("frame %d before the answer's head", t)
		}
	}
}

// answer makes the response of a head. Response and Body are one allocation.
func (c *conn) answer(call *Call, payload []byte) (*http.Response, error) {
	var h wire.ResponseHead
	if err := wire.ParseResponse(payload, &h); err != nil {
		return nil, err
	}
	if h.Status < 200 {
		return nil, wire.Violation("status %d as a final answer", h.Status)
	}
	none := call.Request.Method == http.MethodHead ||
		h.Status == http.StatusNoContent || h.Status == http.StatusNotModified
	if none != h.NoBody && (none || h.ContentLength > 0) {
		return nil, wire.Violation("status %d to a %s: body missing or out of place", h.Status, call.Request.Method)
	}
	a := &struct {
		http.Response
		body Body
	}{
		Response: http.Response{
			StatusCode: h.Status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: h.Header, Trailer: h.Trailer, ContentLength: h.ContentLength, Request: call.Request,
		},
	}
	a.body = Body{conn: c, call: call, resp: &a.Response, left: h.ContentLength}
	a.Response.Body = &a.body
	if h.NoBody {
		if call.Request.Method != http.MethodHead {
			a.ContentLength = 0
		}
		a.body.ended()
	}
	return &a.Response, nil
}

// inform passes an informational answer on. 101 is none, it ends the exchange.
func (c *Call) inform(payload []byte) error {
	var h wire.ResponseHead
	if err := wire.ParseResponse(payload, &h); err != nil {
		return err
	}
	if h.Status >= 200 || h.Status == http.StatusSwitchingProtocols {
		return wire.Violation("status %d as an informational answer", h.Status)
	}
	if c.Inform != nil {
		c.Inform(h.Status, h.Header)
	}
	return nil
}

// failed turns a worker's own account into an error. It may lower nothing that
// the board says.
func (c *conn) failed(call *Call, payload []byte) error {
	fault, _, detail, err := wire.ParseFail(payload)
	if err != nil {
		return err
	}
	if call.cancelled() != nil {
		return errors.New(detail) // an echo of our own cancellation
	}
	switch f := exchange.Fault(fault); f {
	case exchange.BackendRefused, exchange.BackendUnreachable, exchange.BackendReset, exchange.BackendProtocol,
		exchange.BackendTimeout, exchange.BackendTLS, exchange.WorkerProtocol, exchange.Deadline,
		exchange.ClientGone, exchange.ClientTimeout, exchange.BadRequest:
		return &reported{fault: f, detail: detail}
	}
	return wire.Violation("fault %q is not a worker's to report", fault)
}

// reported is a failure in the worker's own words.
type reported struct {
	fault  exchange.Fault
	detail string
}

func (r *reported) Error() string { return r.detail }

// hijacked reads the answer that a handler writes on the raw connection.
func (c *conn) hijacked(call *Call) (*http.Response, error) {
	if c.upload != nil {
		return nil, wire.Violation("hijack of an exchange that has a request body")
	}
	// net/http bounds what a client's requests may hold, and no response.
	head := &io.LimitedReader{R: io.MultiReader(bytes.NewReader(c.in.buffered()), c.nc), N: wire.MaxHead}
	br := bufio.NewReader(head)
	resp, err := http.ReadResponse(br, call.Request)
	switch {
	case err != nil:
		return nil, wire.Violation("hijacked answer: %v", err)
	case resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols, resp.StatusCode > 999:
		return nil, wire.Violation("hijacked answer of status %d", resp.StatusCode)
	}
	head.N = math.MaxInt64
	if resp.StatusCode == http.StatusSwitchingProtocols {
		resp.Body = &upgraded{br, c, call}
		return resp, nil
	}
	resp.Body = &hijackedBody{resp.Body, c, call}
	return resp, nil
}
