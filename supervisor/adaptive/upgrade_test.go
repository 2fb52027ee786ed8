package adaptive_test

import (
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/adaptive"
)

func TestBeginsWithWhatWasFound(t *testing.T) {
	advise := adaptive.Settings{Mode: adaptive.Advise, Least: 8, Most: 64}
	for _, c := range []struct {
		settings         adaptive.Settings
		from             adaptive.Found
		advised, inForce int
	}{
		{auto, adaptive.Found{}, 8, 8},
		{auto, adaptive.Found{Limit: 20, Holding: 0.1}, 20, 20},
		{auto, adaptive.Found{Limit: 100, Holding: 0.1}, 64, 64}, // the bounds are others now
		{auto, adaptive.Found{Limit: 1, Holding: 0.1}, 8, 8},
		{advise, adaptive.Found{Limit: 20, Holding: 0.1}, 20, 64},
	} {
		l := adaptive.New(c.settings, c.from, func(int) { t.Error("a change before there is any request") })
		if s := l.Stats(time.Now()); s.Limit != c.advised || s.State != adaptive.Learning || l.InForce() != c.inForce {
			t.Errorf("%v from %+v: %d, %s, in force %d", c.settings, c.from, s.Limit, s.State, l.InForce())
		}
		if got := l.Found(); c.from.Limit == 0 && got != (adaptive.Found{}) || c.from.Limit > 0 && got != (adaptive.Found{Limit: c.advised, Holding: 0.1}) {
			t.Errorf("%v from %+v passes on %+v", c.settings, c.from, got)
		}
	}
}

// Under full load one process after another takes over: none begins at the lower
// bound, and none takes the waits at the limit of the one before for the backend.
func TestUpgradesKeepTheLimit(t *testing.T) {
	in(t, auto, backend{capacity: 16, takes: exponential(100 * time.Millisecond)}, 220, func(t *testing.T, w *world) {
		w.run(5 * time.Minute)
		before := w.run(5 * time.Minute)
		w.wantMean(before, "before", 15, 26)
		for range 6 {
			w.upgrade(auto)
			f := w.run(5 * time.Minute)
			w.wantMean(f, "after an upgrade", 0.75*before.area, 1.25*before.area)
			if f.least < 14 || f.most > 27 {
				t.Errorf("from %d to %d", f.least, f.most)
			}
		}
	})
}

// What a successor learns in an incident is no reason to let more in, and leaves no
// trace.
func TestUpgradeInAnIncident(t *testing.T) {
	in(t, auto, backend{capacity: 16, takes: exponential(100 * time.Millisecond)}, 220, func(t *testing.T, w *world) {
		w.run(5 * time.Minute)
		before := w.run(5 * time.Minute)
		w.backend.takes = exponential(time.Second)
		w.run(30 * time.Second)
		w.upgrade(auto)
		at := w.inForce
		w.run(time.Minute)
		w.upgrade(auto)
		if f := w.run(15 * time.Minute); f.most > at {
			t.Errorf("%d in force when it took over, later %d", at, f.most)
		}
		w.backend.takes = exponential(100 * time.Millisecond)
		w.run(3 * time.Minute)
		w.wantMean(w.run(5*time.Minute), "after it", 0.75*before.area, 1.35*before.area)
	})
}

// With a backend that takes it all, a successor goes on to grow.
func TestUpgradeWithRoom(t *testing.T) {
	in(t, auto, backend{capacity: 1000, takes: exponential(100 * time.Millisecond)}, 120, func(t *testing.T, w *world) {
		w.run(5 * time.Minute)
		w.upgrade(auto)
		w.rate = 700
		w.run(3 * time.Minute)
		w.wantMean(w.run(5*time.Minute), "70 wanted", 50, 64)
	})
}

// Advice that more is in flight than it would allow all the time says that it is none,
// and goes on when it is less.
func TestBlindAdvice(t *testing.T) {
	advise := adaptive.Settings{Mode: adaptive.Advise, Least: 8, Most: 64}
	in(t, advise, backend{capacity: 1000, takes: always(100 * time.Millisecond)}, 300, func(t *testing.T, w *world) {
		w.run(time.Second)
		if s := w.limit.Stats(time.Now()); s.State != adaptive.Learning {
			t.Errorf("at first: %s", s.State)
		}
		w.run(10 * time.Minute)
		if s := w.limit.Stats(time.Now()); s.State != adaptive.Blind || s.Limit != 8 || !s.AtBound.IsZero() {
			t.Errorf("with 30 in flight: %+v", s)
		}
		w.rate = 60
		w.run(5 * time.Minute)
		if s := w.limit.Stats(time.Now()); s.State != adaptive.Following || s.Limit <= 8 {
			t.Errorf("with 6 in flight: %+v", s)
		}
	})
}
