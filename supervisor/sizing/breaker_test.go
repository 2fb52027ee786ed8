package sizing_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/breaker"
	"commerce.example/coordinator/supervisor/sizing"
)

// trips counts how often an hour the breaker itself opens by chance; after each
// time a new one takes its place.
func trips(b sizing.BreakerSetting, rate, share float64, calls int) (perHour float64) {
	rng := rand.New(rand.NewPCG(17, 4))
	s := breaker.Settings{Window: b.Window, MinCalls: b.MinCalls, FailureRatio: b.FailureRatio, SlowRatio: 1, OpenFor: b.OpenFor, Probes: 1}
	now, opened := epoch, 0
	br := breaker.New(s, now)
	for range calls {
		now = now.Add(time.Duration(rng.ExpFloat64() / rate * float64(time.Second)))
		ticket, _ := br.Admit(now)
		outcome := breaker.Success
		if rng.Float64() < share {
			outcome = breaker.Failure
		}
		ticket.Done(now, outcome)
		if br.Stats(now).State != breaker.StateClosed {
			opened++
			br = breaker.New(s, now)
		}
	}
	return float64(opened) / now.Sub(epoch).Hours()
}

func TestFalseTripsBoundTheBreaker(t *testing.T) {
	if testing.Short() {
		t.Skip("takes millions of arrivals: without -short")
	}
	for _, c := range []struct {
		b           sizing.BreakerSetting
		rate, share float64
	}{
		{sizing.BreakerSetting{Window: 10 * time.Second, MinCalls: 20, FailureRatio: 0.5, OpenFor: time.Second}, 10, 0.35},
		{sizing.BreakerSetting{Window: 10 * time.Second, MinCalls: 5, FailureRatio: 0.5, OpenFor: time.Second}, 1, 0.1},
		{sizing.BreakerSetting{Window: 10 * time.Second, MinCalls: 10, FailureRatio: 0.3, OpenFor: time.Second}, 5, 0.13},
		{sizing.BreakerSetting{Window: 10 * time.Second, MinCalls: 4, FailureRatio: 1, OpenFor: time.Second}, 20, 0.2},
	} {
		want := trips(c.b, c.rate, c.share, 250_000)
		got := c.b.FalseTrips(c.rate, c.share)
		// A new window is a risk of its own, which comes with each trip of this test.
		bound := got.PerHour * (1 + got.AfterRestart) / max(1-got.AfterRestart, 0.1)
		if want == 0 || bound < 0.9*want || got.PerHour > 15*want {
			t.Errorf("%+v at %v/s of %v: %+v, the breaker opens %v times an hour", c.b, c.rate, c.share, got, want)
		}
	}
}

func TestFalseTripsEdges(t *testing.T) {
	b := sizing.BreakerSetting{Window: 10 * time.Second, MinCalls: 20, FailureRatio: 0.5, OpenFor: 5 * time.Second}
	if f := b.FalseTrips(100, 0); f != (sizing.FalseTrips{}) {
		t.Errorf("nothing fails: %+v", f)
	}
	if f := b.FalseTrips(100, 0.6); !f.Certain || f.PerHour < 600 || f.AfterRestart != 1 {
		t.Errorf("more fails than is allowed: %+v", f)
	}
	// The example in the breaker's own documentation: once in thirteen years.
	f := b.FalseTrips(100, 0.3)
	near(t, "years between runs", 1/(f.ByRun*24*365), 13, 1)
	last := 0.0
	for share := 0.05; share < 0.5; share += 0.05 {
		f := b.FalseTrips(10, share)
		if f.PerHour < last || f.AfterRestart < 0 || f.AfterRestart > 1 || f.Open > 1 {
			t.Errorf("share %v: %+v after %v", share, f, last)
		}
		last = f.PerHour
	}
}

func TestAfterRestart(t *testing.T) {
	// Two calls, both of which must fail: p² to trip on them, then one more chance with each call.
	b := sizing.BreakerSetting{Window: time.Second, MinCalls: 2, FailureRatio: 1, OpenFor: time.Second}
	near(t, "two calls", b.FalseTrips(2, 0.1).AfterRestart, 0.01, 1e-12)
	b.FailureRatio = 0.5 // 1-(1-p)² within two; the third needs two of three
	near(t, "one of two", b.FalseTrips(2, 0.1).AfterRestart, 0.19, 1e-12)
}

func TestDetection(t *testing.T) {
	b := sizing.BreakerSetting{Window: 10 * time.Second, MinCalls: 20, FailureRatio: 0.5, OpenFor: 5 * time.Second, Timeout: 2 * time.Second, Limit: 32}
	if d := b.Failing(100, 0.01, 1); !d.Opens || d.Mean != 200*ms || d.P99 < 250*ms || d.P99 > 400*ms {
		t.Errorf("all fail: %+v", d)
	}
	if d := b.Failing(100, 0, 0.75); !d.Opens || (d.Mean-10*time.Second*2/3).Abs() > ms {
		t.Errorf("three in four fail: %+v", d)
	}
	for what, d := range map[string]sizing.Detection{
		"fewer fail than the ratio":            b.Failing(100, 0, 0.4),
		"fewer calls than the window must see": b.Failing(1, 0, 1),
		"no calls":                             b.Hanging(0),
	} {
		if d.Opens {
			t.Errorf("%s: %+v", what, d)
		}
	}
	if d := b.Hanging(100); !d.Opens || d.Mean != 2200*ms {
		t.Errorf("hang: %+v", d)
	}
	b.SlowCall = 500 * ms
	if d := b.Hanging(100); d.Mean != 700*ms {
		t.Errorf("hang that is slow first: %+v", d)
	}
	b.Limit = 8 // three waves, two seconds apart
	if d := b.Hanging(100); !d.Opens || d.Mean != 500*ms+4*time.Second+40*ms {
		t.Errorf("hang in waves: %+v", d)
	}
	b.Limit = 1
	if d := b.Hanging(100); d.Opens || d.Opens != breaker.CanOpenOnHang(breaker.Settings{Window: b.Window, MinCalls: 20}, 1, b.Timeout) {
		t.Errorf("one at a time: %+v", d)
	}
}

func TestLint(t *testing.T) {
	good := sizing.Room{
		Present: sizing.Present{Bulkhead: "orders", Setting: sizing.Setting{Limit: 32, Queue: 16, QueueTimeout: time.Second}, Workers: 2},
		Breaker: sizing.BreakerSetting{Window: 10 * time.Second, MinCalls: 20, FailureRatio: 0.5, SlowCall: time.Second, Timeout: 30 * time.Second, Limit: 32},
		Rate:    100, Holding: 50 * ms, UpgradeLimit: 32, WorkerMemory: 256 << 20,
	}
	house := sizing.House{Descriptors: 65536, WorkerFiles: 1024, Memory: 8 << 30, Conns: 20000}
	for _, c := range []struct {
		what   string
		change func(*sizing.House, *sizing.Room)
		want   []sizing.Rule
	}{
		{"all is well", func(*sizing.House, *sizing.Room) {}, nil},
		{"too few calls", func(_ *sizing.House, r *sizing.Room) { r.Rate = 1 }, []sizing.Rule{sizing.RuleMinCalls}},
		{"too few slow ones", func(_ *sizing.House, r *sizing.Room) {
			r.Rate, r.Limit, r.Queue, r.Breaker.SlowCall = 0, 1, 1, 5*time.Second
		}, []sizing.Rule{sizing.RuleMinCalls}},
		{"a deep queue", func(_ *sizing.House, r *sizing.Room) { r.Queue = 1000 }, []sizing.Rule{sizing.RuleQueueDepth}},
		{"a deep queue, by what is slow", func(_ *sizing.House, r *sizing.Room) { r.Queue, r.Holding = 100, 0 }, []sizing.Rule{sizing.RuleQueueDepth}},
		{"a queue without time", func(_ *sizing.House, r *sizing.Room) { r.QueueTimeout = 0 }, []sizing.Rule{sizing.RuleQueueDepth}},
		{"slow above the timeout", func(_ *sizing.House, r *sizing.Room) { r.Breaker.SlowCall = 30 * time.Second }, []sizing.Rule{sizing.RuleSlowCall}},
		{"descriptors", func(h *sizing.House, _ *sizing.Room) { h.Descriptors, h.Conns = 200, 50 }, []sizing.Rule{sizing.RuleDescriptors, sizing.RuleConns}},
		{"descriptors of a worker", func(h *sizing.House, _ *sizing.Room) { h.WorkerFiles = 128 }, []sizing.Rule{sizing.RuleDescriptors}},
		{"memory", func(_ *sizing.House, r *sizing.Room) { r.Workers = 64 }, []sizing.Rule{sizing.RuleMemory, sizing.RuleSum}},
		{"connections", func(h *sizing.House, _ *sizing.Room) { h.Descriptors = 1024 }, []sizing.Rule{sizing.RuleConns}},
		{"nothing known", func(h *sizing.House, r *sizing.Room) {
			*h, r.Rate, r.Holding, r.Breaker.SlowCall = sizing.House{}, 0, 0, 0
		}, nil},
	} {
		h, r := house, good
		c.change(&h, &r)
		h.Rooms = []sizing.Room{r}
		var got []sizing.Rule
		for _, w := range sizing.Lint(h) {
			got = append(got, w.Rule)
			if w.Text == "" || (w.Bulkhead == "") != (w.Rule == sizing.RuleSum || w.Rule == sizing.RuleConns) {
				t.Errorf("%s: %+v", c.what, w)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}
