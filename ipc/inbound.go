package ipc

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"sync"
	"time"

	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/ipc/wire"
)

// inbound is one exchange inside a worker. It is the request's context and its
// exchange.Reporter at once: one allocation, no timer, and no channel unless
// somebody waits on Done.
type inbound struct {
	session  *session
	answer   *answer
	seq      uint32
	deadline time.Time // zero: none; dropped once the answer has begun

	mu       sync.Mutex
	sends    int   // how often something was reported to be sent
	err      error // why it was cancelled, or that it is over
	done     chan struct{}
	attached exchange.Canceler
	after    []*afterFunc
}

type afterFunc struct{ f func() }

func (x *inbound) Deadline() (time.Time, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.deadline, !x.deadline.IsZero()
}

func (x *inbound) Err() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.err
}

func (x *inbound) Done() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done == nil {
		x.done = make(chan struct{})
		if x.err != nil {
			close(x.done)
		}
	}
	return x.done
}

func (x *inbound) Value(key any) any {
	if key == exchange.ReporterKey {
		return x
	}
	return nil
}

// AfterFunc is what package context looks for in a parent that is not its own:
// contexts derived from this one need no goroutine.
func (x *inbound) AfterFunc(f func()) (stop func() bool) {
	a := &afterFunc{f}
	x.mu.Lock()
	over := x.err != nil
	if !over {
		x.after = append(x.after, a)
	}
	x.mu.Unlock()
	if over {
		go f()
		return func() bool { return false }
	}
	return func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		for i, b := range x.after {
			if b == a {
				x.after = append(x.after[:i], x.after[i+1:]...)
				return true
			}
		}
		return false
	}
}

// cancel ends the exchange once; later calls do nothing. Canceler.Cancel runs
// under the lock, so that Detach can promise that it is not running.
func (x *inbound) cancel(err error) {
	x.mu.Lock()
	if x.err != nil {
		x.mu.Unlock()
		return
	}
	x.err = err
	if x.attached != nil {
		x.attached.Cancel()
		x.attached = nil
	}
	if x.done != nil {
		close(x.done)
	}
	after := x.after
	x.after = nil
	x.mu.Unlock()
	for _, a := range after {
		go a.f()
	}
}

func (x *inbound) Sent() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.sends++
	return x.session.plane.board.Raise(x.session.cell, x.seq, exchange.Sent)
}

// Unsent implements exchange.Retractor. A handler that does not report its stage
// may have sent what nobody here knows of.
func (x *inbound) Unsent() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.sends == 1 && x.session.plane.opts.ReportsStage {
		x.sends = 0
		x.session.plane.board.Retract(x.session.cell, x.seq)
	}
}

func (x *inbound) Answered() {
	x.session.plane.board.Raise(x.session.cell, x.seq, exchange.Answered)
}

// Inform implements backend.Informer: an informational answer goes straight to
// the client, unless the final one has its head. Who is writing that now is not
// waited for.
func (x *inbound) Inform(code int, h http.Header) error {
	a := x.answer
	if !a.mu.TryLock() {
		return nil
	}
	defer a.mu.Unlock()
	if a.over || a.hijacked || a.failed || a.status != 0 {
		return nil
	}
	return a.inform(code, h)
}

func (x *inbound) Attach(c exchange.Canceler) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err != nil {
		return false
	}
	x.attached = c
	return true
}

func (x *inbound) Detach() {
	x.mu.Lock()
	x.attached = nil
	x.mu.Unlock()
}

// answerBegun lifts the deadline: it was for the answer's head.
func (x *inbound) answerBegun() {
	x.mu.Lock()
	x.deadline = time.Time{}
	x.mu.Unlock()
}

// expired reports whether the head is overdue. The supervisor keeps the time;
// this only ends a handler whose cancellation got lost, so it is late on purpose.
func (x *inbound) expired(now time.Time) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return !x.deadline.IsZero() && now.Sub(x.deadline) > 100*time.Millisecond
}

// fate is what became of a connection after an exchange.
type fate int

const (
	broken   fate = iota // to be closed
	reusable             // stands at the next frame
	taken                // belongs to a handler that hijacked it
)

// exchange runs one exchange on its session's goroutine.
func (s *session) exchange(payload []byte) fate {
	var head wire.RequestHead
	if err := wire.ParseRequest(payload, &head); err != nil {
		return broken
	}
	x := &inbound{session: s, seq: head.Seq}
	if head.Timeout > 0 {
		x.deadline = time.Now().Add(time.Duration(head.Timeout) * time.Millisecond)
	}
	stage := exchange.Taken
	if !s.plane.opts.ReportsStage {
		stage = exchange.Sent // from its call on, nobody can say what the handler did
	}
	if !s.plane.board.Raise(s.cell, x.seq, stage) {
		return broken // given up before it was read
	}
	u, badTarget := url.ParseRequestURI(head.Target)
	req := request(&head, u).WithContext(x)
	var body *requestBody
	if !head.NoBody {
		body = &requestBody{session: s, req: req, expect: head.Expect}
		req.Body = body
	}
	a := &answer{x: x, s: s, req: req, length: -1}
	x.answer = a

	s.plane.sweeper.add(s, x)
	defer s.plane.sweeper.remove(s)
	defer x.cancel(context.Canceled)
	s.plane.requests.Add(1)
	if badTarget != nil {
		a.fail(&exchange.Error{Fault: exchange.BadRequest, Err: badTarget})
	} else {
		a.run(s.plane.opts.Handler)
	}
	return s.settle(x, a, body)
}

// settle ends the exchange of a handler that has returned. Goroutines that it
// left behind lose their hold on the connection first: what they read or write
// from here on must not meet the next exchange.
func (s *session) settle(x *inbound, a *answer, body *requestBody) fate {
	x.cancel(context.Canceled)
	if body != nil {
		body.Close()
	}
	switch {
	case !a.retire():
		s.plane.logf("a handler returned while another goroutine was writing its answer to %s", a.req.Method)
		return broken
	case a.hijacked:
		return taken
	case a.finish() != nil, !body.skip():
		return broken
	}
	return reusable
}

func request(h *wire.RequestHead, u *url.URL) *http.Request {
	r := &http.Request{
		Method: h.Method, URL: u, RequestURI: h.Target,
		Proto: "HTTP/1.1", ProtoMajor: int(h.ProtoMajor), ProtoMinor: int(h.ProtoMinor),
		Header: h.Header, Trailer: h.Trailer, Body: http.NoBody,
		ContentLength: h.ContentLength, Host: h.Host, RemoteAddr: h.RemoteAddr,
	}
	switch {
	case h.ProtoMajor == 2:
		r.Proto = "HTTP/2.0"
	case h.ProtoMajor == 1 && h.ProtoMinor == 0:
		r.Proto = "HTTP/1.0"
	}
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	if h.TLS {
		r.TLS = &tls.ConnectionState{HandshakeComplete: true} // all that is known of it here
	}
	if !h.NoBody && h.ContentLength < 0 {
		r.TransferEncoding = []string{"chunked"}
	}
	return r
}

// run calls the handler. A panic is one request's failure, as in net/http; its
// stack goes to standard error, which the supervisor logs.
func (a *answer) run(h http.Handler) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if v != http.ErrAbortHandler {
			a.s.plane.panics.Add(1)
			a.s.plane.logf("panic serving %s: %v\n%s", a.req.Method, v, bytes.TrimSpace(debug.Stack()))
		}
		a.panicked = fmt.Errorf("handler panicked: %v", v)
	}()
	h.ServeHTTP(a, a.req)
}
