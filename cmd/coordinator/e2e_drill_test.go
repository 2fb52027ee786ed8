//go:build linux

package main_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/demo"
	"commerce.example/coordinator/supervisor"
)

// drillSite is a shop under load that can be drilled: a bulkhead that one frozen
// worker fills, and a breaker that opens and closes soon.
func drillSite(t *testing.T, exe string, env ...string) *site {
	t.Helper()
	steady := demo.Options{Latency: 5 * time.Millisecond, Spread: 0.2}
	s := newSite(t, append(shopSettings(fake(t, demo.Orders, steady), fake(t, demo.Catalog, steady)),
		"BULKHEAD_ORDERS_WORKERS=1", "BULKHEAD_ORDERS_LIMIT=8", "BULKHEAD_ORDERS_QUEUE=16", "BULKHEAD_ORDERS_QUEUE_TIMEOUT=500ms",
		"BULKHEAD_ORDERS_TIMEOUT=2s", "BULKHEAD_ORDERS_BREAKER_WINDOW=2s", "BULKHEAD_ORDERS_BREAKER_MIN_CALLS=5",
		"BULKHEAD_ORDERS_BREAKER_FAILURE_RATIO=0.3", "BULKHEAD_ORDERS_BREAKER_OPEN_FOR=1s",
		"BULKHEAD_ORDERS_RESTART_BUDGET=2/60s", // of which drills take nothing
		"COORDINATOR_LOG_LEVEL=info")...)
	s.exe, s.env = exe, env
	s.start()
	s.generate(ordersPath, 60, time.Hour)
	s.generate(catalogPath, 60, time.Hour)
	return s
}

// drill runs one and returns its report.
func (s *site) drill(mode supervisor.DrillMode) (supervisor.Report, int) {
	s.t.Helper()
	cmd := s.command("drill", "orders", string(mode), "--for=3s", "--yes", "--json")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var report supervisor.Report
	if jsonErr := json.Unmarshal(out, &report); jsonErr != nil || report.DrillResult == nil {
		s.t.Fatalf("%s: %v, %v: %s%s", mode, err, jsonErr, out, stderr.Bytes())
	}
	for _, f := range append([]supervisor.DrillFigures{report.Drilled}, report.Siblings...) {
		s.t.Logf("%-12s %+v", mode, f)
	}
	s.t.Logf("%-12s hit %d workers, machine late %v ms, %s, %q %q", mode, report.Hit, report.LateMS, report.Did, report.Findings, report.Notes)
	return report, cmd.ProcessState.ExitCode()
}

// buildCoordinator builds one that is not slowed by the race detector.
func buildCoordinator(t *testing.T, tags string) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "coordinator")
	build := exec.Command("go", "build", "-buildvcs=false", "-tags="+tags, "-o", exe, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return exe
}

// The siblings of a bulkhead that is drilled notice nothing; where a wall is
// missing they do, and the drill says so.
func TestE2EDrill(t *testing.T) {
	beside(t)
	if testing.Short() {
		t.Skip("takes a minute")
	}
	exe, breached := buildCoordinator(t, ""), buildCoordinator(t, "breached")
	t.Run("Held", func(t *testing.T) { testDrillsHold(t, drillSite(t, exe)) })
	t.Run("Others", func(t *testing.T) {
		// A drill notices the walls that its fault runs into: requests that fail at
		// once hold no slot, so it takes a frozen worker to fill a shared limiter.
		for mode, wall := range map[supervisor.DrillMode]string{
			supervisor.DrillFreeze: "limiter", supervisor.DrillBackendDown: "breaker", supervisor.DrillKill: "pool",
		} {
			t.Run(string(mode)+" without "+wall, func(t *testing.T) {
				t.Parallel()
				testDrillNotices(t, drillSite(t, breached, "BREACH="+wall), mode)
			})
		}
		t.Run("interrupted", func(t *testing.T) {
			t.Parallel()
			testDrillInterrupted(t, drillSite(t, exe))
		})
	})
}

func testDrillsHold(t *testing.T, s *site) {
	catalog := s.pids("catalog")
	modes := []supervisor.DrillMode{supervisor.DrillKill, supervisor.DrillFreeze, supervisor.DrillBackendDown}
	if long {
		modes = slices.DeleteFunc(supervisor.DrillModes(), func(m supervisor.DrillMode) bool { return m == supervisor.DrillFallback }) // no fault
	}
	killed := 0
	for _, mode := range modes {
		r, code := s.drill(mode)
		if mode == supervisor.DrillKill || mode == supervisor.DrillFreeze {
			killed += r.Hit
		}
		switch {
		case r.Verdict == supervisor.VerdictHeld && code == 0:
		case r.Verdict == supervisor.VerdictNotJudged && code == 1 && r.LateMS > 5 && r.Siblings[0].Errors == 0:
			t.Logf("%s: this machine is too busy for percentiles: %q", mode, r.Findings)
		default:
			t.Errorf("%s: exit code %d, %s: %q", mode, code, r.Verdict, r.Findings)
		}
		if f := r.Siblings[0]; f.Name != "catalog" || f.Requests < 100 || f.Errors != 0 {
			t.Errorf("%s: %+v", mode, f)
		}
		if r.Hit == 0 || r.RecoveredMS == nil || (r.Drilled.Errors == 0) != (mode == supervisor.DrillLeak) {
			t.Errorf("%s: hit %d workers, recovered %v, errors %v", mode, r.Hit, r.RecoveredMS, r.Drilled.Reasons)
		}
		ofBackend := mode == supervisor.DrillBackendDown || mode == supervisor.DrillBackendSlow || mode == supervisor.DrillGarbage
		if (r.OpenedMS != nil) != ofBackend {
			t.Errorf("%s: opened after %v ms", mode, r.OpenedMS)
		}
	}
	if n := s.metric("coordinator_worker_restarts_total", "bulkhead", "orders", "cause", "drill"); n != float64(killed) {
		t.Errorf("%v restarts have the cause drill, want %d", n, killed)
	}
	if n := s.metric("coordinator_worker_restarts_total"); n != float64(killed) {
		t.Errorf("%v restarts in all, want %d: the rest has other causes", n, killed)
	}
	if now := s.pids("catalog"); now[0] != catalog[0] || now[1] != catalog[1] {
		t.Errorf("catalog's workers are %v, were %v", now, catalog)
	}
	if b := s.bulkhead("orders"); b.State != "ready" || b.Breaker.State != "closed" || b.Drill != "" {
		t.Errorf("left behind: %+v", b)
	}
}

func testDrillNotices(t *testing.T, s *site, mode supervisor.DrillMode) {
	r, code := s.drill(mode)
	if r.Verdict != supervisor.VerdictBroken || code != 1 || r.Error == "" {
		t.Errorf("exit code %d, %s: %q", code, r.Verdict, r.Findings)
	}
	// The finding is about the sibling, which had errors or became slow.
	if !strings.Contains(strings.Join(r.Findings, "\n"), "catalog") {
		t.Errorf("found %q", r.Findings)
	}
}

// A rehearsal of the fallbacks: everybody gets live answers, and it is known what
// they would get instead; without credentials in the key, that is nothing.
func TestE2EDrillFallback(t *testing.T) {
	beside(t)
	exe := buildCoordinator(t, "")
	for name, test := range map[string]struct {
		env     string
		verdict supervisor.Verdict
		code    int
		missing string
	}{
		"per credential": {"BULKHEAD_ORDERS_STALE_PER_CREDENTIAL=Authorization", supervisor.VerdictHeld, 0, ""},
		"for nobody":     {"BULKHEAD_ORDERS_STALE_MAX_AGE=10m", supervisor.VerdictBroken, 1, "credentials"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			steady := demo.Options{Latency: 5 * time.Millisecond, Spread: 0.2}
			s := newSite(t, append(shopSettings(fake(t, demo.Orders, steady), fake(t, demo.Catalog, steady)),
				"BULKHEAD_ORDERS_FALLBACK=stale", test.env, "COORDINATOR_LOG_LEVEL=info")...)
			s.exe = exe
			s.start()
			s.generate(catalogPath, 60, time.Hour)
			askHistories(t, s)
			cmd := s.command("drill", "orders", "fallback", "--share=50%", "--for=3s", "--json")
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			var report supervisor.Report
			if jsonErr := json.Unmarshal(out, &report); jsonErr != nil || report.DrillResult == nil || report.Fallback == nil {
				t.Fatalf("%v, %v: %s%s", err, jsonErr, out, stderr.Bytes())
			}
			f := report.Fallback
			t.Logf("%s %q %q %+v", report.Verdict, report.Findings, report.Notes, f)
			switch code := cmd.ProcessState.ExitCode(); {
			case report.Verdict == test.verdict && code == test.code:
			case report.Verdict == supervisor.VerdictNotJudged && report.LateMS > 5:
				t.Logf("this machine is too busy for percentiles: %q", report.Findings)
			default:
				t.Errorf("exit code %d, %s: %q", code, report.Verdict, report.Findings)
			}
			if f.Asked < 20 || f.Drifted != 0 || f.Coverage == nil {
				t.Fatalf("%+v", f)
			}
			if test.missing == "" && (*f.Coverage != 1 || f.Compared == 0) || test.missing != "" && (*f.Coverage != 0 || f.Missing[test.missing] != f.Asked) {
				t.Errorf("%+v", f)
			}
			if n := s.metric("coordinator_fallback_total", "bulkhead", "orders", "kind", "stale"); n != 0 {
				t.Errorf("%v fallbacks were given", n)
			}
		})
	}
}

// askHistories has some users ask for their orders until the test ends.
func askHistories(t *testing.T, s *site) {
	client := newClient(t)
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			if a, err := historyOf(demo.Username(i%5)).ask(client, s.url); err != nil || a.status != "200 OK" || a.header.Get("Cache-Status") != "" {
				t.Errorf("%v: %s %v", err, a.status, a.header)
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-ended })
}

// Ctrl-C ends a drill, and what it has stopped goes on.
func testDrillInterrupted(t *testing.T, s *site) {
	pid := s.pids("orders")[0]
	cmd := s.command("drill", "orders", "freeze", "--for=1m", "--yes")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the worker is stopped", func() bool { return state(pid) == 'T' })
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // its exit code says it
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(out.String(), "interrupted: the fault has ended") {
		t.Errorf("exit code %d: %s", code, out.String())
	}
	if is := state(pid); is == 'T' {
		t.Error("the worker is still stopped")
	}
	if b := s.bulkhead("orders"); b.Drill != "" || b.State != "ready" {
		t.Errorf("left behind: %+v", b)
	}
}

// state is the letter that the kernel has for what a process does; 0 when it is gone.
func state(pid int) byte {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if _, after, ok := bytes.Cut(stat, []byte(") ")); err == nil && ok && len(after) > 0 {
		return after[0]
	}
	return 0
}
