package breaker_test

import (
	"math"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/breaker"
)

func TestModes(t *testing.T) {
	fail := func(b *rig, n int) {
		for range n {
			b.call(ms, bad)
		}
	}
	t.Run("open refuses all", func(t *testing.T) {
		b := start(t, published)
		inFlight := b.admit()
		b.SetMode(b.now, breaker.Open)
		b.want(breaker.StateForcedOpen, "mode set to open")
		inFlight.Done(b.now, bad)
		b.pass(time.Hour)
		b.refused()
		b.SetMode(b.now, breaker.Auto)
		b.want(breaker.StateClosed, "mode set to auto")
		b.call(ms, good)
		b.wantCounts(1, 0, 0)
	})
	t.Run("closed admits all", func(t *testing.T) {
		b := start(t, published)
		b.SetMode(b.now, breaker.Closed)
		fail(b, 50)
		b.want(breaker.StateForcedClosed, "mode set to closed")
		b.wantCounts(50, 50, 0)
		if b.RetryAfter(b.now) != 0 {
			t.Error("RetryAfter where nothing is refused")
		}
		b.SetMode(b.now, breaker.Auto)
		b.wantCounts(0, 0, 0)
		fail(b, 5)
		b.want(breaker.StateOpen, "")
	})
	t.Run("observe reports and admits", func(t *testing.T) {
		b := start(t, published)
		b.SetMode(b.now, breaker.Observe)
		b.want(breaker.StateObserveClosed, "mode set to observe")
		fail(b, 5)
		b.want(breaker.StateObserveOpen, "5 of 5 calls failed (100 %, limit 50 %)")
		fail(b, 20)
		b.wantCounts(5, 5, 0) // Auto would not have made the other 20
		b.pass(5 * time.Second)
		for range 4 {
			b.admit()
		}
		b.want(breaker.StateObserveHalfOpen, "")
		beyond := b.admit()
		beyond.Done(b.now, bad)
		b.wantCounts(0, 0, 0)
		b.pass(time.Second)
		b.call(ms, good, good, good, good)
		b.want(breaker.StateObserveClosed, "")
		got := b.Stats(b.now).Transitions
		want := [breaker.NumStates]uint64{
			breaker.StateObserveClosed: 2, breaker.StateObserveOpen: 1, breaker.StateObserveHalfOpen: 1,
		}
		if got != want {
			t.Errorf("transitions %v, want %v", got, want)
		}
	})
	t.Run("the same mode changes nothing", func(t *testing.T) {
		b := opened(t)
		b.SetMode(b.now, breaker.Auto)
		b.want(breaker.StateOpen, "")
	})
}

func TestConfigure(t *testing.T) {
	t.Run("stays open, for as long as now configured", func(t *testing.T) {
		b := opened(t)
		s := published
		s.OpenFor, s.Window = time.Second, time.Minute
		b.Configure(b.now, s)
		b.refused()
		b.pass(time.Second)
		b.want(breaker.StateHalfOpen, "was open for 1s")
	})
	t.Run("keeps the counts, judged anew", func(t *testing.T) {
		b := start(t, published)
		b.call(ms, bad, bad, good, good)
		s := published
		s.MinCalls = 4
		b.Configure(b.now, s)
		b.want(breaker.StateOpen, "2 of 4 calls failed (50 %, limit 50 %)")
	})
	t.Run("another window starts empty", func(t *testing.T) {
		b := start(t, published)
		overdue := b.admit()
		b.pass(4 * time.Second)
		overdue.Overdue(b.now)
		b.call(ms, bad, bad)
		s := published
		s.Window = time.Minute
		b.Configure(b.now, s)
		b.wantCounts(0, 0, 0)
		overdue.Done(b.now, bad)
		b.wantCounts(1, 1, 1)
	})
	t.Run("fewer probes than results", func(t *testing.T) {
		b := opened(t)
		b.pass(5 * time.Second)
		b.call(ms, good, good)
		s := published
		s.Probes = 2
		b.Configure(b.now, s)
		b.want(breaker.StateClosed, "0 of 2 probes failed (0 %, limit 50 %)")
	})
	t.Run("more probes", func(t *testing.T) {
		b := opened(t)
		b.pass(5 * time.Second)
		for range 4 {
			b.admit()
		}
		s := published
		s.Probes = 9
		b.Configure(b.now, s)
		for range 5 {
			b.admit()
		}
		b.refused()
	})
}

func TestClockThatRunsBackwards(t *testing.T) {
	t.Run("a little: counts now", func(t *testing.T) {
		b := start(t, published)
		b.pass(time.Second)
		b.call(0, bad, bad, bad)
		b.pass(-1500 * ms)
		b.call(0, bad, bad)
		b.want(breaker.StateOpen, "")
		b.pass(-time.Second)
		b.refused()
	})
	t.Run("a day: the window goes on from there", func(t *testing.T) {
		b := start(t, published)
		b.call(ms, bad, bad, bad)
		b.pass(-24 * time.Hour)
		b.wantCounts(0, 0, 0)
		b.call(ms, bad, bad)
		b.pass(21 * time.Second)
		b.wantCounts(0, 0, 0)
	})
	t.Run("a day while open: open for OpenFor from there", func(t *testing.T) {
		b := opened(t)
		b.pass(-24 * time.Hour)
		b.refused()
		b.pass(5 * time.Second)
		b.admit()
	})
	t.Run("a day while half-open: hung probes are let go", func(t *testing.T) {
		b := opened(t)
		b.pass(5 * time.Second)
		for range 4 {
			b.admit()
		}
		b.refused()
		b.pass(-24 * time.Hour)
		b.call(-time.Hour, good, good, good, good)
		b.want(breaker.StateClosed, "")
	})
}

func TestZeroTicketDoesNothing(t *testing.T) {
	var ticket breaker.Ticket
	ticket.Overdue(time.Now())
	ticket.Done(time.Now(), bad)
}

func TestSenselessSettingsPanic(t *testing.T) {
	for name, spoil := range map[string]func(*breaker.Settings){
		"window":        func(s *breaker.Settings) { s.Window = 0 },
		"min calls":     func(s *breaker.Settings) { s.MinCalls = 0 },
		"ratio 0":       func(s *breaker.Settings) { s.FailureRatio = 0 },
		"ratio above 1": func(s *breaker.Settings) { s.SlowRatio = 1.1 },
		"ratio NaN":     func(s *breaker.Settings) { s.FailureRatio = math.NaN() },
		"slow call":     func(s *breaker.Settings) { s.SlowCall = -1 },
		"open for":      func(s *breaker.Settings) { s.OpenFor = 0 },
		"probes":        func(s *breaker.Settings) { s.Probes = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			s := published
			spoil(&s)
			mustPanic(t, func() { breaker.New(s, time.Now()) })
			mustPanic(t, func() { breaker.New(published, time.Now()).Configure(time.Now(), s) })
		})
	}
	mustPanic(t, func() { breaker.New(published, time.Now()).SetMode(time.Now(), "ajar") })
}

func mustPanic(t *testing.T, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	f()
}

// The smallest window is still a window.
func TestWindowOfANanosecond(t *testing.T) {
	s := published
	s.Window = 1
	b := start(t, s)
	b.call(0, bad)
	b.wantCounts(1, 1, 0)
	b.pass(time.Microsecond)
	b.wantCounts(0, 0, 0)
}
