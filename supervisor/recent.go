package supervisor

import (
	"math/bits"
	"sync"
	"time"
)

// recent is the last seconds of a bulkhead's requests, for who watches it as it
// happens: the last minute of Status is too slow to see a backend fail or come
// back. It takes 5 KiB, allocates nothing, and is safe for concurrent use.
type recent struct {
	mu    sync.Mutex
	at    int // the present part
	begun time.Time
	first time.Time // nothing was recorded before
	parts [recentParts + 1]recentPart
}

// A recentPart is how many requests of one second took how long.
type recentPart [recentBuckets]uint32

const (
	recentParts      = 4 // whole ones kept beside the present one
	recentPartLength = time.Second

	// Each power of two of microseconds has 8 buckets, so that the middle of one
	// is off by at most a sixteenth of what it stands for, or half a microsecond.
	recentFine    = 3
	recentBuckets = (27-recentFine)<<recentFine + 1<<recentFine
	recentLongest = 1<<27 - 1 // µs, 134 s; what took longer counts as that
)

func newRecent(now time.Time) *recent { return &recent{begun: now, first: now} }

// record counts a request that a worker got and that is over: what is turned away is
// fast, and says nothing of the backend.
func (r *recent) record(now time.Time, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(now)
	r.parts[r.at][recentBucket(took)]++
}

// turn empties the parts that now is the first to reach; mu is held. A now that
// was read before another's counts in the present part.
func (r *recent) turn(now time.Time) {
	steps := now.Sub(r.begun) / recentPartLength
	if steps <= 0 {
		return
	}
	r.begun = r.begun.Add(steps * recentPartLength)
	for range min(steps, recentParts+1) {
		r.at = (r.at + 1) % len(r.parts)
		r.parts[r.at] = recentPart{}
	}
}

// status is the last 4 to 5 s.
func (r *recent) status(now time.Time) (out RecentStatus) {
	r.mu.Lock()
	r.turn(now)
	var all recentPart
	for i := range r.parts {
		for bucket, n := range r.parts[i] {
			all[bucket] += n
		}
	}
	covered := min(now.Sub(r.first), recentParts*recentPartLength+now.Sub(r.begun))
	r.mu.Unlock()

	for _, n := range all {
		out.Served += uint64(n)
	}
	out.Seconds = max(0, covered.Seconds())
	out.P50Seconds, out.P99Seconds = all.quantile(out.Served, 50), all.quantile(out.Served, 99)
	return out
}

// quantile is the middle of the bucket that percent of all fall into or below,
// in seconds; 0 when there is none.
func (p *recentPart) quantile(of uint64, percent uint64) float64 {
	left := (of*percent + 99) / 100 // rounded up: of one request it is that one
	if left == 0 {
		return 0
	}
	for bucket, n := range p {
		if uint64(n) >= left {
			return recentMiddle(bucket) / 1e6
		}
		left -= uint64(n)
	}
	return recentLongest / 1e6
}

// recentBucket counts linearly below 16 µs, and from there on 8 a power of two.
func recentBucket(d time.Duration) int {
	us := uint64(min(max(d.Microseconds(), 0), recentLongest))
	shift := max(bits.Len64(us)-recentFine-1, 0)
	return shift<<recentFine + int(us>>shift)
}

// recentMiddle is what a bucket stands for, in microseconds.
func recentMiddle(bucket int) float64 {
	const fine = 1 << recentFine
	shift := max(bucket/fine-1, 0)
	low := uint64(bucket-shift*fine) << shift
	return float64(low) + float64(uint64(1)<<shift)/2
}
