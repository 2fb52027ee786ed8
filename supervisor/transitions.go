package supervisor

import (
	"fmt"
	"sync"
	"time"
)

// notedEntries is how many a bulkhead remembers of each kind.
const notedEntries = 32

// Transition is a change that somebody who looks at a bulkhead wants to know of.
type Transition struct {
	At   time.Time `json:"at"`
	Kind string    `json:"kind"` // breaker, worker, fallback, operator, poison
	What string    `json:"what"` // such as "breaker open"
	Why  string    `json:"why,omitempty"`
}

// SlowRequest is an entry of the slow log. No query, field or body is in it.
type SlowRequest struct {
	At        time.Time `json:"at"`
	RequestID string    `json:"request_id"`
	Method    string    `json:"method"`
	Path      string    `json:"path"`
	AgeMS     int64     `json:"age_ms"`
	Stage     string    `json:"stage"`
	Slot      *int      `json:"slot,omitempty"` // nil: no worker had it
	Evidence  string    `json:"evidence,omitempty"`
}

// noted is what is remembered of a bulkhead, for the console: the last
// notedEntries of each kind. The log has all of it. Safe for concurrent use; no
// request touches it.
type noted struct {
	mu          sync.Mutex
	count       uint64 // of all that there ever were: what a reader compares
	transitions []Transition
	slow        []SlowRequest
}

// transition notes one that happened now.
func (n *noted) transition(kind, what, why string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.count++
	n.transitions = keepLast(n.transitions, Transition{time.Now(), kind, what, why})
}

// worker notes what happened in a slot.
func (n *noted) worker(slot int, what string, err error) {
	why := ""
	if err != nil {
		why = err.Error()
	}
	n.transition("worker", fmt.Sprintf("slot %d: %s", slot, what), why)
}

func (n *noted) slowRequest(r SlowRequest) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.count++
	n.slow = keepLast(n.slow, r)
}

func (n *noted) many() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.count
}

// both are copies, the newest first, and never nil.
func (n *noted) both() ([]Transition, []SlowRequest) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return newestFirst(n.transitions), newestFirst(n.slow)
}

func keepLast[T any](list []T, entry T) []T {
	if len(list) >= notedEntries {
		copy(list, list[1:])
		list = list[:notedEntries-1]
	}
	return append(list, entry)
}

func newestFirst[T any](list []T) []T {
	reversed := make([]T, len(list))
	for i, entry := range list {
		reversed[len(list)-1-i] = entry
	}
	return reversed
}
