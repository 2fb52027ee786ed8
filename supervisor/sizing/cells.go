package sizing

import (
	"math/bits"
	"time"
)

// cells is a histogram small enough to be kept for each ten seconds of an hour:
// 800 bytes, against the 22 KiB of hdr.Histogram. Like that one it is log-linear,
// with 8 cells for each doubling from 8 µs on and one for each microsecond below,
// so what it says of a duration is off by at most a sixteenth. Durations are taken
// to lie between 0 and 134 s.
type cells [numCells]uint32

const (
	perDoubling = 8
	numCells    = 25 * perDoubling
)

func cellOf(d time.Duration) int {
	u := uint64(max(d, 0) / time.Microsecond)
	if u < perDoubling {
		return int(u)
	}
	shift := bits.Len64(u) - 4
	return min(shift*perDoubling+int(u>>shift), numCells-1)
}

// bounds are the least duration of a cell and the least beyond it.
func bounds(cell int) (low, high time.Duration) {
	if cell < perDoubling {
		return time.Duration(cell) * time.Microsecond, time.Duration(cell+1) * time.Microsecond
	}
	shift := cell/perDoubling - 1
	mantissa := cell%perDoubling + perDoubling
	return time.Duration(mantissa<<shift) * time.Microsecond, time.Duration((mantissa+1)<<shift) * time.Microsecond
}

// Shape is how durations are spread: cells in rising order, none of them empty.
// The zero Shape knows of none.
type Shape []Cell

// Cell is how many durations lay around a value.
type Cell struct {
	At    time.Duration `json:"at_ns"` // the middle of the cell
	Width time.Duration `json:"width_ns"`
	Count int64         `json:"count"`
}

// shape is what counts hold; zero is how many durations of 0 there were besides.
func shape(counts *[numCells]int64, zero int64) Shape {
	var s Shape
	if zero > 0 {
		s = append(s, Cell{Count: zero})
	}
	for i, n := range counts {
		if n > 0 {
			low, high := bounds(i)
			s = append(s, Cell{At: (low + high) / 2, Width: high - low, Count: n})
		}
	}
	return s
}

// Count is the number of durations.
func (s Shape) Count() (n int64) {
	for _, c := range s {
		n += c.Count
	}
	return n
}

// Quantile is the duration that a share q of all does not exceed, from 0 to 1.
// It takes durations to be spread evenly over their cell, and is 0 where there
// are none.
func (s Shape) Quantile(q float64) time.Duration {
	rank := min(max(q, 0), 1) * float64(s.Count())
	for _, c := range s {
		if rank <= float64(c.Count) {
			return c.At - c.Width/2 + time.Duration(float64(c.Width)*rank/float64(c.Count))
		}
		rank -= float64(c.Count)
	}
	return 0
}

// Mean is the mean of the cells' middles; 0 where there are none.
func (s Shape) Mean() time.Duration {
	var sum, n float64
	for _, c := range s {
		sum += float64(c.At) * float64(c.Count)
		n += float64(c.Count)
	}
	if n == 0 {
		return 0
	}
	return time.Duration(sum / n)
}
