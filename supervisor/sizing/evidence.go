package sizing

import (
	"math"
	"time"
)

// Evidence is what was measured at one bulkhead. It is plain data: a supervisor
// hands it out as JSON, and whoever asks computes from it.
type Evidence struct {
	Window     time.Duration `json:"window_ns"` // covered; without the time in which the breaker was not closed
	Left       time.Duration `json:"left_ns"`   // the time that was left out
	Arrivals   int64         `json:"arrivals"`
	Admitted   int64         `json:"admitted"`
	Full       int64         `json:"queue_full"`
	TimedOut   int64         `json:"queue_timeout"`
	Gone       int64         `json:"gone"`   // callers who left the line
	Failed     int64         `json:"failed"` // of those in Holding, by the breaker's count
	Peak       int           `json:"peak"`   // concurrency
	Holding    Durations     `json:"holding"`
	Waits      Durations     `json:"waits"` // of those admitted
	GapSCV     float64       `json:"gap_scv"`
	Gaps       int64         `json:"gaps"`
	Dispersion float64       `json:"dispersion"` // variance over mean of arrivals per second
	Seconds    int64         `json:"seconds"`    // that Dispersion rests on
	CPU        time.Duration `json:"cpu_ns"`     // of the workers
	Crowding   Crowding      `json:"crowding"`
}

// Durations are what was measured of a kind of duration. Count, Mean and SCV are
// exact, quantiles are those of Shape.
type Durations struct {
	Count int64         `json:"count"`
	Mean  time.Duration `json:"mean_ns"`
	SCV   float64       `json:"scv"` // squared coefficient of variation
	Shape Shape         `json:"shape,omitempty"`
}

// Rate is the arrivals per second.
func (e Evidence) Rate() float64 {
	if e.Window <= 0 {
		return 0
	}
	return float64(e.Arrivals) / e.Window.Seconds()
}

// Load is the measured load.
func (e Evidence) Load() Load {
	return Load{Rate: e.Rate(), Holding: e.Holding.Mean, SCV: e.Holding.SCV}
}

// RefusedShare is the measured share of arrivals that the limiter refused.
func (e Evidence) RefusedShare() float64 {
	decided := e.Admitted + e.Full + e.TimedOut
	if decided == 0 {
		return 0
	}
	return float64(e.Full+e.TimedOut) / float64(decided)
}

// FailureShare is the measured share of calls that the breaker counts as failures.
func (e Evidence) FailureShare() float64 {
	if e.Holding.Count == 0 {
		return 0
	}
	return float64(e.Failed) / float64(e.Holding.Count)
}

// CPUPerRequest is the CPU time of the workers for each request that had a slot;
// 0 where none is known.
func (e Evidence) CPUPerRequest() time.Duration {
	if e.Holding.Count == 0 {
		return 0
	}
	return e.CPU / time.Duration(e.Holding.Count)
}

// Poisson reports whether the arrivals look like a Poisson stream, which the
// formulas assume: both figures of burstiness are 1 there. They may differ from 1
// by a fifth, which moves no advice, and by four standard errors, which chance
// may: 2/sqrt(n) for the SCV of n exponential gaps, sqrt(2/n) for the dispersion
// of n Poisson counts.
func (e Evidence) Poisson() bool {
	off := func(x, se float64) bool { return math.Abs(x-1) > max(0.2, 4*se) }
	if e.Gaps > 1 && off(e.GapSCV, 2/math.Sqrt(float64(e.Gaps))) {
		return false
	}
	// Less than one arrival per second says little about dispersion at that scale.
	return e.Seconds < 2 || e.Arrivals < e.Seconds || !off(e.Dispersion, math.Sqrt(2/float64(e.Seconds)))
}

// Evidence is that of the last window of time and up to ten seconds more, or of
// all that is remembered if that is less. A window of 0 is all. It takes well
// under a millisecond.
func (r *Recorder) Evidence(now time.Time, window time.Duration) Evidence {
	if window <= 0 || window > Longest {
		window = Longest
	}
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		r.mu.Lock()
		r.empty(s)
		r.mu.Unlock()
		s.mu.Unlock()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed.Load() {
		r.bookOpen(now)
	}
	last := r.number(now)
	first := max(last-int64((window+bucketLength-1)/bucketLength), 0)
	var sum summary
	for n := first; n <= last; n++ {
		start := time.Duration(n) * bucketLength
		covered := min(now.Sub(r.began)-start, bucketLength)
		var b *bucket
		if i := n % int64(len(r.ring)); r.numbers[i] == n {
			b = &r.ring[i]
		}
		sum.add(b, covered)
	}
	return sum.evidence()
}

// summary adds buckets up.
type summary struct {
	total   bucket // but for what overflows or needs the buckets apart
	held    [numCells]int64
	waited  [numCells]int64
	fates   [fates]int64
	arrived int64
	atOnce  int64
	failed  int64
	counts  moments // arrivals by second
	crowd   within
	covered time.Duration
	left    float64
}

// add adds one bucket, of which covered has passed; nil is one in which nothing
// happened.
func (s *summary) add(b *bucket, covered time.Duration) {
	if b == nil {
		b = new(bucket)
	}
	for i, n := range b.held {
		s.held[i] += int64(n)
	}
	for i, n := range b.waited {
		s.waited[i] += int64(n)
	}
	for i, n := range b.fates {
		s.fates[i] += int64(n)
	}
	s.atOnce += int64(b.atOnce)
	whole := b.breakerOn == 0 // a second with an open breaker in it is no second
	for i, n := range b.arrived {
		s.arrived += int64(n)
		if whole && time.Duration(i+1)*time.Second <= covered {
			s.counts.add(float64(n))
		}
	}
	s.crowd.add(b.crowd)
	s.total.gaps.merge(b.gaps)
	s.total.holding.merge(b.holding)
	s.total.waits.merge(b.waits)
	s.total.peak = max(s.total.peak, b.peak)
	s.total.cpu += b.cpu
	s.failed += int64(b.failed)
	s.covered += covered
	s.left += b.breakerOn
}

func (s *summary) evidence() Evidence {
	left := min(seconds(s.left), s.covered)
	waits := s.total.waits
	waits.n += float64(s.atOnce) // each a wait of 0
	e := Evidence{
		Window: s.covered - left, Left: left,
		Arrivals: s.arrived, Admitted: s.fates[Served], Full: s.fates[QueueFull], TimedOut: s.fates[QueueTimeout], Gone: s.fates[Gone],
		Peak: int(s.total.peak), Failed: s.failed,
		Holding: durations(s.total.holding, shape(&s.held, 0)),
		Waits:   durations(waits, shape(&s.waited, s.atOnce)),
		GapSCV:  s.total.gaps.scv(), Gaps: int64(s.total.gaps.n),
		Seconds: int64(s.counts.n),
		CPU:     seconds(s.total.cpu), Crowding: s.crowd.crowding(),
	}
	if mean := s.counts.mean(); mean > 0 {
		e.Dispersion = s.counts.scv() * mean
	}
	return e
}

func durations(m moments, s Shape) Durations {
	return Durations{Count: int64(m.n), Mean: seconds(m.mean()), SCV: m.scv(), Shape: s}
}
