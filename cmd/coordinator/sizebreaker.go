package main

import (
	"fmt"
	"time"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/breaker"
)

// breakerAdvice is how a breaker's setting does in front of this traffic. A nil
// time is never.
type breakerAdvice struct {
	Mode         string   `json:"mode"`
	FailureShare float64  `json:"failure_share"` // that was computed with
	Measured     bool     `json:"failure_share_measured"`
	TripsPerHour float64  `json:"false_trips_per_hour"`
	ByRatio      float64  `json:"by_ratio_per_hour"`
	ByRun        float64  `json:"by_run_per_hour"`
	AfterRestart float64  `json:"after_restart_probability"`
	Open         float64  `json:"open_share"`
	Certain      bool     `json:"certain"` // the usual failures reach the ratio
	FailingMS    *float64 `json:"detects_failing_ms"`
	FailingP99MS *float64 `json:"detects_failing_p99_ms"`
	HangingMS    *float64 `json:"detects_hanging_ms"`

	set supervisor.BreakerSetting
}

// fewFailures is the failure share of which nothing was seen in n calls, with
// 95 %: the rule of three (J. A. Hanley, A. Lippman-Hand, "If nothing goes wrong,
// is everything all right?", JAMA 249, 1983).
func fewFailures(n int64) float64 { return min(3/float64(max(n, 1)), 1) }

// breaker adds what the breaker of e would do where calls end at a rate per
// second; nothing where no call has ended.
func (a *advice) breaker(e supervisor.BulkheadEvidence, rate float64) {
	if e.Evidence.Holding.Count == 0 || !(rate > 0) {
		return
	}
	b := &breakerAdvice{Mode: e.Breaker.Mode, FailureShare: e.Evidence.FailureShare(), Measured: true, set: e.Breaker}
	if e.Evidence.Failed == 0 {
		b.FailureShare, b.Measured = fewFailures(e.Evidence.Holding.Count), false
	}
	setting := e.Breaker.Sizing(a.Setting.Limit, time.Duration(e.Setting.TimeoutMS*float64(time.Millisecond)))
	trips := setting.FalseTrips(rate, b.FailureShare)
	b.TripsPerHour, b.ByRatio, b.ByRun = trips.PerHour, trips.ByRatio, trips.ByRun
	b.AfterRestart, b.Open, b.Certain = trips.AfterRestart, trips.Open, trips.Certain
	ms := func(d time.Duration) *float64 { f := d.Seconds() * 1e3; return &f }
	if outage := setting.Failing(rate, b.FailureShare, 1); outage.Opens {
		b.FailingMS, b.FailingP99MS = ms(outage.Mean), ms(outage.P99)
	}
	if hang := setting.Hanging(rate); hang.Opens {
		b.HangingMS = ms(hang.Mean)
	}
	a.Breaker = b
}

// text is it in a few sentences.
func (b *breakerAdvice) text() string {
	text := fmt.Sprintf("%d calls, %.3g %% failures in %s", b.set.MinCalls, 100*b.set.FailureRatio, time.Duration(b.set.WindowMS*1e6))
	switch breaker.Mode(b.Mode) {
	case breaker.Auto:
	case breaker.Observe:
		text += ", observed only"
	default:
		text += fmt.Sprintf(", forced %s for now", b.Mode)
	}
	if b.Measured {
		text += ": with " + percentText(b.FailureShare) + " of calls failing as they do, "
	} else {
		text += ": no call failed, and with the " + percentText(b.FailureShare) + " that this leaves possible, "
	}
	if b.Certain {
		text += "every full window opens it. "
	} else {
		text += "chance opens it " + often(b.TripsPerHour) + ". "
	}
	if b.FailingMS != nil {
		text += fmt.Sprintf("When all calls fail it opens in %s (99 of 100 times in %s); ", latency(*b.FailingMS/1e3), latency(*b.FailingP99MS/1e3))
	} else {
		text += "Failures of all calls do not open it: too few come in a window; "
	}
	if b.HangingMS != nil {
		return text + fmt.Sprintf("when the backend hangs, in %s.", latency(*b.HangingMS/1e3))
	}
	return text + "a backend that hangs does not open it."
}

// percentText is a share in two figures, or all of it.
func percentText(share float64) string {
	if share >= 0.995 {
		return "100 %"
	}
	return fmt.Sprintf("%.2g %%", 100*share)
}

// often is a rate per hour in words.
func often(perHour float64) string {
	const year = 24 * 365.25
	switch {
	case perHour <= 1/(100*year):
		return "less than once in 100 years"
	case perHour < 1/year:
		return fmt.Sprintf("about once in %.2g years", 1/perHour/year)
	case perHour < 1.0/48:
		return fmt.Sprintf("about once in %.2g days", 1/perHour/24)
	case perHour < 1:
		return fmt.Sprintf("about once in %.2g hours", 1/perHour)
	}
	return fmt.Sprintf("up to %.2g times an hour", perHour)
}
