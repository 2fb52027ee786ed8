package exchange

import "time"

// Drill is how a backend is to seem to fail, for practice. A transport plays it
// where it would have called the backend, so that all behind it is real: the
// reasons, the breaker, the slots.
type Drill struct {
	// Fault is what seems to happen: BackendRefused (nothing is sent) or
	// BackendProtocol (garbage comes back). Empty: the backend is only slow.
	Fault Fault
	// Delay is how long the backend seems to take before anything else.
	Delay time.Duration
	// Until ends the drill, and a delay with it.
	Until time.Time
}

// Driller is what a Reporter implements to have drills. A transport asks it
// once in an exchange, before it connects.
type Driller interface {
	// Drill is the one that is on; nil: none is. It may be called from any
	// goroutine.
	Drill() *Drill
}
