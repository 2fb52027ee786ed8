package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Histogram counts durations from 1 µs to 100 s with three significant digits;
// what lies outside counts as the nearer end. Not safe for concurrent use.
type Histogram struct{ h *hdrhistogram.Histogram }

const (
	histMin = int64(time.Microsecond)
	histMax = int64(100 * time.Second)
)

// NewHistogram is an empty histogram; it takes about 160 KiB.
func NewHistogram() *Histogram {
	return &Histogram{hdrhistogram.New(1, histMax/histMin, 3)}
}

// Record counts d.
func (h *Histogram) Record(d time.Duration) {
	// In bounds, so it cannot fail.
	_ = h.h.RecordValue(min(max(int64(d), histMin), histMax) / histMin)
}

// Quantile is the duration that a share q, 0 to 1, does not exceed; 0 when empty.
func (h *Histogram) Quantile(q float64) time.Duration {
	return time.Duration(h.h.ValueAtPercentile(100*q) * histMin)
}

// Count is how many were recorded.
func (h *Histogram) Count() int64 { return h.h.TotalCount() }

// Max is the longest recorded; 0 when empty.
func (h *Histogram) Max() time.Duration { return time.Duration(h.h.Max() * histMin) }

// Mean is the average; 0 when empty.
func (h *Histogram) Mean() time.Duration { return time.Duration(h.h.Mean() * float64(histMin)) }

// Merge adds what other counted.
func (h *Histogram) Merge(other *Histogram) { h.h.Merge(other.h) }
