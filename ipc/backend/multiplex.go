package backend

import (
	"cmp"
	"errors"
	"net/http"

	"commerce.example/coordinator/ipc/exchange"
)

var errTooManyFields = errors.New("more fields than the backend accepts")

// multiplexes tells whether req may go over HTTP/2. An upgrade never does: it
// wants a connection of its own.
func (t *Transport) multiplexes(req *http.Request) bool {
	if t.Protocol == HTTP1 || req.URL == nil || len(req.Header["Upgrade"]) > 0 {
		return false
	}
	return t.Protocol == HTTP2 || req.URL.Scheme == "https"
}

// multiplex runs the exchange over HTTP/2. When the error is errNotHTTP2, nothing
// was done, and HTTP/1.1 is the way.
func (x *trip) multiplex() (*http.Response, error) {
	s := &stream{x: x, wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
	var err error
	if x.msg.origin, err = originOf(x.req.URL); err == nil {
		err = s.ask.prepare(x.req)
	}
	if err != nil {
		closeBody(x.req)
		return nil, x.fail(cmp.Or(exchange.FaultOf(err), exchange.BadRequest), err)
	}
	if err := x.drill(); err != nil {
		closeBody(x.req)
		return nil, err
	}
	if !x.attach(s) {
		closeBody(x.req)
		return nil, x.cancelled()
	}
	if err := s.begin(); err != nil {
		s.finish()
		switch {
		case err != errNotHTTP2:
			closeBody(x.req)
		case s.ask.inline != nil: // read for a connection that went
			s.ask.spill()
			x.req = x.req.WithContext(x.ctx)
			x.req.Body = s.ask.body
		}
		return nil, err
	}
	resp, err := s.answer()
	if s.ask.body != nil && !s.uploading {
		s.ask.body.Close() // never begun: the backend answered Expect with its last word
	}
	return resp, err
}

// begin sends the head, with the body if that is at hand. A connection that ends
// before anything was written is no attempt.
func (s *stream) begin() error {
	for {
		m, err := s.x.t.muxes.acquire(s)
		if err != nil {
			return err
		}
		err = s.ask.take()
		if err != nil {
			m.refuse()
			return s.fail(cmp.Or(exchange.FaultOf(err), exchange.BadRequest), err)
		}
		switch err := m.open(s); err {
		case nil:
			if s.ask.body != nil && !s.ask.expect {
				s.upload()
			}
			return nil
		case errUnusable:
		case errTooManyFields:
			return s.fail(exchange.BadRequest, err)
		default:
			return s.x.cancelled()
		}
	}
}
