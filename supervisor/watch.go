package supervisor

import (
	"net/http"
	"sync"
	"time"

	"commerce.example/coordinator/ipc/exchange"
)

// watchEvery is how late a deadline may be kept, and a client's leaving noticed.
const watchEvery = 20 * time.Millisecond

// startWatch runs the ticks of all bulkheads until the function it returns is
// called.
func (s *Supervisor) startWatch() (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			case now := <-tick.C:
				s.ticked.Add(1)
				rate := s.config.Load().MinBodyRate
				s.access.logDropped(now)
				for i, b := range s.bulkheads() {
					b.logSlow(s.log, s.evidence, b.watch.tick(now, rate), now)
					if n%5 == 0 {
						b.logFailures(s.log, now, failureEvery)
						b.logBreaker(s.log, now)
						b.logLimit(s.log, now)
						b.logPoison(s.log)
						b.logFallback(s.log, now)
						b.observeSetting(now)
					}
					if (n+i*cpuStagger)%cpuEvery == 0 {
						b.observeCPU(now)
					}
				}
				for _, b := range s.removed.all() {
					b.logSlow(s.log, s.evidence, b.watch.tick(now, rate), now)
				}
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

// watchlist is the calls of one bulkhead that wait for somebody. A tick looks at
// them all; a timer and a context for each would cost more than the exchange.
type watchlist struct {
	mu     sync.Mutex
	calls  []*call
	ticked time.Time // last
}

func (l *watchlist) add(c *call) {
	l.mu.Lock()
	c.place = len(l.calls)
	l.calls = append(l.calls, c)
	l.mu.Unlock()
}

func (l *watchlist) remove(c *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.place < 0 {
		return
	}
	last := len(l.calls) - 1
	moved := l.calls[last]
	l.calls[c.place], moved.place = moved, c.place
	l.calls[last] = nil
	l.calls = l.calls[:last]
	c.place = -1
}

func (l *watchlist) empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.calls) == 0
}

// anew has the watch look at c from now on as at one whose answer goes to the
// client, whatever it was before.
func (l *watchlist) anew(c *call, now time.Time) {
	l.remove(c)
	c.exchange, c.holder, c.cause = nil, nil, nil // not in the list, it is its goroutine's alone
	c.headed.Store(true)
	c.seenAt, c.overAt = now, time.Time{}
	l.add(c)
}

// tick never blocks: to end a call is to close its connection. rate is the least
// that clients must keep, in bytes per second; 0: none. It returns the calls that
// are due in the slow log.
func (l *watchlist) tick(now time.Time, rate int64) (slow []flight) {
	l.mu.Lock()
	defer l.mu.Unlock()
	since := min(now.Sub(l.ticked), paceStep)
	l.ticked = now
	for _, c := range l.calls {
		if c.slow(now) {
			slow = append(slow, c.flight(now))
		}
		c.look(now, min(since, now.Sub(c.begun)), rate)
	}
	return slow
}

// cancelAll ends every call in flight: the drain's time is over.
func (l *watchlist) cancelAll(fault exchange.Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.calls {
		c.cancel(fault)
	}
}

// look is one look of the watch at a call, since the one before.
func (c *call) look(now time.Time, since time.Duration, rate int64) {
	switch {
	case c.r.Context().Err() != nil && !c.goesOn(now):
		c.cancel(exchange.ClientGone)
	case !c.ends.IsZero() && now.After(c.ends):
		c.cancel(c.whoHoldsUp())
	case rate > 0 && c.lagging(since, rate):
		c.timeOut(exchange.ClientTimeout, now)
	case !c.headed.Load():
		if now.After(c.deadline) {
			c.cancel(c.whoHoldsUp())
		} else if c.charged.Load() && now.After(c.slowAt) {
			c.charged.Store(false)
			c.ticket.Overdue(now)
		}
	default:
		c.lookIdle(now)
	}
	c.letGo(now)
}

// lookIdle ends a body of which nothing has moved, either way, for long.
func (c *call) lookIdle(now time.Time) {
	seen := c.moved.Load() + c.unheard.Load()
	if x := c.current(); x != nil {
		seen += x.Uploaded()
	}
	switch {
	case seen != c.seen || c.seenAt.IsZero():
		c.seen, c.seenAt = seen, now
	case c.set.IdleTimeout > 0 && now.Sub(c.seenAt) > c.set.IdleTimeout:
		c.timeOut(c.whoHoldsUp(), now)
	}
}

// timeOut cancels, and ends a write that the client does not take. Where the answer
// is of use without the client, to end the write is all.
func (c *call) timeOut(fault exchange.Fault, now time.Time) {
	if c.wanted.Load() && c.writing.Load() > 0 {
		c.mu.Lock()
		c.tooSlow = true
		c.mu.Unlock()
	} else {
		c.cancel(fault)
	}
	if c.writing.Load() > 0 {
		_ = http.NewResponseController(c.w).SetWriteDeadline(now)
	}
}

// letGo ends the wait for a client that does not take what is left of an answer
// whose call is over. Nothing else would: a client that has shut its own side is
// gone, and can refuse to read for ever.
func (c *call) letGo(now time.Time) {
	if c.writing.Load() == 0 || c.whyOver() == nil && c.leftAt.IsZero() {
		return
	}
	if c.overAt.IsZero() {
		c.overAt = now
	}
	if now.Sub(c.overAt) >= lingerFor {
		_ = http.NewResponseController(c.w).SetWriteDeadline(now)
	}
}

// whoHoldsUp blames the client when it is waited for.
func (c *call) whoHoldsUp() exchange.Fault {
	if x := c.current(); c.writing.Load() > 0 || c.gathering.Load() || x != nil && x.AwaitsBody() {
		return exchange.ClientTimeout
	}
	return exchange.Deadline
}
