package sizing

import (
	"math"
	"time"
)

// BreakerSetting is what the breaker calculator needs of a breaker and of the
// limits around it. The words are those of supervisor/breaker.
type BreakerSetting struct {
	Window       time.Duration
	MinCalls     int
	FailureRatio float64 // or SlowRatio, for a share of slow calls
	OpenFor      time.Duration
	SlowCall     time.Duration // 0: none is slow
	Timeout      time.Duration // 0: none
	Limit        int
}

// FalseTrips says how often chance opens a breaker in front of a backend whose
// calls fail independently of each other with a share that is its normal one.
type FalseTrips struct {
	// PerHour is at most so many. Steady counts entries into "MinCalls in the
	// window, and the ratio reached": a breaker that has opened is not there to
	// enter again, so the truth is less, by a factor of up to about ten where the
	// share is close to the ratio.
	PerHour float64
	ByRatio float64 // of it, by the ratio
	ByRun   float64 // of it, by MinCalls failures in a row
	// AfterRestart is the probability to open while the window fills for the
	// first time, after a start or after it was open.
	AfterRestart float64
	// Open is the share of time that the breaker is open on account of it, at most.
	Open float64
	// Certain: the normal share reaches the ratio, and every window opens it.
	Certain bool
}

// FalseTrips computes for calls that end at a rate per second, of which a share
// fails.
//
// In a rolling window, failures and successes are two independent Poisson
// variables. The mean number of entries into the tripping states per second
// follows exactly: from the states one failure short of them times the rate of
// failures, from those with one call too few times the rate of calls, and from
// those with one success too many times the rate at which successes leave the
// window. That it bounds the rate of first entries is the first-moment bound of
// scan statistics (J. Glaz, J. Naus, S. Wallenstein, "Scan Statistics", 2001,
// chapter 1; D. Aldous, "Probability Approximations via the Poisson Clumping
// Heuristic", 1989, section A). Runs: each call begins one of n failures with
// probability (1-p)p^n. The window filling for the first time is a random walk,
// followed exactly.
//
// It stops being true where failures come together, which those of real backends
// do: then trips are more frequent, and less false.
func (b BreakerSetting) FalseTrips(rate, share float64) FalseTrips {
	if !(rate > 0) || !(share > 0) || b.Window <= 0 || b.MinCalls < 1 {
		return FalseTrips{}
	}
	if share >= b.FailureRatio {
		cycle := b.OpenFor.Seconds() + float64(b.MinCalls)/rate
		return FalseTrips{PerHour: 3600 / cycle, ByRatio: 3600 / cycle, AfterRestart: 1, Open: b.OpenFor.Seconds() / cycle, Certain: true}
	}
	w := b.Window.Seconds()
	together := math.Exp(logPoissonTails(rate*w, b.MinCalls)[b.MinCalls-1]) // the others of a run are in the window
	f := FalseTrips{
		ByRatio:      3600 * b.entries(rate, share),
		ByRun:        3600 * rate * (1 - share) * math.Pow(share, float64(b.MinCalls)) * together,
		AfterRestart: b.whileFilling(rate, share),
	}
	f.PerHour = f.ByRatio + f.ByRun
	f.Open = min(f.PerHour*b.OpenFor.Hours(), 1)
	return f
}

// needs is how many failures among n calls reach the ratio, as the breaker
// divides.
func (b BreakerSetting) needs(n int) int {
	f := int(b.FailureRatio * float64(n))
	for f > 0 && float64(f-1)/float64(n) >= b.FailureRatio {
		f--
	}
	for float64(f)/float64(n) < b.FailureRatio {
		f++
	}
	return f
}

// entries is the mean number of entries into the tripping states per second.
func (b BreakerSetting) entries(rate, share float64) float64 {
	w := b.Window.Seconds()
	failures, successes := rate*share*w, rate*(1-share)*w
	state := func(n, f int) float64 { return poisson(failures, f) * poisson(successes, n-f) }

	// One call short of MinCalls: the next one makes them enough.
	m := b.MinCalls
	need := b.needs(m)
	sum := rate * share * state(m-1, max(need-1, 0))
	for f := need; f <= m-1; f++ {
		sum += rate * state(m-1, f)
	}
	mean := rate * w
	last := int(mean+12*math.Sqrt(mean)) + m + 60
	first := max(m, int(mean-12*math.Sqrt(mean))-60)
	for n := first; n <= last; n++ {
		here := b.needs(n)
		if b.needs(n+1) == here { // one failure more is enough
			sum += rate * share * state(n, here-1)
		}
		if n > m && b.needs(n-1) == here-1 { // one success less is
			f := here - 1
			sum += state(n, f) * float64(n-f) / w
		}
	}
	return sum
}

// poisson is P(N = k), N Poisson of the given mean.
func poisson(mean float64, k int) float64 {
	switch {
	case k < 0:
		return 0
	case mean <= 0:
		if k == 0 {
			return 1
		}
		return 0
	}
	factorial, _ := math.Lgamma(float64(k) + 1)
	return math.Exp(float64(k)*math.Log(mean) - mean - factorial)
}

// mostFilled bounds the walk of whileFilling: with so many calls the share is
// steady, unless it is the ratio to within a per cent or two.
const mostFilled = 2000

// whileFilling is the probability that the calls of the first window, one after
// the other, reach the ratio. at[f] is the probability to be there with f failures
// and not to have reached it before.
func (b BreakerSetting) whileFilling(rate, share float64) float64 {
	calls := min(int(rate*b.Window.Seconds()), mostFilled)
	at := make([]float64, calls+2)
	at[0] = 1
	tripped := 0.0
	for n := 1; n <= calls; n++ {
		for f := n; f > 0; f-- {
			at[f] = at[f]*(1-share) + at[f-1]*share
		}
		at[0] *= 1 - share
		if n < b.MinCalls {
			continue
		}
		for f := b.needs(n); f <= n; f++ {
			tripped += at[f]
			at[f] = 0
		}
	}
	return tripped
}

// Detection is how long a breaker takes to open.
type Detection struct {
	Opens bool          // false: chance aside, it never does
	Mean  time.Duration // from the first bad call on
	P99   time.Duration // in 99 of 100 outages; 0 where it is not known
}

// Failing is the time to detect an outage in which calls fail at once, a share
// outage of them in place of the normal share. A total outage opens the breaker at
// MinCalls failures in a row or when the ratio is reached, whichever comes first;
// a partial one by the ratio alone, when so much of the window is bad that
//
//	share (W-t) + outage t  =  ratio W
//
// and never if outage is below the ratio. The window must hold MinCalls at that
// rate.
func (b BreakerSetting) Failing(rate, share, outage float64) Detection {
	w, m := b.Window.Seconds(), float64(b.MinCalls)
	if !(rate > 0) || rate*w < m || outage < b.FailureRatio || outage <= share {
		return Detection{}
	}
	ratio := w * (b.FailureRatio - min(share, b.FailureRatio)) / (outage - share)
	run := math.Inf(1)
	p99 := ratio
	if outage >= 1 {
		run = m / rate
		p99 = bisect(0, 100*(m+10)/rate, func(t float64) bool {
			return math.Exp(logPoissonTails(rate*t, b.MinCalls)[b.MinCalls]) >= 0.99
		})
	}
	d := Detection{Opens: true, Mean: seconds(min(ratio, run))}
	if outage >= 1 {
		d.P99 = seconds(min(p99, max(ratio, run)*2))
	}
	return d
}

// Hanging is the time to detect an outage in which calls are not answered at all:
// each counts when it passes SLOW_CALL or TIMEOUT, at most Limit of them are in
// flight, and slots are taken anew after TIMEOUT. MinCalls results in a row open
// the breaker, so they must come within Window.
func (b BreakerSetting) Hanging(rate float64) Detection {
	first := b.Timeout
	if b.SlowCall > 0 && (first <= 0 || b.SlowCall < first) {
		first = b.SlowCall
	}
	if !(rate > 0) || b.Limit < 1 || first <= 0 || b.MinCalls < 1 {
		return Detection{}
	}
	waves := (b.MinCalls - 1) / b.Limit // whole ones before the last
	if waves > 0 && (b.Timeout <= 0 || time.Duration(waves)*b.Timeout >= b.Window) {
		return Detection{}
	}
	inLast := seconds(float64(b.MinCalls-waves*b.Limit) / rate)
	if inLast > b.Window {
		return Detection{}
	}
	return Detection{Opens: true, Mean: first + time.Duration(waves)*b.Timeout + inLast}
}
