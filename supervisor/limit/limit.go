// Package limit is the one queue on a request's way: a Limiter admits a bounded
// number of calls, lets a bounded number more wait in line, and refuses the rest
// at once.
//
// # Order
//
// The line is first in, first out, because the formulas that size a bulkhead
// (Little's law, M/M/c) assume it, and because a newcomer that overtakes makes
// the longest wait unbounded. One invariant gives both the order and the short
// hot path:
//
//	somebody waits  =>  no slot is free
//
// A slot that comes free is handed to the head of the line inside the same
// critical section, so it is never seen as free by a newcomer. Hence "is a slot
// free?" is the only question of an uncontended Acquire.
//
// # Who owns a slot
//
// A slot belongs to the caller from the nil of Acquire (or the true of
// TryAcquire) until its Release. A waiter that gives up, because its time is
// over or its context done, may have been handed a slot at the same moment; it
// then either keeps it and returns nil, or passes it on. Either way the slot is
// not lost.
package limit

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"
)

// The conditions of a refusal.
var (
	// ErrFull: no slot was free and the caller could not wait, because the queue
	// was full or because it gave no time.
	ErrFull = errors.New("limit: no free slot and no room in the queue")
	// ErrTimeout: the caller waited its time and got no slot.
	ErrTimeout = errors.New("limit: no free slot within the queue time")
)

// Limiter admits at most limit calls at a time and queues at most queue more.
// It is safe for concurrent use and runs no goroutine. Make one with New.
type Limiter struct {
	mu       sync.Mutex
	limit    int
	queue    int
	inFlight int
	line     list.List // of *waiter; not empty => inFlight >= limit
}

// A waiter is one call in the line. Closing granted hands it a slot; whoever
// closes it has taken the waiter out of the line and set at.
type waiter struct {
	granted chan struct{}
	at      time.Time // of the grant
	since   time.Time // it waits
}

// New returns a Limiter with limit slots and queue places in its line. A limit
// of 0 admits nothing until Resize; a queue of 0 admits or refuses at once. It
// panics on a negative value.
func New(limit, queue int) *Limiter {
	mustNotBeNegative(limit, queue)
	return &Limiter{limit: limit, queue: queue}
}

// Acquire takes a slot, waiting in line for at most wait and no longer than ctx.
// The error is nil when the caller holds a slot, which it must Release; ErrFull;
// ErrTimeout; or context.Cause(ctx) when ctx was done first. A ctx that is done
// already gets no slot, not even a free one: nobody is there to use it. With
// wait 0 or less the call never waits.
//
// The slot is held since the time returned. For one who waited that is the grant,
// which is before it runs again: on a busy machine by much, and as long nobody
// else has the slot.
//
// A free slot costs one critical section: no allocation, no timer.
func (l *Limiter) Acquire(ctx context.Context, wait time.Duration) (since time.Time, err error) {
	if ctx.Err() != nil {
		return time.Time{}, context.Cause(ctx)
	}
	l.mu.Lock()
	if l.inFlight < l.limit {
		l.inFlight++
		l.mu.Unlock()
		return time.Now(), nil
	}
	if wait <= 0 || l.line.Len() >= l.queue {
		l.mu.Unlock()
		return time.Time{}, ErrFull
	}
	w := &waiter{granted: make(chan struct{}), since: time.Now()}
	place := l.line.PushBack(w)
	l.mu.Unlock()

	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-w.granted:
		if ctx.Err() != nil { // both were ready: a caller that left has no use for the slot
			l.Release()
			return time.Time{}, context.Cause(ctx)
		}
		return w.at, nil
	case <-ctx.Done():
		if !l.leave(place) {
			l.Release()
		}
		return time.Time{}, context.Cause(ctx)
	case <-timer.C:
		if !l.leave(place) {
			return w.at, nil // granted as the time ran out: somebody is there, so use it
		}
		return time.Time{}, ErrTimeout
	}
}

// leave takes a waiter out of the line, or reports false when it has been
// granted a slot, which it then owns.
func (l *Limiter) leave(place *list.Element) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-place.Value.(*waiter).granted:
		return false
	default:
		l.line.Remove(place)
		return true
	}
}

// TryAcquire takes a slot if one is free and reports whether it did. It never
// overtakes a waiter.
func (l *Limiter) TryAcquire() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inFlight >= l.limit {
		return false
	}
	l.inFlight++
	return true
}

// Release gives one slot back, to the head of the line if there is one. It
// panics when no slot is held.
func (l *Limiter) Release() {
	l.mu.Lock()
	if l.inFlight == 0 {
		l.mu.Unlock()
		panic("limit: Release without Acquire")
	}
	l.inFlight--
	l.grant()
	l.mu.Unlock()
}

// Resize changes the limit and the queue. Slots that are new go to the waiters
// at once, in their order. When the limit shrinks, calls in flight finish and
// nobody is admitted until enough have; when the queue shrinks, those in line
// stay and only newcomers are refused. It panics on a negative value.
func (l *Limiter) Resize(limit, queue int) {
	mustNotBeNegative(limit, queue)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit, l.queue = limit, queue
	l.grant()
}

// SetLimit is Resize for the limit alone.
func (l *Limiter) SetLimit(limit int) {
	mustNotBeNegative(limit, 0)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit = limit
	l.grant()
}

// SetQueue is Resize for the queue alone.
func (l *Limiter) SetQueue(queue int) {
	mustNotBeNegative(0, queue)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = queue
}

// grant hands free slots to the head of the line; mu is held.
func (l *Limiter) grant() {
	for l.inFlight < l.limit {
		head := l.line.Front()
		if head == nil {
			return
		}
		l.line.Remove(head)
		l.inFlight++
		w := head.Value.(*waiter)
		w.at = time.Now()
		close(w.granted)
	}
}

// Stats is a snapshot of a Limiter.
type Stats struct {
	Limit    int           // slots
	Queue    int           // places in the line
	InFlight int           // slots held; above Limit for a while after it shrank
	Depth    int           // calls in line; above Queue for a while after it shrank
	Oldest   time.Duration // how long the head of the line has waited; 0 when nobody waits
}

// Stats returns a snapshot as of now.
func (l *Limiter) Stats(now time.Time) Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Stats{Limit: l.limit, Queue: l.queue, InFlight: l.inFlight, Depth: l.line.Len()}
	if head := l.line.Front(); head != nil {
		s.Oldest = max(0, now.Sub(head.Value.(*waiter).since))
	}
	return s
}

func mustNotBeNegative(limit, queue int) {
	if limit < 0 || queue < 0 {
		panic("limit: negative limit or queue")
	}
}
