package backend

import (
	"slices"
	"sync"
	"time"
)

// conns is every connection of a Transport and the goroutines that serve them:
// copies of request bodies, and what an HTTP/2 connection runs on. Its zero value
// is empty and open.
type conns struct {
	mu      sync.Mutex
	idle    map[origin][]*conn // the last one put back is taken first
	live    map[*conn]struct{} // all of them, idle, in use or being dialled
	sweeper *time.Timer        // runs while something is idle
	running int                // goroutines
	drained chan struct{}      // made by close, closed when running is 0
	closed  bool
}

// take removes the idle connection of o that was used last, or gives nil. The
// others, no longer needed, grow old and are swept.
func (p *conns) take(o origin) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.idle[o]
	if len(list) == 0 {
		return nil
	}
	c := list[len(list)-1]
	list[len(list)-1] = nil
	if list = list[:len(list)-1]; len(list) == 0 {
		delete(p.idle, o)
	} else {
		p.idle[o] = list
	}
	return c
}

// put makes c idle, or closes it when it is past its age or the transport is
// closed. c must be at the start of a fresh exchange.
func (p *conns) put(c *conn) {
	now := time.Now()
	c.idleUntil = now.Add(c.idleFor)
	c.shrink()
	var surplus *conn
	p.mu.Lock()
	if p.closed || !now.Before(c.retireAt) {
		surplus = c
	} else {
		surplus = p.keep(c)
	}
	p.mu.Unlock()
	if surplus != nil {
		surplus.retire()
	}
}

// keep adds c and gives back the oldest connection if that makes one too many.
func (p *conns) keep(c *conn) (surplus *conn) {
	if p.idle == nil {
		p.idle = make(map[origin][]*conn)
	}
	list := p.idle[c.origin]
	if len(list) >= c.t.maxIdle() {
		surplus = list[0]
		list = slices.Delete(list, 0, 1)
	}
	p.idle[c.origin] = append(list, c)
	if p.sweeper == nil {
		p.sweeper = time.AfterFunc(c.t.idleTimeout(), func() { p.sweep(c.t.idleTimeout()) })
	}
	return surplus
}

// sweep closes what has been idle for too long, so that a backend which is no
// longer called does not keep descriptors, and comes again while any are left.
func (p *conns) sweep(every time.Duration) {
	now := time.Now()
	var old []*conn
	p.mu.Lock()
	for o, list := range p.idle {
		list = slices.DeleteFunc(list, func(c *conn) bool {
			if c.fresh(now) {
				return false
			}
			old = append(old, c)
			return true
		})
		if p.idle[o] = list; len(list) == 0 {
			delete(p.idle, o)
		}
	}
	switch {
	case p.sweeper == nil: // closed meanwhile
	case len(p.idle) > 0:
		p.sweeper.Reset(every)
	default:
		p.sweeper = nil
	}
	p.mu.Unlock()
	for _, c := range old {
		c.retire()
	}
}

func (p *conns) closeIdle() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	if p.sweeper != nil {
		p.sweeper.Stop()
		p.sweeper = nil
	}
	p.mu.Unlock()
	for _, list := range idle {
		for _, c := range list {
			c.retire()
		}
	}
}

// close refuses new work and ends what there is. The channel is closed when the
// last goroutine has ended.
func (p *conns) close() <-chan struct{} {
	p.mu.Lock()
	p.closed = true
	if p.drained == nil {
		p.drained = make(chan struct{})
		if p.running == 0 {
			close(p.drained)
		}
	}
	drained := p.drained
	p.mu.Unlock()
	p.closeIdle()
	p.mu.Lock()
	busy := make([]*conn, 0, len(p.live))
	for c := range p.live {
		busy = append(busy, c)
	}
	p.mu.Unlock()
	for _, c := range busy {
		c.Cancel()
	}
	return drained
}

// add registers a connection that is about to be dialled.
func (p *conns) add(c *conn) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errClosed
	}
	if p.live == nil {
		p.live = make(map[*conn]struct{})
	}
	p.live[c] = struct{}{}
	return nil
}

func (p *conns) forget(c *conn) {
	p.mu.Lock()
	delete(p.live, c)
	p.mu.Unlock()
}

// begin counts a goroutine that is about to start, and reports false when the
// transport is closed. Each ends with end.
func (p *conns) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.running++
	return true
}

func (p *conns) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running--
	if p.running == 0 && p.drained != nil {
		close(p.drained)
	}
}

func (p *conns) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}
