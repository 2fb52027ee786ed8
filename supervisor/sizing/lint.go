package sizing

import (
	"fmt"
	"math"
	"time"
)

// House is what Lint looks at: the machine and the bulkheads on it. Figures that
// are 0 are not known, and rules that need them say nothing.
type House struct {
	Descriptors uint64 // that the supervisor may have open
	WorkerFiles uint64 // that one worker may have open
	Memory      uint64 // bytes of the machine, or of the control group
	Conns       int    // COORDINATOR_CONNS
	Rooms       []Room
}

// Room is one bulkhead of a House.
type Room struct {
	Present
	UpgradeLimit int
	WorkerMemory uint64 // hard limit of one worker, bytes
	Breaker      BreakerSetting
	SlowRatio    float64
	Rate         float64       // calls per second, measured
	Holding      time.Duration // mean, measured
}

// Warning is what Lint has to say about one setting. The house as a whole is
// Bulkhead "".
type Warning struct {
	Bulkhead string `json:"bulkhead,omitempty"`
	Rule     Rule   `json:"rule"`
	Text     string `json:"text"`
}

// Rule names a rule of Lint.
type Rule string

const (
	RuleMinCalls    Rule = "min-calls"     // more than the window can hold
	RuleQueueDepth  Rule = "queue-depth"   // deeper than its deadline
	RuleSlowCall    Rule = "slow-call"     // above the timeout
	RuleDescriptors Rule = "descriptors"   // more in flight than a process may have open
	RuleMemory      Rule = "memory"        // more in flight than memory holds
	RuleSum         Rule = "sum-of-limits" // all bulkheads together, above the machine
	RuleConns       Rule = "connections"   // the same, with those of all clients
)

// What a request takes while it is in flight. The supervisor has the client's
// connection and the worker's, a worker the supervisor's and the backend's; what
// is buffered of a request in the supervisor is at most 64 KiB of the answer and
// as much for its two connections and its goroutines.
const (
	supervisorFiles = 2
	workerFiles     = 2
	spareFiles      = 100 // listeners, log, control plane
	requestMemory   = 128 << 10
)

// Lint finds settings that are allowed and cannot do what they seem to say. The
// order is that of the rooms, then the house.
func Lint(h House) []Warning {
	var found []Warning
	for _, r := range h.Rooms {
		for _, w := range r.lint(h) {
			w.Bulkhead = r.Bulkhead
			found = append(found, w)
		}
	}
	return append(found, h.sum()...)
}

func (r Room) lint(h House) (found []Warning) {
	warn := func(rule Rule, format string, args ...any) {
		found = append(found, Warning{Rule: rule, Text: fmt.Sprintf(format, args...)})
	}
	b := r.Breaker
	if held, of := r.windowHolds(); held < float64(b.MinCalls) && of != "" {
		warn(RuleMinCalls, "BREAKER_MIN_CALLS is %d, and BREAKER_WINDOW of %v holds %.0f calls %s: the ratio never counts",
			b.MinCalls, b.Window, math.Floor(held), of)
	}
	if n, holding := r.servedInTime(); r.places() > n && holding > 0 {
		warn(RuleQueueDepth, "QUEUE is %d, and with calls of %v no more than %d of them are served within QUEUE_TIMEOUT of %v",
			r.Queue, holding, n, r.QueueTimeout)
	}
	if r.Queue > 0 && r.QueueTimeout <= 0 {
		warn(RuleQueueDepth, "QUEUE is %d and QUEUE_TIMEOUT 0: nobody ever waits", r.Queue)
	}
	if b.SlowCall > 0 && b.Timeout > 0 && b.SlowCall >= b.Timeout {
		warn(RuleSlowCall, "BREAKER_SLOW_CALL is %v and TIMEOUT %v: a call is cut off before it is slow", b.SlowCall, b.Timeout)
	}
	flight := uint64(max(r.Limit, 0) + max(r.UpgradeLimit, 0))
	if need := supervisorFiles*flight + spareFiles; h.Descriptors > 0 && need > h.Descriptors {
		warn(RuleDescriptors, "%d requests and upgrades in flight need %d open files in the supervisor, which may have %d", flight, need, h.Descriptors)
	}
	if need := workerFiles*flight + spareFiles; h.WorkerFiles > 0 && need > h.WorkerFiles {
		warn(RuleDescriptors, "one worker may have to take all %d in flight, with %d open files; it may have %d", flight, need, h.WorkerFiles)
	}
	if need := r.memory(); h.Memory > 0 && need > h.Memory {
		warn(RuleMemory, "its workers may take %s and its requests %s in the supervisor, and there are %s",
			mebibytes(r.workersMemory()), mebibytes(flight*requestMemory), mebibytes(h.Memory))
	}
	return found
}

// windowHolds is how many calls the breaker's window can be expected to hold: at
// the measured rate, or else when all of them are just slow.
func (r Room) windowHolds() (calls float64, of string) {
	w := r.Breaker.Window
	switch {
	case r.Rate > 0:
		return r.Rate * w.Seconds(), fmt.Sprintf("at %.3g a second", r.Rate)
	case r.Breaker.SlowCall > 0 && r.Limit > 0:
		return float64(r.Limit) * math.Ceil(w.Seconds()/r.Breaker.SlowCall.Seconds()), "as slow as BREAKER_SLOW_CALL"
	}
	return 0, ""
}

// servedInTime is how many of a line are served within the timeout while all slots
// are busy, by the measured holding time, or else by that which counts as slow.
func (r Room) servedInTime() (n int, holding time.Duration) {
	if holding = r.Holding; holding <= 0 {
		holding = r.Breaker.SlowCall
	}
	if holding <= 0 || r.Limit < 1 {
		return 0, 0
	}
	return int(min(float64(r.Limit)*r.QueueTimeout.Seconds()/holding.Seconds(), mostSlots)), holding
}

func (r Room) workersMemory() uint64 { return uint64(max(r.Workers, 0)) * r.WorkerMemory }

func (r Room) memory() uint64 {
	return r.workersMemory() + requestMemory*uint64(max(r.Limit, 0)+max(r.UpgradeLimit, 0))
}

// sum looks at all bulkheads together. What one alone exceeds is said there, and
// here again: the sum has to come down all the same.
func (h House) sum() (found []Warning) {
	var flight, memory uint64
	for _, r := range h.Rooms {
		flight += uint64(max(r.Limit, 0) + max(r.UpgradeLimit, 0))
		memory += r.memory()
	}
	// Of clients there are Conns at most, idle ones included; of workers' connections one for each in flight.
	if need := uint64(max(h.Conns, 0)) + flight + spareFiles; h.Descriptors > 0 && need > h.Descriptors {
		found = append(found, Warning{Rule: RuleConns, Text: fmt.Sprintf(
			"COORDINATOR_CONNS of %d and %d in flight over all bulkheads need %d open files, and the supervisor may have %d",
			h.Conns, flight, need, h.Descriptors)})
	}
	if h.Memory > 0 && memory > h.Memory {
		found = append(found, Warning{Rule: RuleSum, Text: fmt.Sprintf(
			"workers and requests of all bulkheads may take %s, and there are %s", mebibytes(memory), mebibytes(h.Memory))})
	}
	return found
}

func mebibytes(n uint64) string { return fmt.Sprintf("%dMiB", (n+1<<20-1)>>20) }
