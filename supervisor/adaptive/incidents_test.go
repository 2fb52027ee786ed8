package adaptive_test

import (
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/adaptive"
)

// Ten minutes in which each request takes ten times as long, or the backend works
// on a quarter as many, lower the limit, do not become normal, and leave no trace.
func TestSlowIncident(t *testing.T) {
	slow := func(w *world) { w.backend.takes = exponential(time.Second) }
	narrow := func(w *world) { w.backend.capacity = 4 }
	for name, begin := range map[string]func(*world){"ten times slower": slow, "a quarter of the places": narrow} {
		t.Run(name, func(t *testing.T) {
			in(t, auto, backend{capacity: 16, takes: exponential(100 * time.Millisecond)}, 220, func(t *testing.T, w *world) {
				w.run(5 * time.Minute)
				before := w.run(5 * time.Minute)
				w.wantMean(before, "before", 15, 26)
				begin(w)
				w.run(4 * time.Minute)
				w.wantMean(w.run(6*time.Minute), "in the incident", 8, 10)
				w.backend.takes, w.backend.capacity = exponential(100*time.Millisecond), 16
				w.run(3 * time.Minute)
				w.wantMean(w.run(5*time.Minute), "after it", 0.8*before.area, 1.2*before.area)
			})
		})
	}
}

// Requests that all run out of time, each as late as the other, look like an even
// backend to who only sees how long they take.
func TestConstantTimeouts(t *testing.T) {
	in(t, auto, backend{capacity: 16, takes: exponential(100 * time.Millisecond)}, 220, func(t *testing.T, w *world) {
		w.timeout = 2 * time.Second
		w.run(5 * time.Minute)
		before := w.run(5 * time.Minute)
		w.hung = true
		f := w.run(time.Minute)
		w.wantMean(f, "a minute of timeouts", 8, before.area)
		if f.most > before.most {
			t.Errorf("timeouts raised it to %d", f.most)
		}
		w.wantMean(w.run(10*time.Minute), "ten minutes", 8, 8)
		w.hung = false
		w.work(time.Now())
		w.run(3 * time.Minute)
		w.wantMean(w.run(5*time.Minute), "after them", 0.8*before.area, 1.2*before.area)
	})
}

// A backend that hangs from the start teaches nothing.
func TestTimeoutsAreNotLearned(t *testing.T) {
	in(t, auto, backend{capacity: 16, takes: exponential(100 * time.Millisecond)}, 220, func(t *testing.T, w *world) {
		w.timeout, w.hung = 2*time.Second, true
		f := w.run(10 * time.Minute)
		w.wantMean(f, "timeouts", 8, 8)
		if s := w.limit.Stats(time.Now()); s.State != adaptive.Learning || f.changes > 0 {
			t.Errorf("%s, %d changes", s.State, f.changes)
		}
		w.hung = false
		w.work(time.Now())
		w.run(3 * time.Minute)
		w.wantMean(w.run(5*time.Minute), "after them", 15, 26)
	})
}

// What is in use is far below the limit: it stays.
func TestLowTraffic(t *testing.T) {
	in(t, auto, backend{capacity: 16, takes: exponential(100 * time.Millisecond)}, 2, func(t *testing.T, w *world) {
		if f := w.run(2 * time.Hour); f.changes > 0 {
			t.Errorf("from %d to %d for one request in flight", f.least, f.most)
		}
		w.rate = 220
		w.run(3 * time.Minute)
		busy := w.run(5 * time.Minute)
		w.wantMean(busy, "busy", 15, 26)
		w.rate = 2
		w.run(time.Second)
		if f := w.run(2 * time.Hour); f.changes > 0 {
			t.Errorf("from %d to %d for one request in flight", f.least, f.most)
		}
	})
}

// A limit is at most about twice what is used of it.
func TestDoesNotGrowBeyondTheDemand(t *testing.T) {
	in(t, auto, backend{capacity: 1000, takes: exponential(100 * time.Millisecond)}, 120, func(t *testing.T, w *world) {
		w.run(5 * time.Minute)
		w.wantMean(w.run(10*time.Minute), "12 in flight", 20, 50)
	})
}

// With a backend that takes it all, the demand decides, up to the bound.
func TestGrowsToItsBound(t *testing.T) {
	in(t, auto, backend{capacity: 1000, takes: exponential(100 * time.Millisecond)}, 700, func(t *testing.T, w *world) {
		w.run(3 * time.Minute)
		f := w.run(5 * time.Minute)
		w.wantMean(f, "70 wanted", 50, 64)
		if float64(f.changes) > 5*(5*time.Minute).Seconds() {
			t.Errorf("%d changes in 5 min", f.changes)
		}
	})
}

// A burst fills what there is. It is no reason to shrink, nor for long to grow.
func TestBursts(t *testing.T) {
	in(t, auto, backend{capacity: 16, takes: exponential(100 * time.Millisecond)}, 100, func(t *testing.T, w *world) {
		w.run(10 * time.Minute)
		all := figures{least: w.inForce, most: w.inForce}
		for range 60 {
			w.rate = 2000
			burst := w.run(2 * time.Second)
			w.rate = 100
			quiet := w.run(28 * time.Second)
			all.least, all.most = min(all.least, burst.least, quiet.least), max(all.most, burst.most, quiet.most)
			all.refused += quiet.refused
			all.answered += quiet.answered
		}
		t.Logf("limit from %d to %d; between the bursts %d answered, %d refused", all.least, all.most, all.answered, all.refused)
		if all.least < 14 || all.most > 40 {
			t.Errorf("limit from %d to %d", all.least, all.most)
		}
		if all.refused*50 > all.answered {
			t.Errorf("%d of %d refused between the bursts", all.refused, all.answered)
		}
	})
}

// What lasts is how the backend is now: after an hour it is learned anew.
func TestLastingChange(t *testing.T) {
	if testing.Short() {
		t.Skip("two hours")
	}
	in(t, auto, backend{capacity: 16, takes: exponential(100 * time.Millisecond)}, 220, func(t *testing.T, w *world) {
		w.run(10 * time.Minute)
		w.backend.takes = exponential(300 * time.Millisecond)
		w.run(10 * time.Minute)
		w.wantMean(w.run(40*time.Minute), "in the first hour", 8, 9)
		w.run(20 * time.Minute)
		w.wantMean(w.run(20*time.Minute), "after it", 15, 26)
	})
}

// Learned in an incident, and the incident ends.
func TestLearnedWhileSlow(t *testing.T) {
	in(t, auto, backend{capacity: 16, takes: exponential(time.Second)}, 220, func(t *testing.T, w *world) {
		w.run(20 * time.Minute)
		w.backend.takes = exponential(100 * time.Millisecond)
		w.run(10 * time.Minute)
		w.wantMean(w.run(20*time.Minute), "after it", 15, 32)
	})
}

// An advice is not followed, and is what auto would have come to.
func TestAdvice(t *testing.T) {
	advise := adaptive.Settings{Mode: adaptive.Advise, Least: 8, Most: 64}
	in(t, advise, backend{capacity: 16, takes: exponential(100 * time.Millisecond)}, 60, func(t *testing.T, w *world) {
		for range 6 { // days
			for _, w.rate = range []float64{60, 120, 150, 200, 150, 60} {
				w.run(2 * time.Minute)
			}
		}
		s := w.limit.Stats(time.Now())
		t.Logf("advice %d, %s", s.Limit, s.State)
		if s.Limit < 15 || s.Limit > 28 || w.inForce != 64 || w.changes > 0 {
			t.Errorf("advice %d; in force %d, %d changes", s.Limit, w.inForce, w.changes)
		}
	})
}
