package sizing

import (
	"math"
	"sort"
	"time"
)

// Present is how a bulkhead is set up.
type Present struct {
	Bulkhead   string
	Setting    // its limit is the upper bound of one that follows the backend
	Workers    int
	LimitLeast int // lower bound of one that does; 0: the limit is fixed
}

// Objective is what a bulkhead should do.
type Objective struct {
	Refused float64       // share of arrivals refused at most; 0: DefaultObjective's
	WaitP99 time.Duration // of those admitted; 0: DefaultObjective's
}

// DefaultObjective is what "size" aims at without a word from the operator.
var DefaultObjective = Objective{Refused: 0.001, WaitP99: 50 * time.Millisecond}

// OrDefault is o with what it does not say taken from DefaultObjective.
func (o Objective) OrDefault() Objective {
	if o.Refused <= 0 {
		o.Refused = DefaultObjective.Refused
	}
	if o.WaitP99 <= 0 {
		o.WaitP99 = DefaultObjective.WaitP99
	}
	return o
}

func (o Objective) met(p Prediction) bool { return p.Refused <= o.Refused && p.WaitP99 <= o.WaitP99 }

// Question is what Advise is asked.
type Question struct {
	Evidence  Evidence
	Present   Present
	Objective Objective
	WhatIf    WhatIf
	Trace     []Visit // in the order of arrival: replayed in place of Poisson arrivals; nil: none
	// Unchanged is for how long the present setting has been in force: what was
	// measured before is not compared with what is predicted for it. 0: always.
	Unchanged time.Duration
	// Rough answers in a fraction of the time, with percentiles that chance moves
	// more: where the one that asks is the one that serves traffic.
	Rough bool
}

// arrivals is how many a simulation of q has, of those that it should have.
func (q Question) arrivals(wanted int) int {
	if q.Rough {
		return min(wanted, roughArrivals)
	}
	return wanted
}

// Advise answers a Question. The same question gets the same answer. It computes
// for a second or a few where holding times are far from exponential, or a
// trace is replayed.
func Advise(q Question) Report {
	q.Objective = q.Objective.OrDefault()
	was := q.Present.Setting
	q.Present.Setting = q.WhatIf.Setting(was)
	a := &advice{Question: q, work: q.WhatIf.workload(q.Evidence, q.Trace)}
	a.report = Report{
		Bulkhead:   q.Present.Bulkhead,
		Window:     q.Evidence.Window.Seconds(),
		Arrivals:   a.work.Rate,
		Holding:    millis(a.work.Holding),
		HoldingSCV: a.work.SCV,
		Offered:    a.work.Offered(),
		Replicas:   max(q.WhatIf.Replicas, 1),
	}
	if a.work.Holding > 0 && q.Present.Limit > 0 {
		a.report.Utilisation = a.work.Offered() / float64(q.Present.Limit)
		a.report.Saturation = float64(q.Present.Limit) / a.work.Holding.Seconds()
	}
	predicted := a.work.predict(q.Present.Setting, q.arrivals(simulatedArrivals))
	a.report.Predicted = predictedOf(predicted)
	a.report.Measured = measuredOf(q.Evidence)
	a.recommend()
	if q.WhatIf.any() { // what was measured is to be compared with what was
		predicted = WhatIf{}.workload(q.Evidence, q.Trace).predict(was, q.arrivals(simulatedArrivals))
	}
	a.remark(predicted)
	return a.report
}

// Predict is the prediction alone, without the search for what to recommend: some
// tenths of a second at most, and far less where a formula will do.
func Predict(q Question) Prediction {
	return q.WhatIf.workload(q.Evidence, q.Trace).predict(q.WhatIf.Setting(q.Present.Setting), q.arrivals(simulatedArrivals))
}

// advice is a Report in the making.
type advice struct {
	Question
	work   workload
	report Report
}

// recommend fills in the smallest limit, queue and worker count, and the range of
// the limit that the evidence supports.
func (a *advice) recommend() {
	r := &a.report.Recommended
	r.Workers = a.workers(a.work.Rate)
	if !(a.work.Offered() > 0) {
		r.Limit, r.Queue = a.Present.Limit, a.Present.Queue
		r.LimitRange, r.WorkersRange = Range{r.Limit, r.Limit}, Range{r.Workers, r.Workers}
		return
	}
	s := a.work.smallest(a.Objective, a.Present.QueueTimeout, a.searchArrivals())
	low, high := a.spread()
	r.Limit, r.Queue = s.Limit, s.Queue
	r.LimitRange = Range{a.limitAt(s, low), a.limitAt(s, high)}
	r.WorkersRange = Range{a.workers(a.work.Rate * low), a.workers(a.work.Rate * high)}
	r.SquareRoot = SquareRootStaffing(a.work.Offered(), 2)
	a.report.Confirmed = predictedOf(a.work.predict(s, a.arrivals(simulatedArrivals)))
	a.report.Bottleneck = a.Present.Limit > 0 && a.Evidence.Crowding.Bottleneck(a.Present.Limit)
	if a.report.Bottleneck && s.Limit > a.Present.Limit {
		r.Limit, r.Queue = a.Present.Limit, a.Present.Queue
		r.LimitRange = Range{min(r.LimitRange.Low, r.Limit), r.Limit}
		a.report.Confirmed = a.report.Predicted
	}
}

func (a *advice) searchArrivals() int {
	// A share can only be told from its objective by some tens of refusals.
	return a.arrivals(int(min(max(50/a.Objective.Refused, roughArrivals), searchedArrivals)))
}

// limitAt is the limit for a load that is so many times the present one. The
// formula scales from the one that was found: its error is the same at both.
func (a *advice) limitAt(found Setting, times float64) int {
	formula := workload{Load: a.work.Load}
	base := formula.smallest(a.Objective, a.Present.QueueTimeout, 0)
	formula.Rate *= times
	there := formula.smallest(a.Objective, a.Present.QueueTimeout, 0)
	return max(found.Limit+there.Limit-base.Limit, 1)
}

// spread is the range of the offered load, as multiples of it, in which the truth
// lies with 95 %: by the standard errors of the rate, whose arrivals may come in
// bursts, and of the mean holding time.
func (a *advice) spread() (low, high float64) {
	e := a.Evidence
	if e.Arrivals < 1 || e.Holding.Count < 1 {
		return 1, 1
	}
	bursts := max(e.Dispersion, e.GapSCV, 1)
	variance := bursts/float64(e.Arrivals) + max(e.Holding.SCV, 0)/float64(e.Holding.Count)
	off := 1.96 * math.Sqrt(variance)
	return max(1-off, 0.01), 1 + off
}

// busyWorker is the share of a processor that a worker may be busy for on average:
// what is left takes bursts, garbage collection and one worker's restart.
const busyWorker = 0.7

// workers is rate times CPU seconds a request, at 0.7 a worker, and one to lose;
// 0 where the CPU time is not known.
func (a *advice) workers(rate float64) int {
	cpu := a.Evidence.CPUPerRequest().Seconds()
	if !(cpu > 0) {
		return 0
	}
	return int(math.Ceil(rate*cpu/busyWorker)) + 1
}

// mostSlots bounds the search: no process has so many descriptors.
const mostSlots = 1 << 20

// smallest is the smallest limit, and for it the smallest queue, that meets o with
// a queue timeout. Without a timeout there is no queue.
//
// More slots never hurt, so the limit is searched by halves; its upper end is the
// limit that needs no queue, which Erlang B gives exactly and whose wait is 0.
func (w workload) smallest(o Objective, timeout time.Duration, arrivals int) Setting {
	a := w.Offered()
	alone := sort.Search(mostSlots, func(c int) bool {
		return float64(c) >= a*(1-o.Refused) && ErlangB(c, a) <= o.Refused
	})
	if w.trace != nil { // bursts may need more than Erlang B knows of
		for alone < mostSlots && !o.met(w.predict(Setting{Limit: alone}, arrivals)) {
			alone += alone/2 + 1
		}
	}
	queues := make(map[int]int)
	found := sort.Search(alone, func(limit int) bool {
		queue, ok := w.smallestQueue(o, Setting{Limit: limit, QueueTimeout: timeout}, arrivals)
		queues[limit] = queue
		return ok
	})
	return Setting{Limit: found, Queue: queues[found], QueueTimeout: timeout}
}

// smallestQueue is the least queue with which s refuses few enough, and whether
// the waits in it are short enough too. More places refuse less and wait longer.
func (w workload) smallestQueue(o Objective, s Setting, arrivals int) (queue int, ok bool) {
	if s.Limit < 1 || float64(s.Limit) < w.Offered()*(1-o.Refused) { // more is offered than it can ever serve
		return 0, false
	}
	drain := float64(s.Limit) / w.Holding.Seconds()
	// Who stands further back than this would be served only after waits that fail
	// the objective anyway, or after the timeout.
	deepest := int(min(drain*2*min(o.WaitP99, s.QueueTimeout).Seconds(), mostSlots)) + 8
	least := func(queue int) Prediction {
		s.Queue = queue
		return w.predict(s, arrivals)
	}
	queue = sort.Search(deepest, func(queue int) bool { return least(queue).Refused <= o.Refused })
	return queue, o.met(least(queue))
}

// Point is one point of a Curve.
type Point struct {
	Limit   int     `json:"limit"`
	Refused float64 `json:"refused_share"`
	WaitP99 float64 `json:"wait_p99_ms"`
}

// mostPoints bounds what a Curve computes.
const mostPoints = 64

// Curve is what a bulkhead would refuse under other limits, its queue and timeout
// as they are: at most so many points, from 1 slot to twice the larger of limit
// and offered load. It is meant to be drawn, and cheaper than Advise by point.
func Curve(q Question, points int) []Point {
	work := q.WhatIf.workload(q.Evidence, q.Trace)
	present := q.WhatIf.Setting(q.Present.Setting)
	last := 2 * max(present.Limit, int(min(work.Offered(), mostSlots))+1)
	points = min(max(points, 2), mostPoints, last)
	curve := make([]Point, points)
	for i := range curve {
		s := present
		s.Limit = 1 + i*(last-1)/(points-1)
		p := work.predict(s, roughArrivals)
		curve[i] = Point{Limit: s.Limit, Refused: p.Refused, WaitP99: millis(p.WaitP99)}
	}
	return curve
}
