package sizing

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Recorder collects the Evidence of one bulkhead, always and for every request:
// each of its three notes costs about a hundred nanoseconds, allocates nothing and
// seldom waits for another processor. It keeps an hour in buckets of ten seconds, in under
// 1 MiB, all of it taken by NewRecorder. It is safe for concurrent use and has no
// goroutine.
type Recorder struct {
	began  time.Time
	closed atomic.Bool // true: the breaker is not closed, nothing counts
	tape   atomic.Pointer[tape]

	_       [64]byte // what every request writes is apart from what it reads
	flight  atomic.Int64
	_       [64]byte
	arrival atomic.Int64 // of the last one, in nanoseconds since began; -1: none that counts
	_       [64]byte

	shards [numShards]shard

	mu        sync.Mutex
	ring      []bucket
	numbers   []int64   // of the buckets in ring; -1: none
	openSince time.Time // while closed is true
}

const numShards = 8

// A shard has the present bucket for a part of the requests. Which part is left
// to chance: processors then seldom meet at one lock.
type shard struct {
	mu     sync.Mutex
	number int64
	bucket
}

// NewRecorder returns a Recorder that remembers from now on.
func NewRecorder(now time.Time) *Recorder {
	r := &Recorder{began: now, ring: make([]bucket, numBuckets+1), numbers: make([]int64, numBuckets+1)}
	for i := range r.numbers {
		r.numbers[i] = -1
	}
	r.arrival.Store(-1)
	return r
}

// Ticket is one request's way through the limiter. It belongs to that request's
// goroutine, and its methods may be called once each. The zero Ticket belongs to
// no Recorder and its methods do nothing.
type Ticket struct {
	recorder *Recorder
	tape     *tape
	at       time.Time
	admitted time.Time
	others   int64 // with it in flight, itself included
	failed   bool
}

// Arrive notes that a request asks for a slot.
func (r *Recorder) Arrive(now time.Time) Ticket {
	t := Ticket{recorder: r, at: now}
	if tape := r.tape.Load(); tape != nil {
		t.tape = tape
		tape.open.Add(1)
	}
	if r.closed.Load() {
		return t
	}
	since := max(now.Sub(r.began), 0)
	last := r.arrival.Swap(int64(since))
	s := r.present(now)
	s.arrived[since%bucketLength/time.Second]++
	if last >= 0 {
		s.gaps.add(max(since-time.Duration(last), 0).Seconds())
	}
	s.mu.Unlock()
	return t
}

// Admitted notes that it got its slot.
func (t *Ticket) Admitted(now time.Time) {
	r := t.recorder
	if r == nil {
		return
	}
	t.admitted = now
	t.others = r.flight.Add(1)
	if r.closed.Load() {
		return
	}
	waited := now.Sub(t.at)
	s := r.present(now)
	s.fates[Served]++
	s.peak = max(s.peak, int32(min(t.others, 1<<30)))
	if waited < noWait {
		s.atOnce++
	} else {
		s.waits.add(waited.Seconds())
		s.waited[cellOf(waited)]++
	}
	s.mu.Unlock()
}

// noWait is what it takes to be admitted at once.
const noWait = 50 * time.Microsecond

// Refused notes that it got none, and why.
func (t *Ticket) Refused(now time.Time, why Fate) {
	r := t.recorder
	if r == nil {
		return
	}
	if !r.closed.Load() {
		s := r.present(now)
		s.fates[why]++
		s.mu.Unlock()
	}
	t.tape.end(t, now.Sub(t.at), 0, why)
}

// Failed notes that the breaker counts it as a failure. It does nothing once the
// slot is given back.
func (t *Ticket) Failed() { t.failed = true }

// Released notes that it gave its slot back.
func (t *Ticket) Released(now time.Time) {
	r := t.recorder
	if r == nil || t.admitted.IsZero() {
		return
	}
	r.flight.Add(-1)
	held := max(now.Sub(t.admitted), 0)
	if !r.closed.Load() {
		seconds := held.Seconds()
		s := r.present(now)
		s.holding.add(seconds)
		s.held[cellOf(held)]++
		s.crowd.add(float64(t.others), seconds)
		if t.failed {
			s.failed++
		}
		s.mu.Unlock()
	}
	t.tape.end(t, t.admitted.Sub(t.at), held, Served)
}

// Worked notes the CPU time that the workers spent since it was last noted.
func (r *Recorder) Worked(now time.Time, cpu time.Duration) {
	if r.closed.Load() {
		return
	}
	s := r.present(now)
	s.cpu += cpu.Seconds()
	s.mu.Unlock()
}

// BreakerClosed notes whether the breaker is closed. While it is not, nothing
// counts, not even time: what comes through then says nothing about the traffic.
func (r *Recorder) BreakerClosed(now time.Time, yes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed.Load() != yes {
		return
	}
	if yes {
		r.bookOpen(now)
		r.arrival.Store(-1) // the gap to the next arrival is none
	} else {
		r.openSince = now
	}
	r.closed.Store(!yes)
}

// present locks a shard whose bucket is that of now.
func (r *Recorder) present(now time.Time) *shard {
	s := &r.shards[rand.Uint32()%numShards]
	s.mu.Lock()
	if n := r.number(now); n > s.number {
		r.mu.Lock()
		r.empty(s)
		r.mu.Unlock()
		s.number = n
	}
	return s
}

func (r *Recorder) number(now time.Time) int64 { return int64(max(now.Sub(r.began), 0) / bucketLength) }

// empty moves what s holds into the ring; both locks are held.
func (r *Recorder) empty(s *shard) {
	if b := r.at(s.number); b != nil {
		b.merge(&s.bucket)
	}
	s.bucket = bucket{}
}

// at is the bucket with that number, or nil if it has left the ring; mu is held.
func (r *Recorder) at(number int64) *bucket {
	i := number % int64(len(r.ring))
	switch {
	case r.numbers[i] > number:
		return nil
	case r.numbers[i] < number:
		r.ring[i], r.numbers[i] = bucket{}, number
	}
	return &r.ring[i]
}

// bookOpen writes the time since openSince into the buckets that it lies in; mu
// is held.
func (r *Recorder) bookOpen(now time.Time) {
	from := max(r.number(r.openSince), r.number(now)-numBuckets)
	for n := from; n <= r.number(now); n++ {
		start := r.began.Add(time.Duration(n) * bucketLength)
		end := start.Add(bucketLength)
		overlap := earlier(now, end).Sub(later(r.openSince, start))
		if b := r.at(n); b != nil {
			b.breakerOn += max(overlap, 0).Seconds()
		}
	}
	r.openSince = now
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
