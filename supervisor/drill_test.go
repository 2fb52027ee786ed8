package supervisor_test

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/breaker"
)

func TestDrillIsRefused(t *testing.T) {
	r := start(t, []supervisor.BulkheadConfig{bulkhead("a"), bulkhead("b")})
	refused := func(name, says string) {
		t.Helper()
		report := r.Drill(t.Context(), name, supervisor.DrillPlan{Mode: supervisor.DrillKill, For: time.Second})
		if report.DrillResult != nil || !strings.Contains(report.Error, says) {
			t.Errorf("%s: %q, %v; want %q", name, report.Error, report.DrillResult, says)
		}
	}
	refused("c", `no bulkhead "c"`)

	r.Supervisor.Drain(t.Context(), "b")
	refused("a", "b is draining")
	refused("b", "b is draining")
	r.Resume(t.Context(), "b")

	r.ForceBreaker(t.Context(), "b", breaker.Open)
	refused("a", "the breaker of b is forced_open")
	r.ForceBreaker(t.Context(), "b", breaker.Auto)

	for range 5 {
		r.get("/a/exit")
	}
	if b := r.bulkhead("a"); b.State != "ready" {
		refused("b", "a is "+b.State)
	}
	eventually(t, 10*time.Second, "a is ready", func() bool { return r.bulkhead("a").State == "ready" })

	var drills sync.WaitGroup
	ctx, end := context.WithCancelCause(t.Context())
	drills.Go(func() {
		report := r.Drill(ctx, "a", supervisor.DrillPlan{Mode: supervisor.DrillKill, For: time.Minute})
		if report.Error != "had enough" {
			t.Errorf("ended before the fault: %q", report.Error)
		}
	})
	eventually(t, 5*time.Second, "the drill shows", func() bool { return r.bulkhead("a").Drill == supervisor.DrillKill })
	refused("b", "another drill runs")
	end(errors.New("had enough"))
	drills.Wait()
	if is := r.bulkhead("a").Drill; is != "" {
		t.Errorf("status still shows %q", is)
	}
}

func TestDrillWithoutSiblings(t *testing.T) {
	r := start(t, []supervisor.BulkheadConfig{bulkhead("a")})
	if report := r.Drill(t.Context(), "a", supervisor.DrillPlan{Mode: supervisor.DrillKill, For: time.Second}); !strings.Contains(report.Error, "no sibling") {
		t.Errorf("%q", report.Error)
	}
}

// These workers answer by themselves, and say so once that is certain.
func TestDrillThatWorkersCannotPlay(t *testing.T) {
	t.Parallel()
	r := start(t, []supervisor.BulkheadConfig{bulkhead("a"), bulkhead("b")})
	for range 20 {
		r.get("/a")
	}
	report := r.Drill(t.Context(), "a", supervisor.DrillPlan{Mode: supervisor.DrillGarbage, For: time.Second})
	if report.DrillResult != nil || !strings.Contains(report.Error, "this worker cannot play it") {
		t.Errorf("%q", report.Error)
	}
}

// A leak goes on until the limit on memory acts, and costs no answer.
func TestDrillLeakReachesTheLimit(t *testing.T) {
	t.Parallel()
	r := start(t, []supervisor.BulkheadConfig{
		bulkhead("a", func(c *supervisor.BulkheadConfig) { c.Recycle.Memory = 160 << 20 }), bulkhead("b"),
	})
	ended := make(chan supervisor.Report, 1)
	go func() {
		ended <- r.Drill(t.Context(), "a", supervisor.DrillPlan{Mode: supervisor.DrillLeak, For: 4 * time.Second})
	}()
	var report supervisor.Report
	for running := true; running; {
		select {
		case report = <-ended:
			running = false
		case <-time.After(10 * time.Millisecond):
			for _, path := range []string{"/a", "/b"} {
				if got := r.reason("GET", path, nil); got != "200" {
					t.Errorf("%s: %s", path, got)
				}
			}
		}
	}
	if report.DrillResult == nil || report.Drilled.Errors != 0 || report.Verdict == supervisor.VerdictBroken {
		t.Fatalf("%q, %+v", report.Error, report.DrillResult)
	}
	if r.bulkhead("a").Restarts == 0 {
		t.Error("no worker was recycled")
	}
}

// Whatever an operator does outranks a drill, also on a sibling.
func TestOperationEndsDrill(t *testing.T) {
	t.Parallel()
	r := start(t, []supervisor.BulkheadConfig{bulkhead("a"), bulkhead("b")})
	ended := make(chan supervisor.Report, 1)
	go func() {
		ended <- r.Drill(t.Context(), "a", supervisor.DrillPlan{Mode: supervisor.DrillKill, For: time.Minute})
	}()
	eventually(t, 5*time.Second, "the drill shows", func() bool { return r.bulkhead("a").Drill != "" })
	for _, name := range []string{"b", "a"} {
		if report := r.Restart(t.Context(), name); report.Error != "" {
			t.Errorf("restart %s: %s", name, report.Error)
		}
	}
	if report := <-ended; !strings.Contains(report.Error, "an operator's restart") {
		t.Errorf("%q", report.Error)
	}
}

// A worker that a drill has frozen is not left so by a reload.
func TestReloadEndsDrill(t *testing.T) {
	t.Parallel()
	config := []supervisor.BulkheadConfig{bulkhead("a"), bulkhead("b")}
	r := start(t, config, func(o *supervisor.Options) {
		o.Load = func() (supervisor.Config, error) { return o.Config, nil }
	})
	pid := r.bulkhead("a").Workers[0].Pid
	ended := make(chan supervisor.Report, 1)
	go func() {
		ended <- r.Drill(t.Context(), "a", supervisor.DrillPlan{Mode: supervisor.DrillFreeze, For: time.Minute})
	}()
	eventually(t, 15*time.Second, "the worker is frozen", func() bool { return stopped(pid) })
	if report := r.Reload(t.Context()); report.Error != "" {
		t.Errorf("reload: %s", report.Error)
	}
	report := <-ended
	if report.DrillResult == nil || report.Verdict != supervisor.VerdictNotJudged || !strings.Contains(report.Error, "a reload") {
		t.Errorf("%q, %+v", report.Error, report.DrillResult)
	}
	if stopped(pid) {
		t.Error("the worker is still stopped")
	}
	if resp, body := r.get("/a"); resp.StatusCode != 200 || body != "a" {
		t.Errorf("a answers %d %q", resp.StatusCode, body)
	}
}

// stopped reports whether the kernel says so.
func stopped(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(after, "T")
}

// The end of the supervisor does not wait for a drill.
func TestStopEndsDrill(t *testing.T) {
	t.Parallel()
	r := start(t, []supervisor.BulkheadConfig{bulkhead("a"), bulkhead("b")})
	ended := make(chan supervisor.Report, 1)
	go func() {
		ended <- r.Drill(t.Context(), "a", supervisor.DrillPlan{Mode: supervisor.DrillKill, For: time.Minute})
	}()
	eventually(t, 5*time.Second, "the drill shows", func() bool { return r.bulkhead("a").Drill != "" })
	begun := time.Now()
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if report := <-ended; !strings.Contains(report.Error, "the supervisor stops") {
		t.Errorf("%q", report.Error)
	}
}
