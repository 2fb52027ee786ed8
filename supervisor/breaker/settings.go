package breaker

import "time"

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

// Mode says who decides.
type Mode string

const (
	Auto    Mode = "auto"    // the breaker
	Open    Mode = "open"    // an operator: refuse all
	Closed  Mode = "closed"  // an operator: admit all
	Observe Mode = "observe" // count and report, refuse none
)
