package breaker

import "fmt"

// alarm says why the window's calls should open the breaker, or "" if they
// should not.
func (b *Breaker) alarm() string {
	s, w := b.settings, &b.window
	if w.total.calls >= s.MinCalls {
		if why := b.tooMany(w.total, "calls"); why != "" {
			return why
		}
	}
	if w.failRun >= s.MinCalls {
		return fmt.Sprintf("%d failures in a row (limit %d)", w.failRun, s.MinCalls)
	}
	if s.SlowCall > 0 && w.slowRun >= s.MinCalls {
		return fmt.Sprintf("%d calls in a row took longer than %v (limit %d)", w.slowRun, s.SlowCall, s.MinCalls)
	}
	return ""
}

// tooMany says which ratio the calls reach, or "" if none.
func (b *Breaker) tooMany(t tally, what string) string {
	s := b.settings
	if share(t.failures, t.calls) >= s.FailureRatio {
		return b.failed(t, what)
	}
	if s.SlowCall > 0 && share(t.slow, t.calls) >= s.SlowRatio {
		return fmt.Sprintf("%d of %d %s took longer than %v (%.0f %%, limit %.0f %%)",
			t.slow, t.calls, what, s.SlowCall, 100*share(t.slow, t.calls), 100*s.SlowRatio)
	}
	return ""
}

func (b *Breaker) failed(t tally, what string) string {
	return fmt.Sprintf("%d of %d %s failed (%.0f %%, limit %.0f %%)",
		t.failures, t.calls, what, 100*share(t.failures, t.calls), 100*b.settings.FailureRatio)
}

func share(part, whole int) float64 { return float64(part) / float64(whole) }
