package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/sizing"
)

// busy is a bulkhead near its limit; every field of its evidence is what its
// figures would be, so that the advice is computed by formula.
func busy(name string) supervisor.BulkheadEvidence {
	const n = 70_800
	return supervisor.BulkheadEvidence{
		Bulkhead: name,
		Evidence: sizing.Evidence{
			Window: 10 * time.Minute, Arrivals: n, Admitted: n - 900, Full: 850, TimedOut: 50, Failed: 560, Peak: 32,
			Holding: sizing.Durations{Count: n - 910, Mean: 212 * time.Millisecond, SCV: 1.02},
			Waits: sizing.Durations{Count: n - 900, Mean: 21 * time.Millisecond, SCV: 6, Shape: sizing.Shape{
				{Count: n - 3000}, {At: 180 * time.Millisecond, Width: 16 * time.Millisecond, Count: 2100}}},
			GapSCV: 1.01, Gaps: n - 1, Dispersion: 1.05, Seconds: 600, CPU: 992 * time.Second,
		},
		Setting: supervisor.SizeSetting{Limit: 32, Queue: 16, QueueTimeoutMS: 1000, Workers: 2, TimeoutMS: 30_000, UpgradeLimit: 32, UnchangedS: 7200},
		Breaker: supervisor.BreakerSetting{WindowMS: 10_000, MinCalls: 20, FailureRatio: 0.5, SlowRatio: 1, OpenForMS: 5000, Mode: "auto"},
	}
}

func (f *fakeSupervisor) Evidence(b string, window time.Duration) (supervisor.BulkheadEvidence, error) {
	f.did(context.Background(), "evidence "+b+" "+window.String(), supervisor.Report{})
	e := busy(b)
	switch b {
	case "bursty":
		e.Evidence.GapSCV, e.Evidence.Dispersion, e.Evidence.Full, e.Evidence.Failed = 6.2, 14, 9000, 0
		e.Evidence.Crowding = sizing.Crowding{Count: 60_000, Mean: 22, Held: 0.212, Slope: 0.009, Error: 0.0001}
	case "idle":
		e.Evidence = sizing.Evidence{Window: time.Hour}
	}
	return e, nil
}

func (f *fakeSupervisor) Size(context.Context, string, supervisor.AdviceQuestion) (supervisor.SizeAdvice, error) {
	panic("the command computes for itself")
}

func (f *fakeSupervisor) Record(ctx context.Context, b string, span time.Duration, w io.Writer) error {
	f.did(ctx, "record "+b+" "+span.String(), supervisor.Report{})
	_, err := w.Write(traceOf(200))
	return err
}

// traceOf is a trace of Poisson arrivals, ten a second of 0.5 s each.
func traceOf(visits int) []byte {
	var text bytes.Buffer
	out, err := sizing.NewTraceWriter(&text, sizing.TraceHeader{Bulkhead: "orders", Limit: 6, Queue: 3, QueueTimeout: 500})
	rng := rand.New(rand.NewPCG(1, 2))
	var at time.Duration
	for range visits {
		at += time.Duration(rng.ExpFloat64() * float64(100*time.Millisecond))
		err = out.Write(sizing.Visit{At: at, Held: 500 * time.Millisecond})
	}
	if _, closed := out.Close(0, 0); err != nil || closed != nil {
		panic("a buffer has no errors")
	}
	return text.Bytes()
}

func narrow(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

func TestSize(t *testing.T) {
	f := &fakeSupervisor{status: supervisor.Status{Bulkheads: []supervisor.BulkheadStatus{{Name: "orders"}, {Name: "bursty"}, {Name: "idle"}}}}
	socket := f.listen(t)
	for name, args := range map[string][]string{
		"size-orders.golden": {"orders", "--window=10m"},
		"size-bursty.golden": {"bursty"},
		"size-idle.golden":   {"idle"},
		"size-whatif.golden": {"orders", "--rate=2x", "--limit=64", "--queue=0", "--replicas=2", "--refuse=1%", "--wait-p99=200ms"},
		"size-all.golden":    {},
	} {
		code, stdout, stderr := coordinator(t, nil, append([]string{"size", "--socket", socket}, args...)...)
		if code != exitDone || stderr != "" {
			t.Errorf("%s: exit code %d: %s", name, code, stderr)
		}
		golden(t, name, stdout)
		narrow(t, stdout)
	}
	if got := f.took(); !slices.Contains(got, "evidence orders 10m0s") {
		t.Errorf("%q", got)
	}
}

func TestSizeJSON(t *testing.T) {
	f := &fakeSupervisor{status: supervisor.Status{Bulkheads: []supervisor.BulkheadStatus{{Name: "orders"}, {Name: "idle"}}}}
	socket := f.listen(t)
	_, stdout, _ := coordinator(t, nil, "size", "orders", "--json", "--socket", socket)
	var one map[string]any
	if err := json.Unmarshal([]byte(stdout), &one); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	for _, name := range []string{"bulkhead", "window_s", "arrivals_per_s", "holding_mean_ms", "offered_load", "utilisation", "saturation_rate",
		"predicted", "measured", "recommended", "objective", "setting", "breaker", "notes"} {
		if _, ok := one[name]; !ok {
			t.Errorf("no %s in %s", name, stdout)
		}
	}
	if b := one["breaker"].(map[string]any); b["failure_share"].(float64) < 0.007 || b["detects_failing_ms"].(float64) <= 0 {
		t.Errorf("%v", b)
	}
	_, stdout, _ = coordinator(t, nil, "size", "--json", "--socket", socket)
	var all []map[string]any
	if err := json.Unmarshal([]byte(stdout), &all); err != nil || len(all) != 2 || all[1]["bulkhead"] != "idle" {
		t.Errorf("%v: %s", err, stdout)
	}
}

func TestSizeRefusesNonsense(t *testing.T) {
	socket := (&fakeSupervisor{status: supervisor.Status{Bulkheads: []supervisor.BulkheadStatus{{Name: "orders"}}}}).listen(t)
	trace := filepath.Join(t.TempDir(), "t")
	if err := os.WriteFile(trace, traceOf(100), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"ordres"}, exitUsage, `did you mean orders`},
		{[]string{"orders", "--window=2h"}, exitUsage, "--window=2h0m0s: want a duration above 0 and up to 1h"},
		{[]string{"orders", "--refuse=0"}, exitUsage, "want a share above 0"},
		{[]string{"orders", "--rate=fast"}, exitUsage, "want 2x, or 120/s"},
		{[]string{"orders", "--slow=5s"}, exitUsage, "want 5%:5s"},
		{[]string{"orders", "--limit=0"}, exitUsage, "--limit=0: want a whole number from 1"},
		{[]string{"orders", "--queue=-1"}, exitUsage, "--queue=-1: want a whole number from 0"},
		{[]string{"orders", "--holding=-1s"}, exitUsage, "--holding=-1s: want a duration above 0"},
		{[]string{"--trace=" + trace, "--window=1m"}, exitUsage, "a trace is replayed whole"},
		{[]string{"catalog", "--trace=" + trace}, exitUsage, "was recorded at orders, not at catalog"},
		{[]string{"--trace=size_test.go"}, exitFailed, "is no trace"},
		{[]string{"--trace=/none"}, exitFailed, "no such file"},
	} {
		code, stdout, stderr := coordinator(t, nil, append([]string{"size", "--socket", socket}, test.args...)...)
		if code != test.code || stdout != "" || !strings.Contains(stderr, test.says) {
			t.Errorf("%q: %d %s%s", test.args, code, stdout, stderr)
		}
	}
}

// record writes what size reads, keeps earlier files, and asks first.
func TestRecordThenSize(t *testing.T) {
	f := &fakeSupervisor{status: supervisor.Status{Bulkheads: []supervisor.BulkheadStatus{{Name: "orders"}}}}
	socket, file := f.listen(t), filepath.Join(t.TempDir(), "orders.trace")
	record := func(args ...string) (int, string, string) {
		return coordinator(t, nil, append([]string{"record", "--socket", socket, "--for=1s"}, args...)...)
	}
	code, _, stderr := record("orders", "--out", file)
	if code != exitFailed || !strings.Contains(stderr, "recorded 200 requests") || !strings.Contains(stderr, "ended before its time") {
		t.Errorf("a recording of a moment: %d %s", code, stderr)
	}
	if got := f.took(); !slices.Equal(got, []string{"record orders 1s"}) {
		t.Errorf("%q", got)
	}
	code, stdout, stderr := coordinator(t, nil, "size", "--trace", file)
	if code != exitDone || stderr != "" || !strings.Contains(stdout, "orders: ") || !strings.Contains(stdout, "replay of the recorded") {
		t.Errorf("%d %s%s", code, stdout, stderr)
	}
	narrow(t, stdout)
	if code, _, stderr := record("orders", "--out", file); code != exitFailed || !strings.Contains(stderr, "exists") {
		t.Errorf("over an earlier one: %d %s", code, stderr)
	}
	none := filepath.Join(t.TempDir(), "none")
	if code, _, stderr := record("ordres", "--out", none); code != exitUsage || !strings.Contains(stderr, "orders") {
		t.Errorf("of nobody: %d %s", code, stderr)
	}
	if _, err := os.Stat(none); err == nil {
		t.Error("a refused recording leaves a file")
	}
	for _, args := range [][]string{{"orders", "--for=2h"}, {"orders", "--json", "--out=-"}} {
		if code, _, stderr := record(args...); code != exitUsage {
			t.Errorf("%q: %d %s", args, code, stderr)
		}
	}
	code, stdout, _ = record("orders", "--out=-")
	if trace, err := sizing.ReadTrace(strings.NewReader(stdout)); code != exitFailed || err != nil || len(trace.Visits) != 200 {
		t.Errorf("to the terminal: %d %v", code, err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut")
	if err := os.WriteFile(cut, text[:len(text)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := coordinator(t, nil, "size", "--trace", cut); code != exitDone || !strings.Contains(stderr, "has no end") {
		t.Errorf("of half a trace: %d %s", code, stderr)
	}
}

// check warns of what cannot do what it seems to say, and still succeeds.
func TestCheckLints(t *testing.T) {
	environ := []string{"HOME=/home/op", "COORDINATOR_BULKHEADS=a-b", "BULKHEAD_A_B_ROUTES=/a", "BULKHEAD_A_B_BACKEND=http://127.0.0.1:1",
		"BULKHEAD_A_B_LIMIT=4", "BULKHEAD_A_B_QUEUE=400", "BULKHEAD_A_B_QUEUE_TIMEOUT=1s", "BULKHEAD_A_B_TIMEOUT=2s",
		"BULKHEAD_A_B_BREAKER_SLOW_CALL=1s", "BULKHEAD_A_B_BREAKER_WINDOW=10s"}
	code, _, stderr := coordinator(t, environ, "check")
	want := "warning: BULKHEAD_A_B_QUEUE: QUEUE is 400, and with calls of 1s no more than 4 of them are served within QUEUE_TIMEOUT of 1s\n"
	if code != exitDone || !strings.Contains(stderr, want) {
		t.Errorf("exit code %d, stderr:\n%s", code, stderr)
	}
	var report struct {
		OK       bool
		Warnings []struct{ Variable, Message string }
	}
	_, stdout, _ := coordinator(t, environ, "check", "--json")
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || !report.OK || len(report.Warnings) < 1 || report.Warnings[0].Variable != "BULKHEAD_A_B_QUEUE" {
		t.Errorf("%v %+v", err, report)
	}
}

// A machine that is too small for all of them together.
func TestLintOfTheMachine(t *testing.T) {
	c := supervisor.Config{Conns: 20_000, Bulkheads: []supervisor.BulkheadConfig{
		{Name: "a", Limit: 100, UpgradeLimit: 100, Workers: 2, Worker: supervisor.WorkerConfig{Memory: 1 << 30}},
		{Name: "b", Limit: 10, Workers: 1},
	}}
	var variables []string
	for _, p := range lint(c, sizing.House{Descriptors: 1024, WorkerFiles: 1024, Memory: 1 << 30}) {
		variables = append(variables, p.Variable)
	}
	want := []string{"BULKHEAD_A_LIMIT", "COORDINATOR_CONNS", "COORDINATOR_BULKHEADS"}
	if !slices.Equal(variables, want) {
		t.Errorf("%q, want %q", variables, want)
	}
	if found := lint(c, sizing.House{}); found != nil {
		t.Errorf("of a machine that is not known: %v", found)
	}
	if m := thisMachine(); m.Descriptors == 0 {
		t.Errorf("%+v", m)
	}
}
