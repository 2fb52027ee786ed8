package ipc

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// sweepEvery bounds how long a handler works on for a client that has left.
const sweepEvery = 20 * time.Millisecond

// linger is how long an upgrade goes on of which both halves are over: what one
// side has sent may still be on its way. That a peer has left for good looks the
// same then.
const linger = 30 * time.Second

// sweeper finds exchanges that the supervisor gave up (it closed their
// connection) and cancels them, with one poll(2) over all that are in flight.
// A goroutine per exchange, waiting for the hang-up, would cost a wake-up each.
type sweeper struct {
	mu     sync.Mutex
	active []*session    // each knows its place
	over   bool          // whatever comes now is cancelled at once
	wake   chan struct{} // buffered: something became active
	linger time.Duration

	poll       []unix.PollFd
	gone, late []*inbound
}

func newSweeper() *sweeper { return &sweeper{wake: make(chan struct{}, 1), linger: linger} }

// run sweeps until stop is closed, and cancels what is in flight then. It sleeps
// while nothing is.
func (w *sweeper) run(stop <-chan struct{}) {
	defer w.end()
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case now := <-tick.C:
			if w.sweep(now) {
				continue
			}
			tick.Stop()
		}
		select {
		case <-stop:
			return
		case <-w.wake:
			tick.Reset(sweepEvery)
		}
	}
}

func (w *sweeper) add(s *session, x *inbound) {
	w.mu.Lock()
	s.current, s.place, s.events = x, len(w.active), hangup
	w.active = append(w.active, s)
	over := w.over
	w.mu.Unlock()
	if over {
		x.cancel(context.Canceled)
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *sweeper) end() {
	w.mu.Lock()
	w.over = true
	var left []*inbound
	for _, s := range w.active {
		left = append(left, s.current)
	}
	w.mu.Unlock()
	for _, x := range left {
		x.cancel(context.Canceled)
	}
}

// hijacked has s looked at for a full close only: who reads from the connection
// sees the end of a half himself.
func (w *sweeper) hijacked(s *session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s.events = 0
}

// halve notes that our half of a hijacked connection ends. With the peer's half it
// makes what poll(2) takes for a full close.
func (w *sweeper) halve(s *session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s.halved = true
}

// remove takes a session off; afterwards its descriptor may be closed.
func (w *sweeper) remove(s *session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.current == nil {
		return
	}
	last := len(w.active) - 1
	moved := w.active[last]
	w.active[s.place], moved.place = moved, s.place
	w.active[last] = nil
	w.active = w.active[:last]
	s.current = nil
}

// sweep reports whether anything is in flight.
func (w *sweeper) sweep(now time.Time) bool {
	w.mu.Lock()
	n := len(w.active)
	w.poll = w.poll[:0]
	for _, s := range w.active {
		w.poll = append(w.poll, unix.PollFd{Fd: int32(s.fd), Events: s.events})
	}
	if n > 0 {
		if _, err := unix.Poll(w.poll, 0); err != nil {
			w.poll = w.poll[:0] // interrupted: the next tick comes soon
		}
	}
	for i, p := range w.poll {
		s := w.active[i]
		left := p.Revents&(hangup|unix.POLLHUP|unix.POLLERR) != 0
		switch {
		case left && s.halved && s.until.IsZero():
			s.until = now.Add(w.linger)
		case left && !now.Before(s.until):
			w.gone = append(w.gone, s.current)
		case !left && s.current.expired(now):
			w.late = append(w.late, s.current)
		}
	}
	w.mu.Unlock()

	for _, x := range w.gone {
		x.cancel(context.Canceled)
	}
	for _, x := range w.late {
		x.cancel(context.DeadlineExceeded)
	}
	clear(w.gone)
	clear(w.late)
	w.gone, w.late = w.gone[:0], w.late[:0]
	return n > 0
}
