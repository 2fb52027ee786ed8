//go:build linux

package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/demo"
	"commerce.example/coordinator/cmd/coordinator/internal/load"
)

// quiet reports whether latencies of some milliseconds mean anything now. noise
// is the p99 of an answer that the supervisor alone makes, in the same phase:
// above 5 ms the machine is short of CPU for reasons of its own. The long run is
// for a machine that is not, and always judges.
func quiet(t *testing.T, noise time.Duration) bool {
	t.Helper()
	if noise > 5*time.Millisecond && !long {
		t.Logf("latencies are not judged: the p99 of no_route is %v", noise)
		return false
	}
	return true
}

// answeredOrShed wants no failures, or on a machine that is late none but those of
// a limit that a late machine reaches.
func answeredOrShed(t *testing.T, r *load.Result, noise time.Duration) {
	t.Helper()
	if quiet(t, noise) {
		noErrors(t, r)
		return
	}
	shed := r.Reasons["queue_full"] + r.Reasons["queue_timeout"]
	if failed := r.Failed() - r.Dropped; failed > shed || r.Done == 0 {
		t.Errorf("%s: %d of %d requests failed, %d of them for want of room", r.Name, failed, r.Due, shed)
	}
}

// unhurt wants the p99 of a phase within 10 % or 5 ms of what it was alone. That of
// few requests is the slowest of them, and says nothing; and a short run, on a
// machine that others use too, allows what the machine was late besides.
func unhurt(t *testing.T, alone, beside *load.Result, noise time.Duration) {
	t.Helper()
	was, is := alone.All.Quantile(.99), beside.All.Quantile(.99)
	t.Logf("%s: p99 alone %v, beside %v (no_route %v)", beside.Name, was, is, noise)
	const fewest = 200
	if beside.Done < fewest {
		t.Logf("%s: %d requests have no p99", beside.Name, beside.Done)
		return
	}
	allowed := max(was/10, 5*time.Millisecond)
	if !long {
		allowed += noise
	}
	if quiet(t, noise) && is-was > allowed {
		t.Errorf("%s: p99 rose from %v to %v, want at most %v more", beside.Name, was, is, allowed)
	}
}

// An orders service that hangs opens its breaker and hurts nobody else; repaired,
// it is back within OPEN_FOR + 1 s.
func TestE2EHang(t *testing.T) {
	beside(t)
	s, orders, _ := shop(t, "BULKHEAD_ORDERS_TIMEOUT=2s", "BULKHEAD_ORDERS_LIMIT=32", "BULKHEAD_ORDERS_QUEUE=16", "BULKHEAD_ORDERS_QUEUE_TIMEOUT=1s", "COORDINATOR_LOG_LEVEL=info")
	alone, healthy, hung := span(2*time.Second, 10*time.Second), span(3*time.Second, 15*time.Second), span(6*time.Second, 30*time.Second)

	rate := 100.0
	if long {
		rate = 200
	}
	others := s.generate(catalogPath, rate, alone+healthy+hung+8*time.Second, func(o *load.Options) { o.Name = "catalog" })
	// An answer that touches no bulkhead: what one costs on this machine now.
	front := s.generate("/nowhere", rate, alone+healthy+hung+8*time.Second, func(o *load.Options) { o.Name = "no_route" })
	time.Sleep(alone)
	others.Cut("catalog beside healthy orders")
	begun := time.Now()
	calls := s.generate(ordersPath, rate, healthy+hung+8*time.Second, func(o *load.Options) { o.Name = "orders" })
	time.Sleep(healthy)

	others.Cut("catalog beside hung orders")
	calls.Cut("until open")
	front.Cut("no_route until orders is open")
	eventually(t, 5*time.Second, "what was sent before is answered", func() bool {
		before := calls.Phases()[0]
		return before.Done == before.Due
	})
	fault(t, orders, demo.Hang)
	opened := eventually(t, 4*time.Second, "the breaker is open", func() bool { return s.bulkhead("orders").Breaker.State == "open" })
	calls.Cut("open")
	front.Cut("no_route while orders is open")
	t.Logf("open %v after the hang, which followed %v of health", opened, time.Since(begun)-opened)
	if opened > 3*time.Second {
		t.Errorf("open after %v, want 3 s", opened)
	}
	time.Sleep(hung - opened)

	calls.Cut("repaired")
	front.Cut("no_route after the repair")
	fault(t, orders, demo.Up)
	closed := eventually(t, 8*time.Second, "the breaker is closed", func() bool { return s.bulkhead("orders").Breaker.State == "closed" })
	calls.Cut("closed")
	others.Cut("catalog after")
	t.Logf("closed %v after the repair", closed)
	if closed > 6*time.Second { // OPEN_FOR + 1 s
		t.Errorf("closed after %v, want OPEN_FOR + 1 s = 6 s", closed)
	}
	time.Sleep(time.Second)

	calls.Stop()
	others.Stop()
	front.Stop()
	c, o := calls.Phases(), others.Phases()
	for _, phase := range c {
		t.Log("orders, ", figures(phase))
	}
	for _, phase := range o {
		noErrors(t, phase)
	}
	open := c[2]
	reference := front.Phases()
	for _, phase := range reference {
		t.Log(figures(phase))
	}
	noise := reference[2].All.Quantile(.99)
	if p99 := open.All.Quantile(.99); quiet(t, noise) && p99 > 5*time.Millisecond {
		t.Errorf("p99 of the refusals is %v, want 5 ms; no_route took %v at the same time", p99, noise)
	}
	if open.Reasons["breaker_open"] < open.Done*9/10 {
		t.Errorf("%d of %d answers say breaker_open", open.Reasons["breaker_open"], open.Done)
	}
	answeredOrShed(t, c[0], max(reference[0].All.Quantile(.99), reference[1].All.Quantile(.99)))
	answeredOrShed(t, c[4], reference[3].All.Quantile(.99))
	unhurt(t, o[0], o[2], max(noise, reference[0].All.Quantile(.99), reference[1].All.Quantile(.99)))
	if n := s.metric("coordinator_worker_restarts_total"); n != 0 {
		t.Errorf("%v workers were replaced: a sick backend is no sick worker", n)
	}
}

// killWorkers kills every worker of a bulkhead at once.
func (s *site) killWorkers(name string) {
	s.t.Helper()
	for _, pid := range s.pids(name) {
		if pid != 0 {
			kill(s.t, pid)
		}
	}
}

// anew says that a bulkhead has all its workers, none of them of before.
func (s *site) anew(name string, before []int) func() bool {
	return func() bool {
		for _, w := range s.bulkhead(name).Workers {
			if w.State != "ready" || slices.Contains(before, w.Pid) {
				return false
			}
		}
		return true
	}
}

func TestE2EWorkersKilled(t *testing.T) {
	const kills = 10
	s, _, _ := shop(t, "BULKHEAD_ORDERS_RESTART_BUDGET=50/60s", "COORDINATOR_LOG_LEVEL=info")
	supervisor, others := s.cmd.Process.Pid, s.pids("catalog")
	g := s.generate(catalogPath, 200, time.Minute, func(o *load.Options) { o.Name = "catalog" })
	// Each one another request: the same one at so many deaths would be poison.
	calls := s.generate(ordersPath+"?call={n}", 100, time.Minute, func(o *load.Options) { o.Name = "orders" })
	client := newClient(t)
	var back []time.Duration
	for range kills {
		before := s.pids("orders")
		s.killWorkers("orders")
		eventually(t, time.Second, "the dead workers are known", func() bool { return s.pids("orders")[0] != before[0] })
		back = append(back, eventually(t, 5*time.Second, "orders answers", func() bool {
			a, err := get(ordersPath).ask(client, s.url)
			return err == nil && a.status == "200 OK"
		}))
		eventually(t, 5*time.Second, "orders has all its workers", s.anew("orders", before))
	}
	calls.Stop()
	noErrors(t, g.Stop())
	mine := calls.Snapshot()
	t.Log(figures(mine))
	if told := mine.Reasons["worker_died"] + mine.Reasons["no_worker"]; told != mine.ServerErrors() || mine.TransportErrors() > 0 {
		t.Errorf("other failures than worker_died and no_worker: %v, %v", mine.Reasons, mine.Errors)
	}
	t.Logf("orders answered again after %v", back)
	if slow := slices.Max(back); slow > time.Second {
		t.Errorf("orders was back after %v, want 1 s", slow)
	}
	if st, err := s.tryStatus(); err != nil || st.Pid != supervisor {
		t.Errorf("the supervisor is %d (%v), was %d", st.Pid, err, supervisor)
	}
	if now := s.pids("catalog"); !slices.Equal(now, others) {
		t.Errorf("catalog's workers are %v, were %v", now, others)
	}
	if n := s.metric("coordinator_worker_restarts_total", "bulkhead", "orders", "cause", "exit"); n != 2*kills {
		t.Errorf("%v restarts counted, want %d", n, 2*kills)
	}
	if b := s.bulkhead("orders"); b.Breaker.State != "closed" {
		t.Errorf("the breaker is %s: a sick worker is no sick backend", b.Breaker.State)
	}
}

func TestE2EQuarantine(t *testing.T) {
	beside(t)
	s, _, _ := shop(t, "COORDINATOR_LOG_LEVEL=info")
	supervisor := s.cmd.Process.Pid
	g := s.generate(catalogPath, 200, 2*time.Minute, func(o *load.Options) { o.Name = "catalog" })
	client := newClient(t)
	exhaust := func() {
		eventually(t, 30*time.Second, "orders is in quarantine", func() bool {
			b := s.bulkhead("orders")
			for _, w := range b.Workers {
				if w.State == "ready" {
					_ = syscall.Kill(w.Pid, syscall.SIGKILL)
				}
			}
			return b.State == "quarantined"
		})
	}
	exhaust()
	a, err := get(ordersPath).ask(client, s.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("in quarantine: %s, Retry-After %s, %s", a.status, a.header.Get("Retry-After"), a.body)
	wantProblem(t, a, 503, "quarantined", "refused", true)

	took := eventually(t, 5*time.Second, "restart brings orders back", func() bool {
		s.must("restart", "orders")
		return s.bulkhead("orders").State == "ready"
	})
	t.Logf("restart took %v", took)
	if a, err := get(ordersPath).ask(client, s.url); err != nil || a.status != "200 OK" {
		t.Errorf("after restart: %v, %v", a.status, err)
	}
	if long {
		exhaust()
		took := eventually(t, 32*time.Second, "it tries again by itself", func() bool {
			return s.bulkhead("orders").State != "quarantined"
		})
		t.Logf("it tried again after %v", took)
	}
	noErrors(t, g.Stop())
	if st, err := s.tryStatus(); err != nil || st.Pid != supervisor {
		t.Errorf("the supervisor is %d (%v), was %d", st.Pid, err, supervisor)
	}
}

func TestE2ERestartLosesNothing(t *testing.T) {
	s, _, _ := shop(t, "BULKHEAD_ORDERS_LIMIT=128", "BULKHEAD_ORDERS_QUEUE=256", "COORDINATOR_LOG_LEVEL=info")
	others := s.pids("catalog")
	g := s.generate(catalogPath, 50, time.Minute, func(o *load.Options) { o.Name = "catalog" })
	calls := s.generate(ordersPath, 500, time.Minute, func(o *load.Options) {
		o.Name, o.NewConnShare = "orders", 0.02
	})
	time.Sleep(300 * time.Millisecond)
	for range int(span(3, 10)) {
		before := s.pids("orders")
		s.must("restart", "orders")
		if !s.anew("orders", before)() {
			t.Errorf("workers %v, were %v", s.pids("orders"), before)
		}
	}
	time.Sleep(300 * time.Millisecond)
	noErrors(t, calls.Stop())
	noErrors(t, g.Stop())
	if now := s.pids("catalog"); !slices.Equal(now, others) {
		t.Errorf("catalog's workers are %v, were %v", now, others)
	}
}

// sockets are the files that a supervisor's workers listen at.
func (s *site) sockets() (found []string) {
	_ = filepath.WalkDir(s.dir, func(path string, d os.DirEntry, _ error) error {
		if d != nil && d.Type()&os.ModeSocket != 0 && filepath.Base(path) != "admin.sock" {
			found = append(found, path)
		}
		return nil
	})
	return found
}

func TestE2ESupervisorKilled(t *testing.T) {
	beside(t)
	s, _, _ := shop(t)
	g := s.generate(ordersPath, 100, time.Minute)
	var workers []int
	for _, name := range []string{"orders", "catalog"} {
		workers = append(workers, s.pids(name)...)
	}
	left := s.sockets()
	s.signal(syscall.SIGKILL)
	took := eventually(t, 2*time.Second, "no worker is alive", func() bool { return !slices.ContainsFunc(workers, alive) })
	t.Logf("%d workers were gone %v after SIGKILL of the supervisor; it left %d sockets", len(workers), took, len(left))
	g.Stop()
	s.exit(2 * time.Second)

	s.start()
	now := s.sockets()
	for _, path := range left {
		if slices.Contains(now, path) {
			t.Errorf("%s is still there", path)
		}
	}
	client := newClient(t)
	if a, err := get(ordersPath).ask(client, s.url); err != nil || a.status != "200 OK" {
		t.Errorf("the next one answers %v, %v", a.status, err)
	}
	client.CloseIdleConnections() // the drain would wait for it
	s.signal(syscall.SIGTERM)
	if code := s.exit(10 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if now := s.sockets(); len(now) > 0 {
		t.Errorf("after a good end: %v", now)
	}
}

func TestE2EBadConfigurationStartsNothing(t *testing.T) {
	s := newSite(t)
	mistakes, err := os.ReadFile("testdata/mistakes.env")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.envFile(), append(mistakes, fmt.Sprintf("COORDINATOR_STATE_DIR=%s/state\n", s.dir)...), 0o600); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	code, output := s.cli("run")
	t.Logf("exit code %d after %v:\n%s", code, time.Since(begun), output)
	lines := 0
	for line := range strings.SplitSeq(output, "\n") {
		lines++
		if len(line) < len("error: ") || line[:7] != "error: " {
			t.Errorf("not an error line: %s", line)
		}
	}
	if code != 2 || lines != 10 {
		t.Errorf("exit code %d with %d mistakes, want 2 with 10", code, lines)
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("it left %v (%v), want nothing but its env file", entries, err)
	}
}
