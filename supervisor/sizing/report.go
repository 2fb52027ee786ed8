package sizing

import (
	"fmt"
	"time"
)

// Report is what Advise says. Its JSON is what "size --json" prints.
type Report struct {
	Bulkhead    string      `json:"bulkhead"`
	Window      float64     `json:"window_s"`         // of the evidence
	Arrivals    float64     `json:"arrivals_per_s"`   // under the what-if, to one replica
	Holding     float64     `json:"holding_mean_ms"`  // under the what-if
	HoldingSCV  float64     `json:"holding_scv"`      // squared coefficient of variation
	Offered     float64     `json:"offered_load"`     // erlangs
	Utilisation float64     `json:"utilisation"`      // of the limit, if no arrival were refused
	Saturation  float64     `json:"saturation_rate"`  // arrivals per second that keep the limit busy
	Predicted   Predicted   `json:"predicted"`        // for the present setting under the what-if
	Measured    Measured    `json:"measured"`         // without a what-if
	Recommended Recommended `json:"recommended"`      // for each replica
	Confirmed   Predicted   `json:"with_recommended"` // what is predicted for it
	Bottleneck  bool        `json:"backend_bottleneck"`
	Replicas    int         `json:"replicas"`
	Notes       []Note      `json:"notes"`
}

// Predicted is a Prediction in a Report.
type Predicted struct {
	Model    Model   `json:"model"`
	Refused  float64 `json:"refused_share"`
	Full     float64 `json:"queue_full_share"`
	TimedOut float64 `json:"queue_timeout_share"`
	WaitMean float64 `json:"wait_mean_ms"` // of those admitted
	WaitP99  float64 `json:"wait_p99_ms"`
}

// Measured is the same, as it was.
type Measured struct {
	Refused  float64 `json:"refused_share"`
	WaitMean float64 `json:"wait_mean_ms"`
	WaitP99  float64 `json:"wait_p99_ms"`
	Peak     int     `json:"peak_concurrency"`
}

// Recommended is the least that meets the objective. A range is what the evidence
// supports, with 95 %.
type Recommended struct {
	Limit        int   `json:"limit"`
	Queue        int   `json:"queue"`
	Workers      int   `json:"workers"` // 0: the CPU time per request is not known
	LimitRange   Range `json:"limit_range"`
	WorkersRange Range `json:"workers_range"`
	SquareRoot   int   `json:"square_root_rule"` // the limit by rule of thumb, for comparison
}

// Range is from Low to High, both included.
type Range struct {
	Low  int `json:"low"`
	High int `json:"high"`
}

// Note is a remark of a Report: a word for programs and a sentence for people.
type Note struct {
	Topic Topic  `json:"topic"`
	Text  string `json:"text"`
}

// Topic is what a Note is about.
type Topic string

const (
	LittleEvidence    Topic = "little-evidence"
	NotPoisson        Topic = "not-poisson"
	ModelDisagrees    Topic = "model-disagrees"
	BackendBottleneck Topic = "backend-bottleneck"
	Saturated         Topic = "saturated"
	QueueTooDeep      Topic = "queue-too-deep"
	BreakerTimeLeft   Topic = "breaker-time-left-out"
	ObjectiveNotMet   Topic = "objective-not-met"
	SettingChanged    Topic = "setting-changed"
	LimitFollows      Topic = "limit-follows"
)

func predictedOf(p Prediction) Predicted {
	return Predicted{
		Model: p.Model, Refused: p.Refused, Full: p.Full, TimedOut: p.TimedOut,
		WaitMean: millis(p.WaitMean), WaitP99: millis(p.WaitP99),
	}
}

func measuredOf(e Evidence) Measured {
	return Measured{
		Refused: e.RefusedShare(), WaitMean: millis(e.Waits.Mean), WaitP99: millis(e.Waits.Shape.Quantile(0.99)), Peak: e.Peak,
	}
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (a *advice) note(topic Topic, format string, args ...any) {
	a.report.Notes = append(a.report.Notes, Note{topic, fmt.Sprintf(format, args...)})
}

// fewArrivals is less than what advice should rest on: a share of 1 % of them is
// ten.
const fewArrivals = 1000

// remark says what the figures do not.
func (a *advice) remark(predicted Prediction) {
	e := a.Evidence
	if e.Arrivals < fewArrivals {
		a.note(LittleEvidence, "arrivals in %.0f s: only %d, so the figures are rough", e.Window.Seconds(), e.Arrivals)
	}
	if e.Left >= time.Second/2 { // below it rounds to none
		a.note(BreakerTimeLeft, "%.0f s in which the breaker was not closed, or the bulkhead drained or drilled, are left out", e.Left.Seconds())
	}
	if !e.Poisson() {
		a.note(NotPoisson, "arrivals are not Poisson: the gaps between them have a squared coefficient of variation of %.2f, "+
			"arrivals per second a variance of %.2f times their mean, and both should be 1; %s", e.GapSCV, e.Dispersion, a.remedy())
	}
	follows := a.Present.LimitLeast > 0
	if follows {
		a.note(LimitFollows, "the limit follows the backend between %d and %d: advice is for its upper bound",
			a.Present.LimitLeast, a.Present.Setting.Limit)
	}
	if a.Unchanged > 0 && a.Unchanged < e.Window {
		a.note(SettingChanged, "limit or queue changed %.0f s ago, within the window: the measured refusals and waits are those of both settings",
			a.Unchanged.Seconds())
	} else if !follows { // what was measured is of many limits
		a.compare(predicted)
	}
	if a.report.Utilisation >= 1 {
		a.note(Saturated, "%.1f slots of work are offered to %d: %.0f %% or more of it must be refused",
			a.work.Offered(), a.Present.Limit, 100*(1-1/a.report.Utilisation))
	}
	a.remarkQueue()
	switch {
	case a.report.Bottleneck:
		a.note(BackendBottleneck, "holding times grow with concurrency, by %.2f ms for one more in flight: "+
			"the backend is the bottleneck, and a higher limit would make it slower, not faster", 1000*e.Crowding.Slope)
	case !a.Objective.met(predictionOf(a.report.Confirmed)) && a.work.Offered() > 0:
		a.note(ObjectiveNotMet, "the recommended setting refuses %.2f %% and makes 1 %% wait for %.1f ms or more: close to the objective, not within it",
			100*a.report.Confirmed.Refused, a.report.Confirmed.WaitP99)
	}
}

func (a *advice) remedy() string {
	if a.Trace != nil {
		return "the trace that is replayed here has them as they came"
	}
	return "record a trace and size by it"
}

// compare says where model and measurement part: by more than one percentage point
// of refusals, or 15 % and 5 ms of the wait. predicted is for what was, whatever the what-if.
func (a *advice) compare(predicted Prediction) {
	e := a.Evidence
	if e.Arrivals < fewArrivals {
		return // chance alone would do
	}
	measured := a.report.Measured
	if off := predicted.Refused - measured.Refused; off > 0.01 || off < -0.01 {
		a.note(ModelDisagrees, "the model %s predicts %.2f %% refused, measured were %.2f %%: off by %+.2f percentage points",
			predicted.Model, 100*predicted.Refused, 100*measured.Refused, 100*off)
	}
	p99 := millis(predicted.WaitP99)
	if off := p99 - measured.WaitP99; max(off, -off) > max(5, 0.15*measured.WaitP99) {
		a.note(ModelDisagrees, "the model %s predicts a p99 wait of %.1f ms, measured were %.1f ms: off by %+.1f ms",
			predicted.Model, p99, measured.WaitP99, off)
	}
}

// remarkQueue says when the last in line would wait past the timeout even if all
// slots were busy and went on as they do.
func (a *advice) remarkQueue() {
	s := a.Present.Setting
	if s.places() == 0 || s.Limit < 1 || a.work.Holding <= 0 {
		return
	}
	served := int(min(float64(s.Limit)*s.QueueTimeout.Seconds()/a.work.Holding.Seconds(), mostSlots))
	if s.Queue > served {
		a.note(QueueTooDeep, "of %d places in the queue %d are served within %v: who stands further back waits for nothing",
			s.Queue, served, s.QueueTimeout)
	}
}

func predictionOf(p Predicted) Prediction {
	return Prediction{Refused: p.Refused, WaitP99: time.Duration(p.WaitP99 * float64(time.Millisecond))}
}
