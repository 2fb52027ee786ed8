package breaker

import (
	"fmt"
	"time"
)

// Settings of a Breaker. All are needed; New panics on values that make no sense.
type Settings struct {
	Window       time.Duration // how far back calls count, above 0
	MinCalls     int           // calls in the window before a ratio means anything, at least 1
	FailureRatio float64       // (0,1]: opens when failures/calls reaches it
	SlowCall     time.Duration // a call that takes longer is slow; 0: none is
	SlowRatio    float64       // (0,1]: opens when slow/calls reaches it
	OpenFor      time.Duration // open until then, then half-open, above 0
	Probes       int           // calls let through half-open, at least 1
}

// check panics on settings that make no sense: they are a mistake of the
// program, which has checked its configuration before.
func (s Settings) check() {
	ratio := func(r float64) bool { return r > 0 && r <= 1 } // false for NaN
	switch {
	case s.Window <= 0, s.MinCalls < 1, !ratio(s.FailureRatio), s.OpenFor <= 0, s.Probes < 1,
		s.SlowCall < 0, !ratio(s.SlowRatio):
		panic(fmt.Sprintf("breaker: senseless settings %+v", s))
	}
}

// CanOpenOnHang says whether a backend that suddenly answers nothing at all
// would open the breaker: whether limit calls in flight, each of them counted
// once within its timeout, gather MinCalls results within Window.
//
// Each of the limit slots is held for timeout and then taken anew, so results
// come in waves of limit, timeout apart, of which a window holds
// ceil(Window/timeout) for certain: a wave exactly at its edge comes too late,
// since a slot is not taken again in no time. SlowCall moves a wave forward but
// not the waves apart. MinCalls results in a row open the breaker whatever else
// the window holds, so the ratios do not matter.
//
// A timeout of 0 or less means that calls never time out: then only SlowCall
// counts them, and each slot counts once.
func CanOpenOnHang(s Settings, limit int, timeout time.Duration) bool {
	if limit < 1 {
		return false
	}
	if timeout <= 0 {
		return s.SlowCall > 0 && limit >= s.MinCalls
	}
	wavesNeeded := (s.MinCalls-1)/limit + 1
	waves := int64((s.Window-1)/timeout) + 1
	return waves >= int64(wavesNeeded)
}

// Mode says who decides.
type Mode string

const (
	Auto    Mode = "auto"    // the breaker
	Open    Mode = "open"    // an operator: refuse all
	Closed  Mode = "closed"  // an operator: admit all
	Observe Mode = "observe" // count and report, refuse none
)
