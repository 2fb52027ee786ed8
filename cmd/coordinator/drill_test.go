package main

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/fallback"
)

// drillResult is one with something to say of everything.
func drillResult() *supervisor.DrillResult {
	return &supervisor.DrillResult{
		Mode: supervisor.DrillKill, ForMS: 10_000, Hit: 20,
		Drilled: supervisor.DrillFigures{Name: "orders", Requests: 1000, Errors: 42, P99Before: 21.4, P99During: 130, P99After: 20,
			Reasons: map[string]int{"worker_died": 2, "no_worker": 40}},
		Siblings: []supervisor.DrillFigures{{Name: "catalog", Requests: 2000, P99Before: 9.1, P99During: 10.2, P99After: 9}},
		OpenedMS: new(312.0), RecoveredMS: new(84.0),
		Verdict: supervisor.VerdictHeld, Findings: []string{}, Notes: []string{"search had 3 requests during the fault: its latency is not judged"},
	}
}

func TestDrill(t *testing.T) {
	f := &fakeSupervisor{status: threeBulkheads()}
	socket := f.listen(t)
	code, stdout, stderr := coordinator(t, nil, "drill", "orders", "kill", "--yes", "--for", "1500ms", "--socket", socket)
	const want = `BULKHEAD  REQUESTS  ERRORS  P99 BEFORE  DURING  AFTER
orders        1000      42        21ms   130ms   20ms
  errors    no_worker=40, worker_died=2
catalog       2000       0       9.1ms    10ms  9.0ms

its breaker opened after 0.3s
as before after 0.1s
search had 3 requests during the fault: its latency is not judged
HELD: nobody but orders noticed (17s)
`
	if code != exitDone || stdout != want || stderr != "" {
		t.Errorf("exit code %d, stderr %q:\n%s", code, stderr, stdout)
	}
	if got := f.took(); !slices.Equal(got, []string{"drill orders kill 1.5s"}) {
		t.Errorf("the supervisor was asked for %q", got)
	}
	code, stdout, _ = coordinator(t, nil, "drill", "orders", "kill", "--yes", "--json", "--socket", socket)
	var report map[string]any
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != exitDone || report["verdict"] != "held" || report["opened_ms"] != 312.0 {
		t.Errorf("exit code %d, %v: %s", code, err, stdout)
	}
}

// rehearsalResult is one with something to say of everything.
func rehearsalResult() *supervisor.DrillResult {
	r := drillResult()
	r.Mode, r.Hit, r.OpenedMS, r.Notes = supervisor.DrillFallback, 0, nil, []string{}
	r.Drilled.Errors, r.Drilled.Reasons = 0, map[string]int{}
	r.Fallback = &supervisor.FallbackFigures{
		Share: 0.1, Wanted: 0.9, Asked: 400, Coverage: new(0.985),
		Covered: map[fallback.Kind]int{fallback.Stale: 380, fallback.Backup: 4}, Missing: map[string]int{"not_seen": 10, "no_store": 6},
		Ages:     map[fallback.Kind]supervisor.FallbackAge{fallback.Stale: {P50Seconds: 2.5, MaxSeconds: 92}, fallback.Backup: {P50Seconds: 950_400, MaxSeconds: 950_400}},
		Compared: 380, NotCompared: map[supervisor.Uncompared]int{supervisor.UncomparedPart: 3, supervisor.UncomparedBusy: 1},
		Drifted: 2, Drifts: []string{".results[].title was string and is \x1b[31mgone (2)"}, LiveBytes: 5310.4, StoredBytes: 5290,
	}
	return r
}

func TestDrillFallback(t *testing.T) {
	f := &fakeSupervisor{status: threeBulkheads()}
	socket := f.listen(t)
	code, stdout, stderr := coordinator(t, nil, "drill", "orders", "fallback", "--share", "25%", "--coverage", "0.95", "--socket", socket)
	const want = `BULKHEAD  REQUESTS  ERRORS  P99 BEFORE  DURING  AFTER
orders        1000       0        21ms   130ms   20ms
catalog       2000       0       9.1ms    10ms  9.0ms

FALLBACK  ANSWERS  SHARE  AGE P50    MAX
stale         380  95.0%     2.5s  1m32s
backup          4   1.0%    11d0h  11d0h
none           16   4.0%
  because   not_seen=10, no_store=6

380 compared with the live answers, 2 differ; 5290 bytes on average, live
  5310; not compared: part=3, busy=1
.results[].title was string and is �[31mgone (2)
HELD: 98.5 % of the repeated requests have a fallback, and nobody noticed
  (17s)
`
	if code != exitDone || stdout != strings.ReplaceAll(want, `\ufffd`, "\ufffd") || stderr != "" {
		t.Errorf("exit code %d, stderr %q:\n%s", code, stderr, stdout)
	}
	coordinator(t, nil, "drill", "orders", "fallback", "--give", "--yes", "--for", "1m", "--socket", socket)
	if got := f.took(); !slices.Equal(got, []string{"drill orders fallback 10s 0.25 0.95 false", "drill orders fallback 1m0s 0.1 0.9 true"}) {
		t.Errorf("the supervisor was asked for %q", got)
	}
	_, stdout, _ = coordinator(t, nil, "drill", "orders", "fallback", "--json", "--socket", socket)
	var report supervisor.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || report.Fallback == nil || report.Fallback.Covered[fallback.Stale] != 380 {
		t.Errorf("%v: %s", err, stdout)
	}
}

func TestDrillThatFailed(t *testing.T) {
	for verdict, heading := range map[supervisor.Verdict]string{supervisor.VerdictBroken: "BROKEN", supervisor.VerdictNotJudged: "NOT JUDGED"} {
		r := drillResult()
		r.Verdict, r.OpenedMS, r.RecoveredMS = verdict, nil, nil
		r.Findings = []string{"catalog had 3 errors (queue_timeout=3)", "the p99 of catalog rose from 9.1 to 900.0 ms"}
		f := &fakeSupervisor{status: threeBulkheads(), answer: func(_ context.Context, was supervisor.Report) supervisor.Report {
			was.DrillResult, was.Error = r, "see the findings"
			return was
		}}
		socket := f.listen(t)
		code, stdout, stderr := coordinator(t, nil, "drill", "orders", "kill", "--yes", "--socket", socket)
		for _, text := range []string{"its breaker did not open\n", "not as before\n", heading + ": catalog had 3 errors (queue_timeout=3); the p99 of catalog rose"} {
			if !strings.Contains(strings.ReplaceAll(stdout, "\n  ", " "), text) {
				t.Errorf("%s: no %q in\n%s", verdict, text, stdout)
			}
		}
		if code != exitFailed || stderr != "" {
			t.Errorf("%s: exit code %d, stderr %q", verdict, code, stderr)
		}
		code, stdout, _ = coordinator(t, nil, "drill", "orders", "kill", "--yes", "--json", "--socket", socket)
		if code != exitFailed || !strings.Contains(stdout, string(verdict)) {
			t.Errorf("%s --json: exit code %d: %s", verdict, code, stdout)
		}
	}
}

func TestDrillThatDidNotBegin(t *testing.T) {
	f := &fakeSupervisor{status: threeBulkheads(), answer: func(_ context.Context, _ supervisor.Report) supervisor.Report {
		return supervisor.Report{Action: "drill", Bulkheads: []string{"orders"}, Error: "refused: search is degraded", TookMS: 1}
	}}
	code, stdout, stderr := coordinator(t, nil, "drill", "orders", "leak", "--yes", "--socket", f.listen(t))
	if code != exitFailed || stdout != "" || stderr != "coordinator: drill orders failed after 1.0 ms: refused: search is degraded\n" {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

func TestDrillUsage(t *testing.T) {
	f := &fakeSupervisor{status: threeBulkheads()}
	socket := f.listen(t)
	for args, want := range map[string]string{
		"drill orders kill":                   "there is no terminal to confirm it on: --yes",
		"drill order kill --yes":              "did you mean orders",
		"drill .. kill --yes":                 "is no name of a bulkhead",
		"drill orders flood --yes":            "must be one of",
		"drill orders kill --yes --for 999ms": "want 1s to 10m",
		"drill orders kill --yes --for 11m":   "want 1s to 10m",
		"drill orders kill --yes --share 10%": "are for mode fallback",
		"drill orders kill --yes --give":      "are for mode fallback",
		"drill orders fallback --share 0%":    "more than 0%",
		"drill orders fallback --share 101%":  "at most 100%",
		"drill orders fallback --coverage x":  "want a share as 10% or 0.1",
		"drill orders fallback --give":        "there is no terminal to confirm it on: --yes",
	} {
		code, stdout, stderr := coordinator(t, nil, append(strings.Fields(args), "--socket", socket)...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q; want %q", args, code, stdout, stderr, want)
		}
		if got := f.took(); got != nil {
			t.Errorf("%s: did %q", args, got)
		}
	}
}

// Every mode that there is can be asked for, and says what it does.
func TestDrillModes(t *testing.T) {
	f := &fakeSupervisor{status: threeBulkheads()}
	socket := f.listen(t)
	for _, mode := range supervisor.DrillModes() {
		if drillDeeds[mode] == "" {
			t.Errorf("nobody is told what %s does", mode)
		}
		coordinator(t, nil, "drill", "orders", string(mode), "--yes", "--socket", socket)
		want := "drill orders " + string(mode) + " " + (10 * time.Second).String()
		if mode == supervisor.DrillFallback {
			want += " 0.1 0.9 false"
		}
		if got := f.took(); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: did %q", mode, got)
		}
	}
}

func TestStatusShowsDrill(t *testing.T) {
	f := &fakeSupervisor{status: threeBulkheads()}
	f.status.Bulkheads[0].Drill = supervisor.DrillFreeze
	socket := f.listen(t)
	for _, args := range [][]string{{"status"}, {"status", "orders"}} {
		if _, stdout, _ := coordinator(t, nil, append(args, "--socket", socket)...); strings.Count(stdout, "drill     freeze, by an operator\n") != 1 {
			t.Errorf("%q:\n%s", args, stdout)
		}
	}
}
