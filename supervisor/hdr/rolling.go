package hdr

import (
	"sync"
	"time"
)

// Rolling is the durations of the last minute. It is safe for concurrent use.
// It takes 110 KiB at most (5 histograms), and nothing for parts in which
// nothing was recorded; a Snapshot takes 22 KiB more for a moment.
type Rolling struct {
	mu    sync.Mutex
	dial  dial
	began time.Time // nothing was recorded before
	ring  [parts + 1]*Histogram
}

// NewRolling returns an empty Rolling that covers the time from now on.
func NewRolling(now time.Time) *Rolling {
	return &Rolling{dial: dial{start: now}, began: now}
}

// Record adds one duration. It allocates once per part of 15 s, for the first
// duration in it.
func (r *Rolling) Record(now time.Time, d time.Duration) {
	r.mu.Lock()
	r.turn(now)
	present := &r.ring[r.dial.at]
	if *present == nil {
		*present = new(Histogram)
	}
	(*present).Record(d)
	r.mu.Unlock()
}

// Snapshot returns the durations of the last minute, which are the caller's, and
// how many there were per second of the time that they cover: 60 to 75 s, or
// since NewRolling. A time under a second counts as one.
func (r *Rolling) Snapshot(now time.Time) (h *Histogram, perSecond float64) {
	past, present, covered := r.collect(now)
	for _, p := range past {
		present.Merge(p)
	}
	return &present, float64(present.Count()) / max(covered.Seconds(), 1)
}

// Recent returns the durations of the present part and the one before it, the last
// 15 to 30 s, which are the caller's: for who looks often and wants to see a change
// soon. It costs less than half of a Snapshot.
func (r *Rolling) Recent(now time.Time) *Histogram {
	r.mu.Lock()
	r.turn(now)
	h := new(Histogram)
	if present := r.ring[r.dial.at]; present != nil {
		*h = present.clone()
	}
	before := r.ring[(r.dial.at+parts)%(parts+1)]
	r.mu.Unlock()
	h.Merge(before) // which is never written again
	return h
}

// collect copies the present part only. The others are never written again, they
// are replaced: so they can be merged without keeping Record waiting.
func (r *Rolling) collect(now time.Time) (past [parts + 1]*Histogram, present Histogram, covered time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(now)
	past = r.ring
	if p := past[r.dial.at]; p != nil {
		present = p.clone()
		past[r.dial.at] = nil
	}
	covered = min(now.Sub(r.began), parts*partLength+now.Sub(r.dial.start))
	return past, present, covered
}

// turn forgets what is too old at now; mu is held.
func (r *Rolling) turn(now time.Time) {
	anew := r.dial.turn(now, func(at int) { r.ring[at] = nil })
	if anew {
		r.began = now
	}
}
