package main

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
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
		if got := f.took(); !slices.Equal(got, []string{"drill orders " + string(mode) + " " + (10 * time.Second).String()}) {
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
