package adaptive_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"commerce.example/coordinator/supervisor/adaptive"
)

var auto = adaptive.Settings{Mode: adaptive.Auto, Least: 8, Most: 64}

// in runs a test where time passes as fast as it can.
func in(t *testing.T, s adaptive.Settings, b backend, rate float64, test func(t *testing.T, w *world)) {
	if testing.Short() {
		t.Skip("a simulation, of one goroutine: minutes under the race detector, which finds nothing in it")
	}
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t, s, b, rate)) })
}

func (w *world) wantMean(f figures, what string, least, most float64) {
	w.t.Helper()
	w.t.Logf("%s: limit %.1f (%d to %d), %d answered, %d refused, %d timed out, %d changes, p99 %v",
		what, f.area, f.least, f.most, f.answered, f.refused, f.timedOut, f.changes, f.p99())
	if f.area < least || f.area > most {
		w.t.Errorf("%s: limit %.1f in the mean, want %v to %v", what, f.area, least, most)
	}
}

func (f figures) p99() time.Duration {
	if len(f.held) == 0 {
		return 0
	}
	slices.Sort(f.held)
	return f.held[len(f.held)*99/100]
}

// What Vegas and Gradient2 publish of themselves: with a backend that works on C at
// a time, Vegas rests where between alpha and beta requests wait, from C+3 to C+6;
// Gradient2, whose limit is L*C/L plus a root of L, where L = C + sqrt(L), at 20.5
// for 16.
func TestRestsWhereVegasAndGradientDo(t *testing.T) {
	for name, takes := range map[string]func(*rand.Rand) time.Duration{
		"constant":                always(100 * time.Millisecond),
		"exponential":             exponential(100 * time.Millisecond),
		"log-normal":              logNormal(60*time.Millisecond, 1),
		"one in ten takes longer": mostly(20*time.Millisecond, 0.1, 800*time.Millisecond),
	} {
		t.Run(name, func(t *testing.T) {
			in(t, auto, backend{capacity: 16, takes: takes}, 300, func(t *testing.T, w *world) {
				w.run(2 * time.Minute)
				w.wantMean(w.run(4*time.Minute), "twice the load", 15, 24)
			})
		})
	}
}
