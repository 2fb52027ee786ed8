package supervisor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"commerce.example/coordinator/supervisor/breaker"
	"commerce.example/coordinator/supervisor/metronome"
)

// Verdict is what a drill proved.
type Verdict string

const (
	VerdictHeld      Verdict = "held"       // the siblings did not notice, and the bulkhead recovered
	VerdictBroken    Verdict = "broken"     // they did, or it did not
	VerdictNotJudged Verdict = "not_judged" // there was too little to see, or the machine was too busy
)

// DrillResult is what a drill saw. Times are in milliseconds. A request belongs
// to the phase in which it began, an error to the one in which it happened.
type DrillResult struct {
	Mode  DrillMode `json:"mode"`
	ForMS float64   `json:"for_ms"` // that the fault lasted

	Drilled  DrillFigures   `json:"drilled"`
	Siblings []DrillFigures `json:"siblings"`
	Hit      int            `json:"workers_hit"` // those that it was done to

	OpenedMS    *float64 `json:"opened_ms"`    // until its breaker opened; null: it did not
	RecoveredMS *float64 `json:"recovered_ms"` // from the end of the fault, until its workers were ready and its breaker closed; null: not in time
	LateMS      float64  `json:"machine_late_ms"`

	Fallback *FallbackFigures `json:"fallback,omitempty"` // of DrillFallback

	Verdict  Verdict  `json:"verdict"`
	Findings []string `json:"findings"` // why it is not VerdictHeld
	Notes    []string `json:"notes"`    // what else to know
}

// DrillFigures are the requests of one bulkhead.
type DrillFigures struct {
	Name      string         `json:"name"`
	Requests  int            `json:"requests"` // during the fault
	Errors    int            `json:"errors"`   // for reasons with a status of 500 and above; of siblings also after the fault
	Reasons   map[string]int `json:"reasons"`  // of them
	P99Before float64        `json:"p99_before_ms"`
	P99During float64        `json:"p99_during_ms"`
	P99After  float64        `json:"p99_after_ms"`
}

// The phases of a recorder.
const (
	beforeDrill = iota
	duringDrill
	afterDrill
)

// faultPhase is the metronome's that counts.
const faultPhase = "fault"

const (
	// drillFewest requests are needed to judge anybody by.
	drillFewest = 20
	// A latency has moved when it is worse by more than both.
	drillWorseShare = 0.10
	drillWorseBy    = 5 * time.Millisecond
)

// result takes stock and judges.
func (d *drill) result() *DrillResult {
	now := time.Now()
	r := &DrillResult{
		Mode: d.plan.Mode, ForMS: inMS(d.ended.Sub(d.begun)), Hit: d.fault.hit,
		LateMS: inMS(d.metronome.Late(faultPhase, metronome.Excuse)), Siblings: []DrillFigures{}, Findings: []string{}, Notes: []string{},
	}
	for _, b := range d.all {
		notes := b.stats.drill.Load()
		for _, begun := range b.watch.unanswered() {
			notes.waiting(begun, now)
		}
		name := b.settings.Load().Name
		if b == d.bulkhead {
			r.Drilled = figuresOf(name, notes, duringDrill)
		} else {
			r.Siblings = append(r.Siblings, figuresOf(name, notes, duringDrill, afterDrill))
		}
	}
	if rehearsal := d.fault.rehearsal; rehearsal != nil {
		rehearsal.stop()
		r.Fallback = rehearsal.figures(d.plan.Coverage)
	}
	if d.opened {
		r.OpenedMS = new(inMS(d.openedAfter))
	}
	if d.recovered {
		r.RecoveredMS = new(inMS(d.afterwards))
	}
	r.judge(d.bulkhead.settings.Load().BulkheadConfig, d.bulkhead.breaker.Stats(now).Mode)
	return r
}

// figuresOf counts the errors of those phases.
func figuresOf(name string, notes *recorder, phases ...int) DrillFigures {
	before, during, after := notes.phase(beforeDrill), notes.phase(duringDrill), notes.phase(afterDrill)
	f := DrillFigures{
		Name: name, Requests: int(during.latency.Count()), Reasons: make(map[string]int),
		P99Before: inMS(before.latency.Quantile(0.99)), P99During: inMS(during.latency.Quantile(0.99)),
		P99After: inMS(after.latency.Quantile(0.99)),
	}
	for _, i := range phases {
		p := notes.phase(i)
		f.Errors += p.failures()
		for reason, n := range p.errors {
			f.Reasons[string(reason)] += n
		}
	}
	return f
}

func inMS(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// judge applies the rules of a drill to a bulkhead of configuration c.
func (r *DrillResult) judge(c BulkheadConfig, mode breaker.Mode) {
	j := &drillJudge{r: r}
	if r.Fallback != nil {
		j.fallbacks()
	} else {
		j.siblings()
		j.drilled(c, mode)
	}
	switch {
	case j.broken:
		r.Verdict = VerdictBroken
	case len(r.Findings) > 0:
		r.Verdict = VerdictNotJudged
	default:
		r.Verdict = VerdictHeld
	}
}

type drillJudge struct {
	r      *DrillResult
	broken bool
}

// breaks finds a promise that was not kept.
func (j *drillJudge) breaks(format string, args ...any) {
	j.broken = true
	j.doubts(format, args...)
}

// doubts finds a reason not to judge.
func (j *drillJudge) doubts(format string, args ...any) {
	j.r.Findings = append(j.r.Findings, fmt.Sprintf(format, args...))
}

func (j *drillJudge) notes(format string, args ...any) {
	j.r.Notes = append(j.r.Notes, fmt.Sprintf(format, args...))
}

// siblings judges those that must not notice.
func (j *drillJudge) siblings() {
	j.unhurt(j.r.Siblings)
	seen := 0
	for _, f := range j.r.Siblings {
		seen += f.Requests
	}
	if seen < drillFewest {
		j.doubts("the siblings had %s during the fault, %d are needed to judge by", plural(seen, "request"), drillFewest)
	}
}

// unhurt judges bulkheads in which nothing may have failed or become slow.
func (j *drillJudge) unhurt(all []DrillFigures) {
	for _, f := range all {
		if f.Errors > 0 {
			j.breaks("%s had %s (%s)", f.Name, plural(f.Errors, "error"), reasonsText(f.Reasons))
		}
		switch worse := f.P99During - f.P99Before; {
		case f.Requests < drillFewest:
			j.notes("%s had %s during the fault: its latency is not judged", f.Name, plural(f.Requests, "request"))
		case worse <= inMS(drillWorseBy) || worse <= drillWorseShare*f.P99Before:
		case j.r.LateMS > inMS(drillWorseBy):
			j.doubts("the p99 of %s rose from %.1f to %.1f ms, but the machine itself was up to %.0f ms late for everybody",
				f.Name, f.P99Before, f.P99During, j.r.LateMS)
		default:
			j.breaks("the p99 of %s rose from %.1f to %.1f ms", f.Name, f.P99Before, f.P99During)
		}
	}
}

// drilled judges that there was a fault, and that it was got over.
func (j *drillJudge) drilled(c BulkheadConfig, mode breaker.Mode) {
	r := j.r
	if r.Hit == 0 || r.Mode.ofBackend() && r.Drilled.Requests == 0 {
		j.doubts("%s felt nothing of it (%s, %s hit): nothing is proved", c.Name, plural(r.Drilled.Requests, "request"), plural(r.Hit, "worker"))
	}
	if r.Mode.ofBackend() && r.OpenedMS == nil {
		j.unopened(c, mode)
	}
	if r.RecoveredMS == nil {
		j.breaks("%s is not as it was before; coordinator status says how it is", c.Name)
	}
}

// unopened judges a breaker that saw a sick backend and stayed closed. Some
// calls of the time before end well while the fault begins, hence twice.
func (j *drillJudge) unopened(c BulkheadConfig, mode breaker.Mode) {
	noticed := time.Duration(0) // when the first bad call counts
	if j.r.Mode == DrillBackendSlow {
		noticed = c.Timeout
		if c.Breaker.SlowCall > 0 {
			noticed = min(noticed, c.Breaker.SlowCall)
		}
	}
	switch {
	case mode == breaker.Closed:
		j.notes("the breaker of %s is closed by an operator", c.Name)
	case j.r.ForMS < inMS(noticed+time.Second):
		j.notes("the fault was too short for the breaker of %s, which counts a slow call after %s", c.Name, noticed)
	case j.r.Drilled.Requests < 2*c.Breaker.MinCalls:
		j.notes("%s had %s during the fault, too few for its breaker", c.Name, plural(j.r.Drilled.Requests, "request"))
	default:
		j.breaks("the breaker of %s did not open", c.Name)
	}
}

// interrupted takes back a verdict: the fault did not last as it should.
func (r *DrillResult) interrupted(cause error) {
	why := cause.Error()
	switch {
	case errors.Is(cause, context.Canceled):
		why = "ended early: who asked for it has left"
	case errors.Is(cause, context.DeadlineExceeded):
		why = "ended early: who asked for it does not wait as long"
	}
	r.Verdict, r.Findings = VerdictNotJudged, []string{why}
	if r.RecoveredMS == nil {
		r.Notes = append(r.Notes, "the fault has ended; nobody waited until all was as before")
	}
}

// summary is what the drill did, for the report and the log.
func (r *DrillResult) summary() string {
	return fmt.Sprintf("%s for %.1f s, verdict %s", r.Mode, r.ForMS/1000, r.Verdict)
}

// failure is the error of a drill that was not passed.
func (r *DrillResult) failure() error {
	switch r.Verdict {
	case VerdictHeld:
		return nil
	case VerdictBroken:
		return errors.New("a promise was broken: " + strings.Join(r.Findings, "; "))
	}
	return errors.New("not judged: " + strings.Join(r.Findings, "; "))
}

// reasonsText is the most frequent three.
func reasonsText(n map[string]int) string {
	reasons := slices.SortedFunc(maps.Keys(n), func(a, b string) int {
		if n[a] != n[b] {
			return n[b] - n[a]
		}
		return strings.Compare(a, b)
	})
	var text []string
	for _, reason := range reasons[:min(3, len(reasons))] {
		text = append(text, fmt.Sprintf("%s=%d", reason, n[reason]))
	}
	return strings.Join(text, ", ")
}
