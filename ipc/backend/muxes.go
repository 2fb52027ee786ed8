package backend

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"sync"
	"time"

	"commerce.example/coordinator/ipc/exchange"
)

// errNotHTTP2 says that ALPN chose HTTP/1.1.
var errNotHTTP2 = errors.New("the backend does not speak HTTP/2")

// errNotConnected is of an exchange whose time ends before a dial does that others
// may still wait for.
var errNotConnected = errors.New("no connection in time")

// muxes is every HTTP/2 connection that takes streams. Its zero value is empty.
type muxes struct {
	mu    sync.Mutex
	homes map[origin]*home
}

// home is what is known of one origin.
type home struct {
	live       []*mux // the oldest first
	dialling   *dialling
	plainUntil time.Time // ALPN chose HTTP/1.1: until then nobody asks again; zero: it did not
}

// dialling is a connection in the making. All who wait for a place share it, and
// its failure; nobody's leaving ends it.
type dialling struct {
	done  chan struct{}
	m     *mux // these are set before done is closed
	fault exchange.Fault
	err   error
}

// acquire gives s a place on a connection: one that has room, or a new one.
func (p *muxes) acquire(s *stream) (*mux, error) {
	var late <-chan time.Time
	for {
		m, d := p.find(s.x.t, s.x.msg.origin)
		switch {
		case m != nil:
			return m, nil
		case d == nil:
			return nil, errNotHTTP2
		}
		if late == nil {
			now := time.Now()
			if at, own := s.x.dialDeadline(now); !own { // else the dial has that limit itself
				timer := time.NewTimer(at.Sub(now))
				defer timer.Stop()
				late = timer.C
			}
		}
		select {
		case <-d.done:
			if d.err == errNotHTTP2 {
				return nil, d.err
			}
			if d.err != nil {
				return nil, s.fail(d.fault, d.err)
			}
			if d.m.stillborn() {
				return nil, s.fail(exchange.BackendReset, errUnusable)
			}
		case <-late:
			return nil, s.fail(exchange.BackendTimeout, errNotConnected)
		case <-s.wake:
		}
		if s.gone.Load() {
			return nil, s.fail(exchange.ClientGone, context.Canceled)
		}
	}
}

// find is a connection with a place that is promised now, or the dialling to wait
// for, or neither where HTTP/1.1 is spoken, as far as is known.
func (p *muxes) find(t *Transport, o origin) (*mux, *dialling) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.home(o)
	h.live = slices.DeleteFunc(h.live, func(m *mux) bool { return !m.alive() })
	for _, m := range h.live {
		if m.reserve(now) {
			return m, nil
		}
	}
	switch {
	case now.Before(h.plainUntil):
		return nil, nil
	case h.dialling != nil:
		return nil, h.dialling
	}
	d := &dialling{done: make(chan struct{})}
	if !t.conns.begin() {
		d.fault, d.err = exchange.BackendUnreachable, errClosed
		close(d.done)
		return nil, d
	}
	h.dialling = d
	go func() {
		defer t.conns.end()
		p.dial(t, o, h, d)
	}()
	if !h.plainUntil.IsZero() {
		// It spoke HTTP/1.1 so far, and there may be connections: nobody waits for
		// this one, which the backend may be too busy to take.
		h.plainUntil = now.Add(2 * t.dialTimeout())
		return nil, nil
	}
	return nil, d
}

// home is called under mu. Few origins are expected; those of which nothing is
// known but what can be asked again make room.
func (p *muxes) home(o origin) *home {
	if h := p.homes[o]; h != nil {
		return h
	}
	if p.homes == nil {
		p.homes = make(map[origin]*home)
	}
	if len(p.homes) >= maxNames {
		for other, h := range p.homes {
			if len(h.live) == 0 && h.dialling == nil {
				delete(p.homes, other)
			}
		}
	}
	h := &home{}
	p.homes[o] = h
	return h
}

func (p *muxes) dial(t *Transport, o origin, h *home, d *dialling) {
	d.m, d.fault, d.err = t.dialMux(o)
	p.mu.Lock()
	h.dialling = nil
	switch {
	case d.m != nil:
		h.live, h.plainUntil = append(h.live, d.m), time.Time{}
	case d.err == errNotHTTP2:
		h.plainUntil = time.Now().Add(t.connMaxAge())
	}
	p.mu.Unlock()
	close(d.done)
}

// remove forgets a connection that has ended.
func (p *muxes) remove(m *mux) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h := p.homes[m.c.origin]; h != nil {
		h.live = slices.DeleteFunc(h.live, func(other *mux) bool { return other == m })
	}
}

func (p *muxes) closeIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.homes {
		for _, m := range h.live {
			m.idle()
		}
	}
}

// dialMux connects and waits for the peer's SETTINGS: nothing of a request goes
// to somebody who does not speak HTTP/2. An HTTP/1.1 connection that comes of it
// is kept for whoever asks next.
func (t *Transport) dialMux(o origin) (*mux, exchange.Fault, error) {
	now := time.Now()
	ctx, stop := context.WithDeadline(context.Background(), now.Add(t.dialTimeout()))
	defer stop()
	c := &conn{
		t: t, origin: o, stopDial: stop, offer: []string{"h2", "http/1.1"},
		retireAt: now.Add(t.connMaxAge()), idleFor: t.idleTimeout(),
	}
	if t.Protocol == HTTP2 {
		c.offer = c.offer[:1]
	}
	if err := t.conns.add(c); err != nil {
		return nil, exchange.BackendUnreachable, err
	}
	if fault, err := c.open(ctx); err != nil {
		c.close()
		return nil, fault, err
	}
	if secure, ok := c.nc.(*tls.Conn); ok && secure.ConnectionState().NegotiatedProtocol != "h2" {
		if t.Protocol == HTTP2 {
			c.retire()
			return nil, exchange.BackendProtocol, errNotChosen
		}
		t.conns.put(c)
		return nil, "", errNotHTTP2
	}
	return t.greet(ctx, c)
}

var (
	errNotChosen = malformed("the backend did not choose HTTP/2 by ALPN")
	errSilent    = errors.New("no SETTINGS in time")
	errNoStreams = errors.New("the backend allows no streams")
)

// greet begins HTTP/2 on c, which is connected.
func (t *Transport) greet(ctx context.Context, c *conn) (*mux, exchange.Fault, error) {
	m, err := newMux(c)
	if err != nil {
		c.close()
		return nil, exchange.BackendReset, err
	}
	select {
	case <-m.gone:
		return nil, m.end.fault, m.end.err
	case <-ctx.Done():
		c.Cancel()
		<-m.gone
		return nil, exchange.BackendUnreachable, errSilent
	case <-m.ready:
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.peer.streams == 0 {
		m.drain()
		return nil, exchange.BackendUnreachable, errNoStreams
	}
	return m, "", nil
}
