package story

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"commerce.example/coordinator/cmd/coordinator/internal/demo"
	"commerce.example/coordinator/supervisor/hdr"
)

// Verdict is what the measurements prove.
type Verdict struct {
	Passed bool `json:"passed"`
	// Void is a failure for which the machine may be to blame: the story says
	// nothing, and has to be played again.
	Void     bool      `json:"void"`
	Findings []Finding `json:"findings"` // against the coordinator; none when it passed
}

// A Finding is one rule that was broken.
type Finding struct {
	Rule string `json:"rule"`
	Text string `json:"text"`
	// Disturbed says that the machine was too busy for this to be sure.
	Disturbed bool `json:"disturbed,omitempty"`
}

// The rules.
const (
	RuleBaseline  = "baseline"  // before the incident nothing fails
	RuleErrors    = "errors"    // a sibling has no error
	RuleLatency   = "latency"   // a sibling's 99th percentile stays where it was
	RuleProcesses = "processes" // the coordinator and the siblings' workers live on
	RulePayments  = "payments"  // every payment that was answered was made, none twice
	RuleSuffered  = "suffered"  // orders felt the incident
	RuleOpened    = "opened"    // the breaker opened in time
	RuleKilled    = "killed"    // workers were killed, and others took their places
	RuleClosed    = "closed"    // the breaker closed in time
	RuleRecovered = "recovered" // orders has no errors in the end
)

const (
	worseShare = 0.10 // and
	worseBy    = 5.0  // ms

	// fewest requests that a 99th percentile is taken of: those beyond it are ten.
	// Shorter phases are judged together with what follows.
	fewest = 1000
)

// Judge applies the rules.
func Judge(phases []Phase, incident Incident) Verdict {
	j := &judge{phases: phases, findings: []Finding{}}
	j.baseline()
	for _, kind := range []demo.Kind{demo.Catalog, demo.Payments} {
		j.sibling(string(kind))
	}
	j.processes(incident)
	j.orders(incident)

	v := Verdict{Passed: len(j.findings) == 0, Findings: j.findings}
	v.Void = !v.Passed && !slices.ContainsFunc(j.findings, func(f Finding) bool { return !f.Disturbed })
	return v
}

type judge struct {
	phases   []Phase
	findings []Finding
}

func (j *judge) find(rule, format string, args ...any) {
	j.findings = append(j.findings, Finding{Rule: rule, Text: fmt.Sprintf(format, args...)})
}

// doubt is find, with how many milliseconds the machine was late meanwhile. The
// finding is doubtful if that is much, or is excuse enough.
func (j *judge) doubt(late float64, enough bool, rule, format string, args ...any) {
	j.find(rule, format, args...)
	if f := &j.findings[len(j.findings)-1]; late > worseBy || enough {
		f.Disturbed = true
		f.Text += fmt.Sprintf("; the machine was up to %.0f ms late for everybody", late)
	}
}

func (j *judge) phase(name string) (Phase, bool) {
	i := slices.IndexFunc(j.phases, func(p Phase) bool { return p.Name == name })
	if i < 0 {
		return Phase{}, false
	}
	return j.phases[i], true
}

// of is a bulkhead's part of a phase; zero when it has none.
func (p Phase) of(bulkhead string) Figures {
	for _, f := range p.Bulkheads {
		if f.Bulkhead == bulkhead {
			return f
		}
	}
	return Figures{}
}

func (j *judge) baseline() {
	first, _ := j.phase(Baseline)
	last, ended := j.phase(Recovered)
	late := first.Late.P99
	if ended {
		late = min(late, last.Late.P99)
	}
	// Compared with a bad hour, everything is well.
	if late > worseBy {
		j.doubt(late, false, RuleBaseline, "how long requests usually take could not be measured")
	}
	for _, kind := range Cast() {
		switch f := first.of(string(kind)); {
		case f.Requests == 0:
			j.find(RuleBaseline, "%s had no request before the incident: there is nothing to compare with", kind)
		case f.Errors > 0:
			// It says nothing of the bulkheads yet, so a busy machine excuses it.
			j.doubt(first.Late.P998, false, RuleBaseline, "%s had %s before the incident", kind, errorsOf(f))
		}
	}
}

// sibling judges a bulkhead that must notice nothing.
func (j *judge) sibling(name string) {
	for _, p := range j.phases {
		if f := p.of(name); f.Errors > 0 && p.Name != Baseline {
			j.find(RuleErrors, "%s had %s in phase %s", name, errorsOf(f), p.Name)
		}
	}
	was := j.usual(name)
	for _, s := range j.spans(name) {
		is := milliseconds(s.all.Quantile(0.99))
		if grew := is - was; grew > worseBy && grew > worseShare*was {
			j.doubt(s.late, grew-s.late <= worseBy, RuleLatency, "%s had a p99 of %.1f ms in %s, %.1f ms above its own with orders well", name, is, s.name, grew)
		}
	}
}

// usual is the 99th percentile of a sibling while orders was well: before the
// incident, or after it if that is less, so that a busy moment before it excuses
// nothing.
func (j *judge) usual(name string) float64 {
	first, _ := j.phase(Baseline)
	last, _ := j.phase(Recovered)
	was := first.of(name).P99
	if f := last.of(name); f.Requests > 0 {
		was = min(was, f.P99)
	}
	return was
}

// A span is phases in a row that have enough requests for a percentile.
type span struct {
	name string
	all  hdr.Histogram
	late float64 // ms
}

// spans cuts what follows the baseline into spans. What is left over at the end
// belongs to the last.
func (j *judge) spans(bulkhead string) []*span {
	var spans []*span
	open := false
	for _, p := range j.phases {
		if p.Name == Baseline {
			continue
		}
		if !open {
			spans = append(spans, &span{name: "phase " + p.Name})
		} else {
			spans[len(spans)-1].name += "+" + p.Name
		}
		last := spans[len(spans)-1]
		last.all.Merge(p.of(bulkhead).All)
		last.late = max(last.late, p.Late.P998)
		open = last.all.Count() < fewest
	}
	if n := len(spans); open && n > 1 {
		before, rest := spans[n-2], spans[n-1]
		before.name += "+" + strings.TrimPrefix(rest.name, "phase ")
		before.all.Merge(&rest.all)
		before.late = max(before.late, rest.late)
		spans = spans[:n-1]
	}
	return spans
}

func (j *judge) processes(i Incident) {
	if i.CoordinatorReplaced {
		j.find(RuleProcesses, "the coordinator is not the process that it was")
	}
	for _, name := range i.WorkersReplaced {
		j.find(RuleProcesses, "workers of %s are not the processes that they were", name)
	}
	if i.PaidTwice > 0 {
		j.find(RulePayments, "%d payments were made twice", i.PaidTwice)
	}
	if missing := i.PaymentsAnswered - i.PaymentsMade; missing > 0 {
		j.find(RulePayments, "%d payments were answered and never made", missing)
	}
}

// orders judges that there was an incident, and that it ended. A rule whose phase
// was not reached follows from one that was broken before.
func (j *judge) orders(i Incident) {
	const name = string(demo.Orders)
	hang, _ := j.phase(Hang)
	if hang.of(name).Errors == 0 {
		j.find(RuleSuffered, "orders had no error while it hung: there was no incident, and this proves nothing")
	}
	if i.Opened <= 0 || i.Opened > OpensWithin {
		j.find(RuleOpened, "the breaker of orders did not open within %s of the hang%s", OpensWithin, after(i.Opened.Seconds()))
		return
	}
	if len(i.Killed) == 0 {
		j.find(RuleKilled, "no worker of orders was there to be killed")
	} else if len(i.Revived) < len(i.Killed) {
		j.find(RuleKilled, "%d workers of orders were killed and %d took their places", len(i.Killed), len(i.Revived))
	}
	if i.Closed <= 0 || i.Closed > ClosesWithin {
		j.find(RuleClosed, "the breaker of orders did not close within %s of the repair%s", ClosesWithin, after(i.Closed.Seconds()))
		return
	}
	switch end, ok := j.phase(Recovered); {
	case !ok || end.of(name).Requests == 0:
		j.find(RuleRecovered, "orders had no request after the incident")
	case end.of(name).Errors > 0:
		j.find(RuleRecovered, "orders still had %s after its breaker had closed", errorsOf(end.of(name)))
	}
}

func after(seconds float64) string {
	if seconds <= 0 {
		return ""
	}
	return fmt.Sprintf(", but after %.1f s", seconds)
}

func errorsOf(f Figures) string {
	text := fmt.Sprintf("%d errors", f.Errors)
	if f.Errors == 1 {
		text = "1 error"
	}
	if top := f.Top(2); top != "" {
		text += " (" + top + ")"
	}
	return text
}

// Top is the n most frequent reasons, most frequent first.
func (f Figures) Top(n int) string {
	reasons := slices.SortedFunc(maps.Keys(f.Reasons), func(a, b string) int {
		if d := f.Reasons[b] - f.Reasons[a]; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	var top []string
	for _, reason := range reasons[:min(n, len(reasons))] {
		top = append(top, fmt.Sprintf("%s %d", reason, f.Reasons[reason]))
	}
	return strings.Join(top, ", ")
}
