package sizing

import (
	"math"
	"time"
)

// Crowding is how holding times grow with concurrency: a straight line, fitted by
// least squares to the holding time of each request and the concurrency that it
// met at its admission, itself included.
//
// The line is fitted within buckets of ten seconds: each has its own mean of
// both. Otherwise a backend that was slow for minutes would look crowded, because
// slow answers make for high concurrency whatever their cause (Little's law). An
// incident much shorter than ten seconds still does.
type Crowding struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean"`    // concurrency met
	Held  float64 `json:"held_s"`  // mean holding time
	Slope float64 `json:"slope_s"` // more holding time for one more in flight
	Error float64 `json:"error_s"` // standard error of Slope
}

// Significant reports whether the slope is above 0 by more than chance: four
// standard errors, from a hundred requests or more.
func (c Crowding) Significant() bool { return c.Count >= 100 && c.Slope > 4*c.Error && c.Slope > 0 }

// Scalability is the line as a law of scalability: Gamma is the throughput of one
// alone, Alpha the share of contention, Beta is 0 as a straight line has none.
// Holding time times concurrency to throughput is Little's law. It is the zero
// Scalability where the line makes no sense.
func (c Crowding) Scalability() Scalability {
	slope := max(c.Slope, 0)
	alone := c.Held - slope*(c.Mean-1)
	if alone <= slope { // all of it contention: as of one server
		alone = slope
	}
	if alone <= 0 {
		return Scalability{}
	}
	return Scalability{Alpha: slope / alone, Gamma: 1 / alone}
}

// enough is the gain below which a doubled limit is not worth it: with none of
// the holding time contention it would be 2.
const enough = 1.25

// Bottleneck reports whether the backend, not the limit, bounds the throughput
// of a bulkhead of that limit: holding times grow with concurrency so that twice
// the limit would serve less than a quarter more.
func (c Crowding) Bottleneck(limit int) bool {
	if !c.Significant() {
		return false
	}
	law := c.Scalability()
	n := float64(max(limit, 1))
	return law.Gamma > 0 && law.Throughput(2*n) < enough*law.Throughput(n)
}

// Holding is the mean holding time that the line gives for a concurrency.
func (c Crowding) Holding(concurrency float64) time.Duration {
	return seconds(c.Held + c.Slope*(concurrency-c.Mean))
}

// within pools regressions, each about its own means.
type within struct {
	all        covariance
	xx, yy, xy float64 // about the means of each
	groups     float64
}

func (w *within) add(c covariance) {
	if c.n == 0 {
		return
	}
	w.all.merge(c)
	w.xx += c.xx - c.x*c.x/c.n
	w.yy += c.yy - c.y*c.y/c.n
	w.xy += c.xy - c.x*c.y/c.n
	w.groups++
}

func (w *within) crowding() Crowding {
	n := w.all.n
	if n == 0 {
		return Crowding{}
	}
	c := Crowding{Count: int64(n), Mean: w.all.x / n, Held: w.all.y / n}
	if free := n - w.groups - 1; w.xx > 1e-9*n && free > 0 {
		c.Slope = w.xy / w.xx
		rest := max(w.yy-c.Slope*w.xy, 0)
		c.Error = math.Sqrt(rest / free / w.xx)
	}
	return c
}
