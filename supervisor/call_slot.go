package supervisor

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"commerce.example/coordinator/supervisor/adaptive"
	"commerce.example/coordinator/supervisor/limit"
	"commerce.example/coordinator/supervisor/sizing"
)

// takeSlot waits for a slot of the limiter, or of the upgrades for a request
// that asks for one. It returns why there is none.
func (c *call) takeSlot() Reason {
	b := c.bulkhead
	if IsUpgrade(c.r) {
		if !b.upgrades.TryAcquire() {
			return ReasonTooManyConnections
		}
		c.slot, c.admitted = b.upgrades, time.Now()
		return ""
	}
	c.queues = true
	c.visit = b.traffic.Arrive(c.begun)
	since, err := b.limiter.Acquire(c.r.Context(), min(c.set.QueueTimeout, c.set.Timeout))
	switch {
	case err == nil:
		c.slot, c.admitted = b.limiter, since
		c.visit.Admitted(since)
		if b.poison.refuses(c.r, c.begun) { // since it began to wait
			return ReasonPoisonRequest
		}
	case errors.Is(err, limit.ErrFull):
		c.visit.Refused(time.Now(), sizing.QueueFull)
		return ReasonQueueFull
	case errors.Is(err, limit.ErrTimeout):
		c.visit.Refused(time.Now(), sizing.QueueTimeout)
		return ReasonQueueTimeout
	default:
		c.visit.Refused(time.Now(), sizing.Gone)
		return ReasonClientGone
	}
	b.stats.metrics.queueWait.Observe(since.Sub(c.begun).Seconds())
	return ""
}

// releaseSlot gives back the slot that is held. How long that was is of interest
// where it is the limiter's: an upgrade lasts as long as its client likes.
func (c *call) releaseSlot() {
	now := time.Now()
	if c.slot == c.bulkhead.limiter {
		c.visit.Released(now)
		c.bulkhead.stats.hold(now.Sub(c.admitted))
	}
	c.slot.Release()
	c.slot = nil
}

// takeUpgradeSlot trades the slot for one of the upgrades: an event stream ends
// when its reader likes, so it is judged by its head of that status.
func (c *call) takeUpgradeSlot(status int) bool {
	if !c.bulkhead.upgrades.TryAcquire() {
		return false
	}
	now := time.Now()
	c.sample.End(now, adaptive.Ignored)
	c.judge(status, now)
	c.releaseSlot()
	c.slot = c.bulkhead.upgrades
	return true
}

func isEventStream(h http.Header) bool {
	ct := h["Content-Type"]
	return len(ct) > 0 && strings.HasPrefix(ct[0], "text/event-stream")
}

// admit takes the breaker's permit.
func (c *call) admit() (ok bool) {
	c.ticket, ok = c.bulkhead.breaker.Admit(c.admitted)
	if a := c.bulkhead.adaptive.Load(); ok && a != nil && c.slot == c.bulkhead.limiter {
		c.sample = a.Begin(c.admitted)
	}
	return ok
}
