package sizing

import (
	"math"
	"time"
)

// Load is what comes to a bulkhead.
type Load struct {
	Rate    float64       // arrivals per second
	Holding time.Duration // mean time of a slot
	SCV     float64       // squared coefficient of variation of it: 0 constant, 1 exponential
}

// Offered is the load in erlangs: the slots that would be busy on average if no
// arrival were refused.
func (l Load) Offered() float64 { return l.Rate * l.Holding.Seconds() }

// Setting is what a bulkhead admits by: Limit slots, Queue places in a first-in,
// first-out line, and the time that one may wait in it. With no Queue, or no
// QueueTimeout, arrivals are admitted or refused at once.
type Setting struct {
	Limit        int
	Queue        int
	QueueTimeout time.Duration
}

// places is the length of a line in which anybody may wait.
func (s Setting) places() int {
	if s.QueueTimeout <= 0 {
		return 0
	}
	return max(s.Queue, 0)
}

// Prediction is how a Setting does under a Load. Shares are of all arrivals;
// waits are of those that were admitted, the most part of whom may have waited
// for nothing.
type Prediction struct {
	Model    Model
	Refused  float64 // Full and TimedOut together
	Full     float64 // the queue was full
	TimedOut float64 // the wait was longer than the queue timeout
	WaitMean time.Duration
	WaitP99  time.Duration
}

// Model says what a Prediction rests on.
type Model string

const (
	ModelErlangB    Model = "erlang-b"           // no queue: exact for Poisson arrivals
	ModelMMcKD      Model = "m/m/c/k+d"          // exact for Poisson arrivals and exponential holding times
	ModelMGcKD      Model = "m/g/c/k+d-scaled"   // the same, scaled by the variance of the holding times
	ModelSimulation Model = "poisson-simulation" // Poisson arrivals, measured holding times, simulated
	ModelTrace      Model = "trace"              // recorded arrivals and holding times, simulated
)

// MMcKD predicts a bulkhead under Poisson arrivals and exponential holding times,
// exactly: c slots, a line of Q places, and a deterministic limit τ to the wait.
//
// Let B be ErlangB of the load, ρ its utilisation, μ the reciprocal of the mean
// holding time and G(k, t) the probability that a Poisson variable of mean cμt
// is k or more. With the weight of "at most c in the house" set to 1:
//
//	c slots taken and k waiting:             B ρ^k G(k, τ)           k = 1..Q
//	admitted after a wait of more than 0,
//	at most t:                               B sum ρ^j G(j+1, t)     j = 0..Q-1
//	refused, line full:                      B ρ^Q G(Q, τ)
//	refused, time over:                      B exp(-cμτ) sum (λτ)^j/j!
//
// They follow from the joint density of the waits so far of those in line, which
// is proportional to λ^k exp(-cμ x), x the longest of them, and satisfies the
// balance equations with and without an end to the line. Q = 0 makes it Erlang B,
// τ without end M/M/c/K, both without end Erlang C for ρ < 1.
//
// Source: D. Y. Barrer, "Queuing with impatient customers and ordered service",
// Operations Research 5 (1957), and B. V. Gnedenko, I. N. Kovalenko,
// "Introduction to Queueing Theory" (1968), for the line without end; A. Movaghar,
// "On queueing with customer impatience until the beginning of service", Queueing
// Systems 29 (1998), for arrival rates that depend on the state, of which a full
// line is one.
//
// It stops being true where arrivals are not Poisson, where holding times are far
// from exponential (see MGcKD) and where they grow with concurrency.
func MMcKD(l Load, s Setting) Prediction {
	if trivial, ok := withoutQueue(l, s); ok {
		return trivial
	}
	q := newLine(l, s)
	p := Prediction{Model: ModelMMcKD, Full: q.full(), TimedOut: q.timedOut()}
	p.Refused = min(p.Full+p.TimedOut, 1)
	served := q.free() + q.admittedWithin(q.patience)
	p.WaitMean = seconds(q.waitSum() / served)
	if wanted := 0.99 * served; q.free() < wanted {
		p.WaitP99 = seconds(bisect(0, q.patience, func(t float64) bool { return q.free()+q.admittedWithin(t) >= wanted }))
	}
	return p
}

// MGcKD predicts a bulkhead under Poisson arrivals and holding times of any
// variance. It scales MMcKD as heavy traffic does: the line's length and time
// count in units of (1 + SCV) / 2, so a queue in front of constant holding times
// is worth twice its length.
//
// Source: the diffusion limit of M/G/c, as in T. Kimura, "A transform-free
// approximation for the finite capacity M/G/s queue", Operations Research 44
// (1996). It is exact for SCV = 1 and without a queue; for constant holding times
// its refused share was within 3 percentage points of simulation, and within 1
// where the queue timeout is longer than the mean holding time.
//
// It stops being true where two moments do not describe the holding times: rare
// and very long ones (SCV above 2) while few are in the line. A simulation
// knows better; Advise has one.
func MGcKD(l Load, s Setting) Prediction {
	if trivial, ok := withoutQueue(l, s); ok {
		return trivial
	}
	unit := (1 + max(l.SCV, 0)) / 2
	if unit == 1 {
		return MMcKD(l, s)
	}
	places := float64(s.places()) / unit
	whole, part := math.Modf(places)
	s.QueueTimeout = time.Duration(min(float64(s.QueueTimeout)/unit, float64(endless)))
	s.Queue = int(whole)
	p := MMcKD(l, s)
	if part > 0 {
		s.Queue++
		p = between(p, MMcKD(l, s), part)
	}
	p.Model = ModelMGcKD
	p.WaitMean = time.Duration(float64(p.WaitMean) * unit)
	p.WaitP99 = time.Duration(float64(p.WaitP99) * unit)
	return p
}

// between is the prediction a part of the way from a to b.
func between(a, b Prediction, part float64) Prediction {
	mix := func(x, y float64) float64 { return x + part*(y-x) }
	return Prediction{
		Refused: mix(a.Refused, b.Refused), Full: mix(a.Full, b.Full), TimedOut: mix(a.TimedOut, b.TimedOut),
		WaitMean: time.Duration(mix(float64(a.WaitMean), float64(b.WaitMean))),
		WaitP99:  time.Duration(mix(float64(a.WaitP99), float64(b.WaitP99))),
	}
}

// withoutQueue predicts where no line can form.
func withoutQueue(l Load, s Setting) (Prediction, bool) {
	switch {
	case !(l.Offered() > 0):
		return Prediction{Model: ModelErlangB}, true
	case s.Limit < 1:
		return Prediction{Model: ModelErlangB, Refused: 1, Full: 1}, true
	case s.places() == 0:
		b := ErlangB(s.Limit, l.Offered())
		return Prediction{Model: ModelErlangB, Refused: b, Full: b}, true
	}
	return Prediction{}, false
}

// endless is a time so long that it stands for none.
const endless = 1000 * time.Hour

func seconds(s float64) time.Duration {
	return time.Duration(min(max(s, 0), endless.Seconds()) * float64(time.Second))
}

// A line holds the terms of MMcKD that do not depend on t. Its figures are kept
// as logarithms: ρ^k leaves the range of a float64 long before a queue is long.
type line struct {
	places   int
	patience float64 // seconds
	drain    float64 // cμ: slots that come free per second while all are taken
	logRho   float64
	taken    float64 // ln of the weight of "c taken, nobody waits"
	few      float64 // weight of "a slot is free"
	logTotal float64 // ln of the weight of all states
}

func newLine(l Load, s Setting) *line {
	a := l.Offered()
	b := ErlangB(s.Limit, a)
	q := &line{
		places: s.places(), patience: min(s.QueueTimeout, endless).Seconds(),
		drain:  float64(s.Limit) / l.Holding.Seconds(),
		logRho: math.Log(a / float64(s.Limit)), taken: math.Log(b), few: 1 - b,
	}
	q.logTotal = 0 // "at most c in the house"
	for k, atLeast := range q.tails(q.patience) {
		if k > 0 {
			q.logTotal = addLogs(q.logTotal, q.taken+float64(k)*q.logRho+atLeast)
		}
	}
	return q
}

// tails yields ln G(k, t) for k = 0..places.
func (q *line) tails(t float64) []float64 { return logPoissonTails(q.drain*t, q.places) }

func (q *line) free() float64 { return q.few * math.Exp(-q.logTotal) }

func (q *line) full() float64 {
	atLeast := q.tails(q.patience)[q.places]
	return math.Exp(q.taken + float64(q.places)*q.logRho + atLeast - q.logTotal)
}

func (q *line) timedOut() float64 {
	x := q.drain * q.patience
	logTerm, sum := -x, -x // ln of exp(-x) (λτ)^j / j!
	for j := 1; j < q.places; j++ {
		logTerm += q.logRho + math.Log(x/float64(j))
		sum = addLogs(sum, logTerm)
	}
	return math.Exp(q.taken + sum - q.logTotal)
}

// admittedWithin is the share of arrivals admitted after a wait of more than 0
// and at most t seconds.
func (q *line) admittedWithin(t float64) float64 {
	sum := math.Inf(-1)
	for k, atLeast := range q.tails(t) {
		if k > 0 {
			sum = addLogs(sum, float64(k-1)*q.logRho+atLeast)
		}
	}
	return math.Exp(q.taken + sum - q.logTotal)
}

// waitSum is the mean over all arrivals of the wait of those admitted, those who
// were not counted as 0: the integral of t over the density of admittedWithin.
func (q *line) waitSum() float64 {
	sum := math.Inf(-1)
	for k, atLeast := range logPoissonTails(q.drain*q.patience, q.places+1) {
		if j := k - 2; j >= 0 {
			sum = addLogs(sum, float64(j)*q.logRho+math.Log(float64(j+1)/q.drain)+atLeast)
		}
	}
	return math.Exp(q.taken + sum - q.logTotal)
}

// logPoissonTails is ln P(N >= k) for k = 0..most, N Poisson of the given mean.
func logPoissonTails(mean float64, most int) []float64 {
	tails := make([]float64, most+1)
	if short := mean - float64(most); short > 0 && short*short > 80*mean {
		return tails // P(N < most) < exp(-short²/2·mean) < exp(-40): all are ln 1
	}
	if mean <= 0 {
		for k := range tails[1:] {
			tails[k+1] = math.Inf(-1)
		}
		return tails
	}
	// From far out, where the terms no longer matter, inwards: nothing cancels.
	top := float64(most) + mean
	last := int(max(float64(most), mean) + 12*math.Sqrt(top) + 60)
	logMean := math.Log(mean)
	factorial, _ := math.Lgamma(float64(last) + 1)
	term := -mean + float64(last)*logMean - factorial
	sum := term
	for k := last - 1; k > 0; k-- {
		term += math.Log(float64(k+1)) - logMean
		sum = addLogs(sum, term)
		if k <= most {
			tails[k] = min(sum, 0)
		}
	}
	return tails
}

// addLogs is ln(exp(a) + exp(b)).
func addLogs(a, b float64) float64 {
	if a < b {
		a, b = b, a
	}
	if math.IsInf(b, -1) {
		return a
	}
	return a + math.Log1p(math.Exp(b-a))
}
