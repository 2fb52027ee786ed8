package sizing

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// WhatIf is a change to what was measured. Its zero value changes nothing.
type WhatIf struct {
	Rate     Rate
	Holding  time.Duration // mean holding time; 0: as measured
	Limit    int           // 0: as it is
	Queue    *int          // places; nil: as it is
	Slow     Slow
	Replicas int // supervisors that share the traffic evenly; 0 and 1: this one alone
}

// Rate is an arrival rate, given as such or as a multiple of the measured one.
// The zero Rate is the measured one.
type Rate struct {
	Times     float64 // of the measured rate; 0: not given
	PerSecond float64 // 0: not given
}

// Slow is a share of requests that hold their slot for another time. The zero
// Slow is none.
type Slow struct {
	Share float64 // 0 to 1
	For   time.Duration
}

// any reports whether w changes the load or the setting.
func (w WhatIf) any() bool {
	return w.Rate != Rate{} || w.Holding > 0 || w.Limit > 0 || w.Queue != nil || w.Slow.Share > 0 || w.Replicas > 1
}

// Setting is what w makes of the present one.
func (w WhatIf) Setting(s Setting) Setting {
	if w.Limit > 0 {
		s.Limit = w.Limit
	}
	if w.Queue != nil {
		s.Queue = max(*w.Queue, 0)
	}
	return s
}

// of is the rate that r makes of the measured one.
func (r Rate) of(measured float64) float64 {
	switch {
	case r.PerSecond > 0:
		return r.PerSecond
	case r.Times > 0:
		return r.Times * measured
	}
	return measured
}

// workload is what comes to the bulkhead if w is so. trace may be nil.
func (w WhatIf) workload(e Evidence, trace []Visit) workload {
	load := workload{Load: e.Load(), shape: e.Holding.Shape, trace: trace}
	measured := load.Load
	load.Rate = w.Rate.of(measured.Rate)
	if w.Holding > 0 {
		load.Holding = w.Holding
		load.shape = load.shape.scaled(w.Holding)
	}
	if s := w.Slow; s.Share > 0 {
		mean, slow := load.Holding.Seconds(), s.For.Seconds()
		square := (1-s.Share)*(load.SCV+1)*mean*mean + s.Share*slow*slow
		mean = (1-s.Share)*mean + s.Share*slow
		load.shape = load.shape.scaled(load.Holding).with(s.Share, s.For)
		load.Holding = seconds(mean)
		if mean > 0 {
			load.SCV = max(square/(mean*mean)-1, 0)
		}
	}
	replicas := float64(max(w.Replicas, 1))
	if trace != nil && w.any() {
		faster, longer := 1.0, 1.0
		if load.Rate > 0 && measured.Rate > 0 {
			faster = measured.Rate / load.Rate
		}
		if w.Holding > 0 && measured.Holding > 0 {
			longer = float64(w.Holding) / float64(measured.Holding)
		}
		load.trace = changed(trace, faster, longer, 1/replicas, w.Slow)
	}
	load.Rate /= replicas
	return load
}

// ParseRate reads "2x", a multiple of the measured rate, or "120/s" or "120",
// arrivals per second.
func ParseRate(text string) (Rate, error) {
	number, times := strings.CutSuffix(text, "x")
	if !times {
		number = strings.TrimSuffix(text, "/s")
	}
	f, err := strconv.ParseFloat(number, 64)
	switch {
	case err != nil, !(f > 0), math.IsInf(f, 0):
		return Rate{}, fmt.Errorf("%q is no rate: want 2x, or 120/s", text)
	case times:
		return Rate{Times: f}, nil
	}
	return Rate{PerSecond: f}, nil
}

// ParseShare reads "0.1%" or "0.001": a share from 0 to 1.
func ParseShare(text string) (float64, error) {
	number, percent := strings.CutSuffix(text, "%")
	f, err := strconv.ParseFloat(number, 64)
	if percent {
		f /= 100
	}
	if err != nil || !(f >= 0 && f <= 1) {
		return 0, fmt.Errorf("%q is no share: want 0.1%%, or 0.001", text)
	}
	return f, nil
}

// ParseSlow reads "5%:5s": a share, and for how long.
func ParseSlow(text string) (Slow, error) {
	share, length, ok := strings.Cut(text, ":")
	f, err := ParseShare(share)
	d, err2 := time.ParseDuration(length)
	if !ok || err != nil || err2 != nil || !(f > 0) || d <= 0 {
		return Slow{}, fmt.Errorf("%q is no slow share: want 5%%:5s", text)
	}
	return Slow{Share: f, For: d}, nil
}
