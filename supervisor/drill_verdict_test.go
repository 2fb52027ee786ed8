package supervisor

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/breaker"
	"commerce.example/coordinator/supervisor/hdr"
)

// drillOf is one that passed.
func drillOf(mode DrillMode) *DrillResult {
	return &DrillResult{
		Mode: mode, ForMS: 10_000, Hit: 2, OpenedMS: new(300.0), RecoveredMS: new(5_000.0), LateMS: 1,
		Drilled:  DrillFigures{Name: "orders", Requests: 500, Errors: 480},
		Siblings: []DrillFigures{{Name: "catalog", Requests: 500, P99Before: 20, P99During: 20}, {Name: "cart", Requests: 300, P99Before: 200, P99During: 210}},
	}
}

func TestDrillVerdicts(t *testing.T) {
	c := BulkheadConfig{Name: "orders", Timeout: 2 * time.Second, Breaker: breaker.Settings{MinCalls: 20}}
	for name, test := range map[string]struct {
		mode   DrillMode // empty: backend-down
		change func(*DrillResult)
		want   Verdict
		says   string // in a finding or a note
	}{
		"held":                     {want: VerdictHeld},
		"sibling error":            {change: func(r *DrillResult) { r.Siblings[1].Errors, r.Siblings[1].Reasons = 1, map[string]int{"no_worker": 1} }, want: VerdictBroken, says: "cart had 1 error (no_worker=1)"},
		"sibling slow":             {change: func(r *DrillResult) { r.Siblings[0].P99During = 25.1 }, want: VerdictBroken, says: "the p99 of catalog rose from 20.0 to 25.1 ms"},
		"5 ms are nothing":         {change: func(r *DrillResult) { r.Siblings[0].P99During = 25 }, want: VerdictHeld},
		"10 % are nothing":         {change: func(r *DrillResult) { r.Siblings[1].P99During = 220 }, want: VerdictHeld},
		"11 % are":                 {change: func(r *DrillResult) { r.Siblings[1].P99During = 222 }, want: VerdictBroken},
		"slow, and so the machine": {change: func(r *DrillResult) { r.Siblings[0].P99During, r.LateMS = 40, 12 }, want: VerdictNotJudged, says: "12 ms late for everybody"},
		"error on a late machine":  {change: func(r *DrillResult) { r.Siblings[0].Errors, r.LateMS = 1, 12 }, want: VerdictBroken},
		"no traffic on siblings":   {change: func(r *DrillResult) { r.Siblings[0].Requests, r.Siblings[1].Requests = 10, 9 }, want: VerdictNotJudged, says: "had 19 requests during the fault, 20 are needed"},
		"error without traffic":    {change: func(r *DrillResult) { r.Siblings[0].Requests, r.Siblings[1].Requests, r.Siblings[0].Errors = 2, 2, 2 }, want: VerdictBroken},
		"one sibling is quiet":     {change: func(r *DrillResult) { r.Siblings[0].Requests, r.Siblings[0].P99During = 3, 900 }, want: VerdictHeld, says: "catalog had 3 requests during the fault: its latency is not judged"},
		"nothing was hit":          {mode: DrillKill, change: func(r *DrillResult) { r.Hit = 0 }, want: VerdictNotJudged, says: "orders felt nothing"},
		"nobody called it":         {change: func(r *DrillResult) { r.Drilled.Requests = 0 }, want: VerdictNotJudged, says: "orders felt nothing"},
		"killed without traffic":   {mode: DrillKill, change: func(r *DrillResult) { r.Drilled.Requests = 0 }, want: VerdictHeld},
		"did not open":             {change: func(r *DrillResult) { r.OpenedMS = nil }, want: VerdictBroken, says: "the breaker of orders did not open"},
		"need not open":            {mode: DrillKill, change: func(r *DrillResult) { r.OpenedMS = nil }, want: VerdictHeld},
		"too few to open":          {change: func(r *DrillResult) { r.OpenedMS, r.Drilled.Requests = nil, 39 }, want: VerdictHeld, says: "too few for its breaker"},
		"too short to open":        {mode: DrillBackendSlow, change: func(r *DrillResult) { r.OpenedMS, r.ForMS = nil, 2_500 }, want: VerdictHeld, says: "counts a slow call after 2s"},
		"slow and long":            {mode: DrillBackendSlow, change: func(r *DrillResult) { r.OpenedMS = nil }, want: VerdictBroken},
		"not recovered":            {change: func(r *DrillResult) { r.RecoveredMS = nil }, want: VerdictBroken, says: "orders is not as it was before"},
		"broken outweighs doubts":  {change: func(r *DrillResult) { r.RecoveredMS, r.Hit = nil, 0 }, want: VerdictBroken},
	} {
		mode := test.mode
		if mode == "" {
			mode = DrillBackendDown
		}
		r := drillOf(mode)
		if test.change != nil {
			test.change(r)
		}
		r.judge(c, breaker.Auto)
		said := strings.Join(append(r.Findings, r.Notes...), "\n")
		if r.Verdict != test.want || !strings.Contains(said, test.says) {
			t.Errorf("%s: %s, %q; want %s, %q", name, r.Verdict, said, test.want, test.says)
		}
		if (r.failure() == nil) != (r.Verdict == VerdictHeld) {
			t.Errorf("%s: %v", name, r.failure())
		}
	}

	r := drillOf(DrillBackendDown)
	r.OpenedMS = nil
	if r.judge(c, breaker.Closed); r.Verdict != VerdictHeld {
		t.Errorf("with a breaker that an operator closed: %s %q", r.Verdict, r.Findings)
	}
	r.interrupted(http.ErrAbortHandler)
	if r.Verdict != VerdictNotJudged || len(r.Findings) != 1 {
		t.Errorf("interrupted: %s %q", r.Verdict, r.Findings)
	}
}

// A request belongs to the phase in which it began, an error to that in which it
// happened.
func TestDrillRecorder(t *testing.T) {
	now := time.Now()
	at := func(s float64) time.Time { return now.Add(time.Duration(s * float64(time.Second))) }
	r := newRecorder(now)
	over := func(begun, took float64, reason Reason) {
		r.record(&call{begun: at(begun), reason: reason, w: httptest.NewRecorder()}, time.Duration(took*float64(time.Second)))
	}
	over(-10, 11, "")              // it began before anybody looked
	over(0, 0.1, ReasonNoWorker)   //
	over(0, 0.1, ReasonClientGone) // who is nobody's failure
	over(0, 0.1, ReasonBodyTooLarge)
	r.compare(new(hdr.Histogram), at(5))
	over(1, 6, "") // slow, because of what it met in its end
	over(5, 0.2, ReasonQueueTimeout)
	stream := &call{begun: at(5), w: httptest.NewRecorder()}
	stream.w.Header().Set("Content-Type", "text/event-stream")
	r.record(stream, 3*time.Second)
	r.record(&call{begun: at(5), status: http.StatusSwitchingProtocols, w: httptest.NewRecorder()}, 3*time.Second)
	r.cut(at(15))
	over(14, 2, ReasonQueueTimeout)
	over(16, 0.1, "")
	r.waiting(at(14.5), at(18))

	for i, want := range []struct {
		requests int64
		failures int
		longest  time.Duration
	}{{4, 1, 6 * time.Second}, {3, 1, 3500 * time.Millisecond}, {1, 1, 100 * time.Millisecond}} {
		p := r.phase(i)
		if p.latency.Count() != want.requests || p.failures() != want.failures || p.latency.Max() != want.longest {
			t.Errorf("phase %d: %d requests, %d failures, longest %v; want %+v", i, p.latency.Count(), p.failures(), p.latency.Max(), want)
		}
	}
	if r.phase(3).latency.Count() != 0 {
		t.Error("a phase that was not reached has requests")
	}
}

// A quiet bulkhead is compared with its last minute.
func TestDrillComparesWithTheLastMinute(t *testing.T) {
	var minute hdr.Histogram
	minute.RecordN(40*time.Millisecond, 500)
	for own, want := range map[int64]int64{0: 500, drillFewest - 1: 500, drillFewest: drillFewest, 600: 600} {
		r := newRecorder(time.Now())
		r.phases[0].latency.RecordN(time.Millisecond, own)
		r.compare(&minute, time.Now())
		if n := r.phase(beforeDrill).latency.Count(); n != want {
			t.Errorf("with %d requests before: compares with %d, want %d", own, n, want)
		}
	}
}

// What a drill leaves out of a report is left out of its JSON.
func TestDrillResultInReports(t *testing.T) {
	text, err := json.Marshal(Report{Action: "restart", Bulkheads: []string{"orders"}})
	if err != nil || strings.Contains(string(text), "verdict") {
		t.Errorf("%s, %v", text, err)
	}
	passed := drillOf(DrillKill)
	passed.OpenedMS, passed.Verdict = nil, VerdictHeld
	text, err = json.Marshal(Report{Action: "drill", DrillResult: passed})
	if err != nil || !strings.Contains(string(text), `"opened_ms":null`) || !strings.Contains(string(text), `"recovered_ms":5000`) {
		t.Errorf("%s, %v", text, err)
	}
	var back Report
	if err := json.Unmarshal(text, &back); err != nil || back.DrillResult == nil || back.Verdict != VerdictHeld || len(back.Siblings) != 2 {
		t.Errorf("%+v, %v", back, err)
	}
}
