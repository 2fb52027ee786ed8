package breaker

import "time"

// State is what a Breaker does with calls, and why: the mode and the machine's
// own state in one word.
type State uint8

const (
	StateClosed          State = iota // admits all
	StateOpen                         // refuses all
	StateHalfOpen                     // admits a few probes
	StateObserveClosed                // admits all; would be closed
	StateObserveOpen                  // admits all; would be open
	StateObserveHalfOpen              // admits all; would be half-open
	StateForcedOpen                   // refuses all, by an operator
	StateForcedClosed                 // admits all, by an operator
)

// NumStates is the number of states: they run from 0 to NumStates-1.
const NumStates = 8

var stateNames = [NumStates]string{
	"closed", "open", "half_open", "observe_closed", "observe_open", "observe_half_open", "forced_open", "forced_closed",
}

// String is the state in lower case with underscores, fit for a metric's label.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// MarshalText is String.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// state joins the mode and the phase; mu is held.
func (b *Breaker) state() State {
	switch b.mode {
	case Open:
		return StateForcedOpen
	case Closed:
		return StateForcedClosed
	case Observe:
		return b.phase + StateObserveClosed // the observed states have the order of the real ones
	}
	return b.phase
}

// Stats is a snapshot of a Breaker.
type Stats struct {
	State State
	Mode  Mode
	Why   string    // one sentence: why it is in State, such as "27 of 32 calls failed (84 %, limit 50 %)"
	Since time.Time // when it came to State

	// RetryAfter is how long a caller that is refused should wait: see
	// Breaker.RetryAfter.
	RetryAfter time.Duration

	// Calls, and the failed and the slow among them (a call may be both), in the
	// window; while half-open, in the results of the probes. While open they are
	// the calls that led to it, as they leave the window.
	Calls, Failures, Slow int

	Transitions [NumStates]uint64 // how often each state was entered, since New
}

// Stats returns a snapshot as of now.
func (b *Breaker) Stats(now time.Time) Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tick(now)
	counts := b.window.total
	if b.phase == StateHalfOpen {
		counts = b.probing.results
	}
	return Stats{
		State:       b.state(),
		Mode:        b.mode,
		Why:         b.why,
		Since:       b.since,
		RetryAfter:  b.retryAfter(now),
		Calls:       counts.calls,
		Failures:    counts.failures,
		Slow:        counts.slow,
		Transitions: b.transitions,
	}
}

// RetryAfter is how long a caller that is refused at now should wait: until
// half-open; while half-open, the second by which the probes should have shown
// what comes next; forced open, OpenFor, for nobody knows. It is above 0 whenever
// a call may be refused, and 0 otherwise.
func (b *Breaker) RetryAfter(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tick(now)
	return b.retryAfter(now)
}

func (b *Breaker) retryAfter(now time.Time) time.Duration {
	switch b.state() {
	case StateOpen:
		return b.settings.OpenFor - now.Sub(b.since) // tick left it open: above 0
	case StateHalfOpen:
		return probePatience
	case StateForcedOpen:
		return b.settings.OpenFor
	}
	return 0
}
