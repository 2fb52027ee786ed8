package sizing

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// A workload is what a prediction is made for: a load, and beside its three
// figures what is known of it in full.
type workload struct {
	Load
	shape Shape   // of the holding times; nil: unknown
	trace []Visit // recorded; nil: Poisson arrivals
}

// How many arrivals are simulated. Long holding times make for few and long
// crowds, so it takes a million for a p99 that chance moves by some 5 % only. All
// simulations of one workload share their arrivals: differences of settings are
// not differences of chance.
const (
	simulatedArrivals = 1_000_000
	searchedArrivals  = 300_000 // at most, for each step of a search
	roughArrivals     = 60_000  // for curves, and for steps that need no more
	mostRunIn         = 500_000
)

// exact reports whether MMcKD or ErlangB say all there is: no line, or holding
// times that vary as exponential ones do.
func (w workload) exact(s Setting) bool {
	return s.places() == 0 || len(w.shape) == 0 || math.Abs(w.SCV-1) <= 0.1
}

// predict is the best that is known of w under s.
func (w workload) predict(s Setting, arrivals int) Prediction {
	switch {
	case w.trace != nil:
		return Simulate(slices.Values(w.trace), s)
	case w.exact(s), !(w.Offered() > 0), s.Limit < 1:
		return MGcKD(w.Load, s)
	}
	p := w.simulate(s, arrivals)
	p.Model = ModelSimulation
	return p
}

// simulate puts Poisson arrivals through s, after a run-in that is not counted.
func (w workload) simulate(s Setting, arrivals int) Prediction {
	sim := NewSimulator(s)
	longest := w.shape.scaled(w.Holding)
	// The house is full of those who came lately, as far back as the longest stay.
	runIn := arrivals/10 + int(min(3*longest[len(longest)-1].At.Seconds()*w.Rate, mostRunIn, float64(arrivals)))
	stay := newSampler(longest)
	rng := rand.New(rand.NewPCG(20170608, 2))
	at := 0.0
	for i := range runIn + arrivals {
		if i == runIn {
			sim.forget()
		}
		at += rng.ExpFloat64() / w.Rate
		sim.Arrive(Visit{At: time.Duration(at * float64(time.Second)), Held: stay.sample(rng)})
	}
	return sim.Finish()
}

// scaled is s stretched so that its mean is the given one.
func (s Shape) scaled(mean time.Duration) Shape {
	was := s.Mean()
	if was <= 0 {
		return s
	}
	by := float64(mean) / float64(was)
	scaled := slices.Clone(s)
	for i := range scaled {
		scaled[i].At = time.Duration(float64(s[i].At) * by)
		scaled[i].Width = time.Duration(float64(s[i].Width) * by)
	}
	return scaled
}

// with is s in which a share of all take the given time instead.
func (s Shape) with(share float64, at time.Duration) Shape {
	const parts = 1_000_000
	total := float64(max(s.Count(), 1))
	mixed := Shape{{At: at, Count: int64(math.Round(share * parts))}}
	for _, c := range s {
		c.Count = int64(math.Round((1 - share) * parts * float64(c.Count) / total))
		if c.Count > 0 {
			mixed = append(mixed, c)
		}
	}
	slices.SortFunc(mixed, func(a, b Cell) int { return cmp.Compare(a.At, b.At) })
	return mixed
}

// A sampler draws durations of a shape, anywhere in a cell: constant holding
// times to the nanosecond would have slots come free in step for ever.
type sampler struct {
	shape Shape
	until []int64 // sum of the counts up to a cell
}

func newSampler(s Shape) sampler {
	d := sampler{shape: s, until: make([]int64, len(s))}
	var sum int64
	for i, c := range s {
		sum += c.Count
		d.until[i] = sum
	}
	return d
}

func (d sampler) sample(rng *rand.Rand) time.Duration {
	rank := rng.Int64N(d.until[len(d.until)-1])
	i, _ := slices.BinarySearch(d.until, rank+1)
	c := d.shape[i]
	return c.At + time.Duration((rng.Float64()-0.5)*float64(c.Width))
}

// EvidenceOf is the evidence that the visits of a trace are, in the order of their
// arrival, as a Recorder would have found it, but for CPU time.
func EvidenceOf(trace []Visit) Evidence {
	if len(trace) == 0 {
		return Evidence{}
	}
	var sum summary
	present, number := new(bucket), int64(0)
	last := time.Duration(-1)
	var flight departures
	for _, v := range trace {
		for ; number < int64(v.At/bucketLength); number++ {
			sum.add(present, bucketLength)
			*present = bucket{}
		}
		present.visit(v, last)
		last = v.At
		if v.Fate == Served {
			start := v.At + v.Wait
			for len(flight) > 0 && flight[0] <= start {
				flight.pop()
			}
			flight.push(start + v.Held)
			present.peak = max(present.peak, int32(len(flight)))
			present.crowd.add(float64(len(flight)), v.Held.Seconds())
		}
	}
	sum.add(present, last-time.Duration(number)*bucketLength)
	return sum.evidence()
}

// visit adds a visit that is over to the bucket of its arrival; last is the
// arrival before, -1 if there was none.
func (b *bucket) visit(v Visit, last time.Duration) {
	b.fates[v.Fate]++
	b.arrived[v.At%bucketLength/time.Second]++
	if last >= 0 {
		b.gaps.add((v.At - last).Seconds())
	}
	if v.Fate != Served {
		return
	}
	b.holding.add(v.Held.Seconds())
	b.held[cellOf(v.Held)]++
	if v.Wait < noWait {
		b.atOnce++
	} else {
		b.waits.add(v.Wait.Seconds())
		b.waited[cellOf(v.Wait)]++
	}
}

// changed is trace with its time and its holding times stretched, a share of
// visits kept and the rest left to other replicas, and a share made slow.
func changed(trace []Visit, stretch, longer, keep float64, slow Slow) []Visit {
	rng := rand.New(rand.NewPCG(3, 14))
	kept := make([]Visit, 0, len(trace))
	for _, v := range trace {
		elsewhere, late := rng.Float64() >= keep, rng.Float64() < slow.Share
		if elsewhere {
			continue
		}
		v.At = time.Duration(float64(v.At) * stretch)
		v.Held = time.Duration(float64(v.Held) * longer)
		if late && v.Fate != Gone {
			v.Held, v.Fate = slow.For, Served
		}
		kept = append(kept, v)
	}
	return kept
}
