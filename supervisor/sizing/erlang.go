package sizing

import "math"

// ErlangB is the share of arrivals that find all c slots taken when nobody waits:
// the refused share of a bulkhead without a queue. offered is arrival rate times
// mean holding time, in erlangs.
//
// Source: A. K. Erlang, "Solution of some problems in the theory of
// probabilities of significance in automatic telephone exchanges" (1917), by the
// usual recurrence B(0) = 1, B(n) = aB(n-1) / (n + aB(n-1)), which neither
// overflows nor cancels.
//
// It assumes Poisson arrivals and nothing of the holding times but their mean
// (Sevastyanov 1957). It stops being true where refused callers come again at
// once, and where arrivals come in bursts: then more are refused.
//
// It is 1 for c below 1 and 0 for an offered load of 0 or less.
func ErlangB(c int, offered float64) float64 {
	if c < 1 {
		return 1
	}
	if !(offered > 0) {
		return 0
	}
	b := 1.0
	for n := 1; n <= c; n++ {
		b = offered * b / (float64(n) + offered*b)
	}
	return b
}

// OfferedLoad is the load, in erlangs, of which c slots without a queue refuse
// the given share: ErlangB read backwards. It is 0 for c below 1 or a share of 0
// or less, and +Inf for a share of 1 or more.
func OfferedLoad(c int, refused float64) float64 {
	switch {
	case c < 1, !(refused > 0):
		return 0
	case refused >= 1:
		return math.Inf(1)
	}
	// c slots serve at most c, so a refused share b means a load of at most c/(1-b).
	return bisect(0, float64(c)/(1-refused), func(a float64) bool { return ErlangB(c, a) >= refused })
}

// ErlangC is the share of arrivals that wait when the queue has no end and
// nobody gives up.
//
// Source: Erlang 1917, from B by C = B / (1 - ρ(1-B)) with ρ = offered/c.
//
// It assumes Poisson arrivals and exponential holding times. It stops being true
// near and above ρ = 1, where a real queue is full or its callers' time is over;
// at ρ of 1 and above, where there is no steady state, it is 1.
func ErlangC(c int, offered float64) float64 {
	if !(offered > 0) {
		return 0
	}
	if offered >= float64(c) {
		return 1
	}
	b := ErlangB(c, offered)
	return b / (1 - offered/float64(c)*(1-b))
}

// MeanWaitEndless is the mean wait of all arrivals in the queue of ErlangC, in
// units of the mean holding time: C / (c - a). It is +Inf at offered loads of c
// and above.
func MeanWaitEndless(c int, offered float64) float64 {
	if offered >= float64(c) {
		return math.Inf(1)
	}
	return ErlangC(c, offered) / (float64(c) - offered)
}

// WithinEndless is the share of arrivals that wait for at most t in the queue of
// ErlangC, t in units of the mean holding time: 1 - C exp(-(c-a)t). It is 0 at
// offered loads of c and above.
func WithinEndless(c int, offered, t float64) float64 {
	if offered >= float64(c) {
		return 0
	}
	return 1 - ErlangC(c, offered)*math.Exp(-(float64(c)-offered)*max(t, 0))
}

// AllenCunneen is the mean wait in an endless queue of any arrivals and holding
// times, in units of the mean holding time, of which gapSCV and holdingSCV are
// the squared coefficients of variation: the mean wait of M/M/c times
// (gapSCV + holdingSCV) / 2.
//
// Source: A. O. Allen, "Probability, Statistics, and Queueing Theory", 2nd ed.
// (1990), section 5.4 and 5.7.
//
// It is exact for M/M/c and M/G/1, within a few per cent for holding times less
// varied than exponential under Poisson arrivals, and an order of magnitude for
// bursty arrivals. It knows no full queue and no timeout.
func AllenCunneen(c int, offered, gapSCV, holdingSCV float64) float64 {
	return MeanWaitEndless(c, offered) * (gapSCV + holdingSCV) / 2
}

// SquareRootStaffing is the limit by rule of thumb: the offered load and grade
// times its square root more, rounded up. A grade of 1 to 2 keeps most arrivals
// from waiting.
//
// Source: S. Halfin and W. Whitt, "Heavy-traffic limits for queues with many
// exponential servers", Operations Research 29 (1981).
//
// It is a rule for large systems: below some ten erlangs the formulas proper say
// something else, and it never looks at queue or timeout.
func SquareRootStaffing(offered, grade float64) int {
	if !(offered > 0) {
		return 0
	}
	return int(math.Ceil(offered + grade*math.Sqrt(offered)))
}

// Scalability is Gunther's universal scalability law: the throughput of n
// requests at a time, Gamma n / (1 + Alpha(n-1) + Beta n(n-1)). Alpha is what
// they contend for, Beta what they owe each other, Gamma the throughput of one
// alone.
//
// Source: N. J. Gunther, "Guerrilla Capacity Planning" (2007), chapter 4.
type Scalability struct{ Alpha, Beta, Gamma float64 }

// Throughput is that of n requests at a time, per second.
func (s Scalability) Throughput(n float64) float64 {
	return s.Gamma * n / (1 + s.Alpha*(n-1) + s.Beta*n*(n-1))
}

// Peak is the concurrency beyond which throughput falls: sqrt((1-Alpha)/Beta),
// and +Inf where it never does.
func (s Scalability) Peak() float64 {
	if s.Beta <= 0 {
		return math.Inf(1)
	}
	return math.Sqrt(max(1-s.Alpha, 0) / s.Beta)
}

// bisect is the least x from low to high, neither below 0, for which enough is
// true, to a relative 1e-10, where enough is false below it and true above.
func bisect(low, high float64, enough func(float64) bool) float64 {
	for range 100 {
		if high-low <= 1e-10*high {
			break
		}
		middle := low + (high-low)/2
		if enough(middle) {
			high = middle
		} else {
			low = middle
		}
	}
	return high
}
