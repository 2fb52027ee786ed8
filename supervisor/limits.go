package supervisor

import (
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"

	"commerce.example/coordinator/supervisor/adaptive"
)

// setLimit puts limit and queue of c in force, and what finds the limit, beginning
// with from, in place of what found it before.
func (b *Bulkhead) setLimit(c BulkheadConfig, from adaptive.Found) {
	limit, next := c.Limit, (*adaptive.Limit)(nil)
	if c.Adaptive.Mode != adaptive.Fixed {
		next = adaptive.New(c.Adaptive, from, b.limiter.SetLimit)
		limit = next.InForce()
	}
	if before := b.adaptive.Swap(next); before != nil {
		before.Stop()
	}
	b.limiter.Resize(limit, c.Queue)
}

// resultOf is what an answer says about how much its backend can take. Errors of
// another kind may be fast or slow for any reason.
func resultOf(status int) adaptive.Result {
	switch {
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout:
		return adaptive.Overloaded
	case status >= http.StatusInternalServerError:
		return adaptive.Ignored
	}
	return adaptive.Served
}

// resultWithout is what a call says that got no answer, or not all of it.
func resultWithout(reason Reason) adaptive.Result {
	if reason == ReasonBackendTimeout || reason == ReasonDeadline {
		return adaptive.Overloaded
	}
	return adaptive.Ignored
}

// limitStatus is the mode of the limit, and what was found.
func (b *Bulkhead) limitStatus(now time.Time) (mode string, found *AdaptiveStatus) {
	a := b.adaptive.Load()
	if a == nil {
		return "fixed", nil
	}
	s := a.Stats(now)
	found = &AdaptiveStatus{Least: s.Least, Most: s.Most, Advised: s.Limit, State: string(s.State)}
	if !s.AtBound.IsZero() {
		found.AtBoundSince = &s.AtBound
	}
	return string(s.Mode), found
}

// limitsFound is what a successor's adaptive limits begin with, by bulkhead.
func (s *Supervisor) limitsFound() map[string]adaptive.Found {
	all := make(map[string]adaptive.Found)
	for _, b := range s.bulkheads() {
		if a := b.adaptive.Load(); a != nil {
			all[b.settings.Load().Name] = a.Found()
		}
	}
	return all
}

// boundFor is how long a limit stays at a bound, with as much in flight, until the
// log tells of it.
const boundFor = 5 * time.Minute

// logLimit writes a line when an adaptive limit has been at a bound for long, once
// for each time. It belongs to the supervisor's watch.
func (b *Bulkhead) logLimit(log hclog.Logger, now time.Time) {
	a := b.adaptive.Load()
	if a == nil {
		return
	}
	s := a.Stats(now)
	if s.AtBound.IsZero() || s.AtBound.Equal(b.boundSeen) || now.Sub(s.AtBound) < boundFor {
		return
	}
	b.boundSeen = s.AtBound
	bound := "upper"
	if s.Limit == s.Least {
		bound = "lower"
	}
	log.Warn("limit at its bound", "bulkhead", b.settings.Load().Name, "bound", bound, "limit", s.Limit,
		"mode", string(s.Mode), "state", string(s.State), "for", now.Sub(s.AtBound).Round(time.Second).String())
}
