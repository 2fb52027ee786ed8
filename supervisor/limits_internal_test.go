package supervisor

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"commerce.example/coordinator/supervisor/adaptive"
	"commerce.example/coordinator/supervisor/breaker"
	"commerce.example/coordinator/supervisor/limit"
)

// The log tells once that a bound decides, after five minutes of it.
func TestLimitAtItsBoundIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := hclog.New(&hclog.LoggerOptions{Output: &out, JSONFormat: true})
		b := &Bulkhead{limiter: limit.New(0, 0)}
		c := BulkheadConfig{Name: "orders", Limit: 2, Adaptive: adaptive.Settings{Mode: adaptive.Auto, Least: 1, Most: 2}}
		b.settings.Store(newSettings(c, nil, nil))
		b.setLimit(c, adaptive.Found{})
		a := b.adaptive.Load()
		busy := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); {
				first, second := a.Begin(time.Now()), a.Begin(time.Now())
				time.Sleep(10 * time.Millisecond)
				first.End(time.Now(), adaptive.Served)
				second.End(time.Now(), adaptive.Served)
				b.logLimit(log, time.Now())
			}
		}
		busy(4 * time.Minute)
		if n := b.limiter.Stats(time.Now()).Limit; n != 2 || out.Len() > 0 {
			t.Fatalf("limit %d; logged %s", n, &out)
		}
		busy(20 * time.Minute)
		if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"bound":"upper"`) || !strings.Contains(got, `"bulkhead":"orders"`) {
			t.Errorf("logged %s", got)
		}
		c.Adaptive = adaptive.Settings{}
		b.setLimit(c, adaptive.Found{})
		b.logLimit(log, time.Now())
		if mode, found := b.limitStatus(time.Now()); mode != "fixed" || found != nil {
			t.Errorf("%s %+v", mode, found)
		}
	})
}

// The steps of a limit that follows the backend are no change of the setting, which
// is its upper bound; what an operator does is one.
func TestStepsOfALimitAreNoChangeOfTheSetting(t *testing.T) {
	c := BulkheadConfig{
		Name: "orders", Limit: 8, Adaptive: adaptive.Settings{Mode: adaptive.Auto, Least: 1, Most: 8}, BreakerMode: breaker.Auto,
		Breaker: breaker.Settings{Window: 10 * time.Second, MinCalls: 5, FailureRatio: 0.5, SlowRatio: 1, OpenFor: time.Second, Probes: 1},
	}
	begun := time.Now()
	b := newBulkhead(c, adaptive.Found{}, commons{keyring: &keyring{}}, nil, begun)
	b.observeSetting(begun.Add(time.Second))
	b.limiter.SetLimit(5)
	b.observeSetting(begun.Add(2 * time.Second))
	if s := b.sized.Load(); s.setting.Limit != 8 || !s.since.Equal(begun) {
		t.Errorf("%+v, since %v", s.setting, s.since.Sub(begun))
	}
	three := 3
	if _, _, err := b.resize(nil, &three); err != nil {
		t.Fatal(err)
	}
	b.observeSetting(begun.Add(3 * time.Second))
	if s := b.sized.Load(); s.setting.Limit != 3 || s.since.Sub(begun) != 3*time.Second {
		t.Errorf("%+v, since %v", s.setting, s.since.Sub(begun))
	}
}

// What counts for an adaptive limit: too much, the time that an answer took, or
// nothing.
func TestResults(t *testing.T) {
	for status, want := range map[int]adaptive.Result{
		200: adaptive.Served, 304: adaptive.Served, 404: adaptive.Served, 429: adaptive.Overloaded, 500: adaptive.Ignored,
		502: adaptive.Ignored, 503: adaptive.Overloaded, 504: adaptive.Overloaded,
	} {
		if got := resultOf(status); got != want {
			t.Errorf("%d: %d, want %d", status, got, want)
		}
	}
	for _, reason := range append(Reasons(), "") {
		want := adaptive.Ignored
		if reason == ReasonBackendTimeout || reason == ReasonDeadline {
			want = adaptive.Overloaded
		}
		if got := resultWithout(reason); got != want {
			t.Errorf("%q: %d, want %d", reason, got, want)
		}
	}
}
