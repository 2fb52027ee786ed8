package backend

import (
	"context"
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

// maxSpread is how many connections a home may have before another one is dialled
// only for want of places: a backend that reads no bodies is not to have one for
// each that it does not read.
const maxSpread = 4

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
	spareAfter time.Time // a dial failed: until then nobody dials who could do without
	queue      queue
}

// acquire gives s a place on a connection: one that has room, or a new one.
func (p *muxes) acquire(s *stream) (*mux, error) {
	m, d := p.find(s)
	if d == nil {
		return placed(m)
	}
	q := &d.home.queue
	defer q.leave(s)
	var late <-chan time.Time
	now := time.Now()
	if at, own := s.x.dialDeadline(now); !own { // else the dial has that limit itself
		timer := time.NewTimer(at.Sub(now))
		defer timer.Stop()
		late = timer.C
	}
	for {
		q.join(s) // before the look: a place that gets free behind it is told of
		if m := p.take(s, d.home, aged); m != nil {
			return m, nil
		}
		select {
		case <-d.done:
			if m, err := p.landed(s, d); m != nil || err != nil {
				return m, err
			}
			if m, d = p.find(s); d == nil {
				return placed(m)
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

func placed(m *mux) (*mux, error) {
	if m == nil {
		return nil, errNotHTTP2
	}
	return m, nil
}

// landed is what the end of a dial means for one who waited: neither a connection
// nor an error is to look again. Where there is a connection already, with a place
// if with little room, the failure of another one fails nobody.
func (p *muxes) landed(s *stream, d *dialling) (*mux, error) {
	switch {
	case d.err == errNotHTTP2:
		return nil, d.err
	case d.err == nil && d.m.stillborn():
		return nil, s.fail(exchange.BackendReset, errUnusable)
	case d.err == nil:
		return nil, nil
	}
	if m := p.take(s, d.home, narrow); m != nil {
		return m, nil
	}
	return nil, s.fail(d.fault, d.err)
}

// take gives s a place on a connection of h that suits it, and dials none.
func (p *muxes) take(s *stream, h *home, least fit) *mux {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m, how := h.pick(time.Now(), s.ask.room()); how >= least && m.reserve(s, how) {
		return m
	}
	return nil
}

// find is a connection with a place that is promised now, or the dialling to wait
// for, or neither where HTTP/1.1 is spoken, as far as is known.
//
// A connection past its age serves until its successor stands. One without room
// for the body serves only where no other one is to be had: what stalls it may be
// an upload that the backend does not read, until that one's time ends.
func (p *muxes) find(s *stream) (*mux, *dialling) {
	t, o, now := s.x.t, s.x.msg.origin, time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.home(o)
	for {
		h.live = slices.DeleteFunc(h.live, func(m *mux) bool { return !m.alive() })
		m, how := h.pick(now, s.ask.room())
		if m == nil {
			break
		}
		spare := how == aged || how == narrow && len(h.live) < maxSpread
		if spare && h.dialling == nil && now.After(h.spareAfter) {
			p.dial(t, o, h)
		}
		if how == narrow && h.dialling != nil {
			return nil, h.dialling
		}
		if m.reserve(s, how) {
			return m, nil
		}
	}
	switch {
	case now.Before(h.plainUntil):
		return nil, nil
	case h.dialling != nil:
		return nil, h.dialling
	}
	d := p.dial(t, o, h)
	if h.dialling == d && !h.plainUntil.IsZero() {
		// It spoke HTTP/1.1 so far, and there may be connections: nobody waits for
		// this one, which the backend may be too busy to take.
		h.plainUntil = now.Add(2 * t.dialTimeout())
		return nil, nil
	}
	return nil, d
}

// pick is the connection that suits best a request whose body wants so much room,
// and how it does. It is called under mu.
func (h *home) pick(now time.Time, room int64) (best *mux, how fit) {
	var widest int64
	for _, m := range h.live {
		f, window := m.fits(now, room)
		if f > how || f == narrow && how == narrow && window > widest {
			best, how, widest = m, f, window
		}
		if how == good {
			break
		}
	}
	return best, how
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
