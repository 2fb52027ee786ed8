package hdr

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The bounds of what a Histogram tells apart. A duration outside counts as the
// bound, in every figure.
const (
	Lowest  = time.Microsecond
	Highest = 100 * time.Second
)

// digits is the number of significant decimal digits. Two make 22 KiB a
// histogram; three would make 150.
const digits = 2

// Histogram counts durations. Quantiles are off by at most 1 % or 1 µs,
// whichever is more; Count, Max and Mean are exact. It takes 22 KiB from the
// first recorded duration on.
//
// The zero value is an empty Histogram, ready to use. It is not safe for
// concurrent use, and must not be copied once it has recorded something.
type Histogram struct {
	counts *hdrhistogram.Histogram // nil: empty
	max    time.Duration
	sum    float64 // nanoseconds
}

// Record adds one duration.
func (h *Histogram) Record(d time.Duration) { h.RecordN(d, 1) }

// RecordN adds n equal durations. It panics when n is negative or when the
// count would pass what an int64 holds.
func (h *Histogram) RecordN(d time.Duration, n int64) {
	if h.counts == nil {
		h.counts = hdrhistogram.New(int64(Lowest), int64(Highest), digits)
	}
	d = min(max(d, Lowest), Highest)
	if err := h.counts.RecordValues(int64(d), n); err != nil {
		panic("hdr: " + err.Error()) // d is within the bounds, so it is n
	}
	if n > 0 {
		h.max = max(h.max, d)
		h.sum += float64(d) * float64(n)
	}
}

// Merge adds all that other holds. A nil other holds nothing.
func (h *Histogram) Merge(other *Histogram) {
	if other == nil || other.counts == nil {
		return
	}
	if h.counts == nil {
		*h = other.clone()
		return
	}
	if h.counts.Merge(other.counts) != 0 {
		panic("hdr: count overflow") // the bounds are the same
	}
	h.max = max(h.max, other.max)
	h.sum += other.sum
}

func (h *Histogram) clone() Histogram {
	c := *h
	if h.counts != nil {
		c.counts = h.counts.Clone()
	}
	return c
}

// Quantile is the duration that a share q of all durations, from 0 to 1, does
// not exceed: Quantile(0.99) is the 99th percentile. A q outside counts as the
// nearer end. It is 0 when the histogram is empty.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.counts == nil {
		return 0
	}
	return min(time.Duration(h.counts.ValueAtQuantile(100*q)), h.max)
}

// Count is the number of durations.
func (h *Histogram) Count() int64 {
	if h.counts == nil {
		return 0
	}
	return h.counts.TotalCount()
}

// Max is the longest duration, 0 when there is none.
func (h *Histogram) Max() time.Duration { return h.max }

// Mean is the arithmetic mean of the durations, 0 when there is none.
func (h *Histogram) Mean() time.Duration {
	if h.Count() == 0 {
		return 0
	}
	return time.Duration(h.sum / float64(h.Count()))
}
