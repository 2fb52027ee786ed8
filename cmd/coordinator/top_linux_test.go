package main_test

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/demo"
)

// topOn shows a site on a screen.
func topOn(s *site, columns, rows int, environ ...string) *screen {
	s.t.Helper()
	cmd := s.command("top", "--every", "200ms")
	cmd.Env = append(cmd.Env, append([]string{"TERM=vt220"}, environ...)...)
	return openScreen(s.t, columns, rows, cmd)
}

// restored sees that the terminal is as it was before the program.
func (sc *screen) restored() {
	sc.t.Helper()
	eventually(sc.t, 5*time.Second, "the first screen with its cursor", func() bool {
		sc.mu.Lock()
		defer sc.mu.Unlock()
		return !sc.alternate && !sc.hidden
	})
	if after := sc.settings(); after != sc.before {
		sc.t.Errorf("the terminal is left with %+v, and was %+v", after, sc.before)
	}
}

// An operator watches a backend fail, forces its breaker, looks at its workers,
// and leaves.
func TestE2ETop(t *testing.T) {
	beside(t)
	s, orders, _ := shop(t, "BULKHEAD_ORDERS_BREAKER_MIN_CALLS=5", "BULKHEAD_ORDERS_BREAKER_OPEN_FOR=60s", "BULKHEAD_ORDERS_OWNER=Team Orders")
	s.generate(ordersPath, 20, 2*time.Minute)
	s.generate(catalogPath, 10, 2*time.Minute)
	sc := topOn(s, 80, 24)
	sc.sees(20*time.Second, "BULKHEAD", "STATE", "BREAKER", "REQ/S", "REF/S", "P99")
	sc.sees(20*time.Second, "> orders", "ready", "2/2", "closed")
	sc.sees(10*time.Second, "catalog", "ms") // a latency
	for line := range strings.Lines(sc.text()) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}

	fault(t, orders, demo.Down)
	took := sc.sees(10*time.Second, "> orders", " open ")
	t.Logf("a backend that fails is shown after %v", took)
	sc.sees(5*time.Second, "breaker", "open for", "probes in")
	sc.sees(5*time.Second, "refused", "breaker_open=")

	// Nothing without a yes.
	sc.types("b")
	sc.sees(5*time.Second, "breaker orders: who decides?")
	sc.types("c")
	sc.sees(5*time.Second, "breaker orders closed: every request is admitted")
	sc.types("n")
	sc.sees(5*time.Second, "left as it is")
	if mode := s.bulkhead("orders").Breaker.Mode; mode != "auto" {
		t.Errorf("mode %s without a yes", mode)
	}
	sc.types("bcy")
	sc.sees(10*time.Second, "breaker orders:", "ms)")
	sc.sees(10*time.Second, "> orders", " forced ")
	if mode := s.bulkhead("orders").Breaker.Mode; mode != "closed" {
		t.Errorf("mode %s", mode)
	}

	sc.types("\r")
	sc.sees(10*time.Second, "req/s", "now")
	sc.sees(5*time.Second, "owner", "Team Orders")
	sc.types("G")
	sc.sees(5*time.Second, "SLOT", "STATE", "PID")
	sc.types("?")
	sc.sees(5*time.Second, "any other key leaves it")
	sc.types("\x1b")
	sc.sees(5*time.Second, "> orders")
	sc.types("j")
	sc.sees(5*time.Second, "> catalog")
	sc.types("ry")
	sc.sees(30*time.Second, "restart catalog:", "replaced 2 workers")

	sc.resize(100, 12)
	sc.sees(5*time.Second, "> catalog")
	sc.types("q")
	if code := sc.ends(10 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	sc.restored()
}

// A supervisor that is killed and comes back is told, and what was known stays.
func TestE2ETopSurvivesTheSupervisor(t *testing.T) {
	beside(t)
	s, _, _ := shop(t)
	sc := topOn(s, 80, 24)
	sc.sees(20*time.Second, "> orders", "ready")
	s.signal(syscall.SIGKILL)
	s.exit(10 * time.Second)
	sc.sees(10*time.Second, "NO ANSWER for", "no supervisor listens")
	if !strings.Contains(sc.line("> orders"), "ready") {
		t.Error("what was known is gone")
	}
	s.start()
	sc.sees(20*time.Second, "RESTARTED", "another supervisor answers")
	sc.sees(10*time.Second, "> orders", "ready")
	if err := sc.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := sc.ends(10 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	sc.restored()
}

// Colours come where they are wanted, and every state is a word without them.
func TestE2ETopColours(t *testing.T) {
	beside(t)
	s := runSite(t, "COORDINATOR_BULKHEADS=a", "BULKHEAD_A_ROUTES=/", "BULKHEAD_A_BACKEND=http://127.0.0.1:9")
	s.must("breaker", "a", "open")
	for environ, want := range map[string]bool{"TERM=xterm-256color": true, "TERM=xterm-256color NO_COLOR=1": false} {
		sc := topOn(s, 80, 24, strings.Fields(environ)...)
		sc.sees(20*time.Second, "> a", "forced")
		sc.types("q")
		sc.ends(10 * time.Second)
		sc.restored() // all that it wrote has come
		if got := strings.Contains(sc.written(), "\x1b[31m"); got != want {
			t.Errorf("%s: red is %v, want %v", environ, got, want)
		}
	}
}

// Whatever happens to the program, the terminal can be typed on afterwards.
func TestE2ETopPanics(t *testing.T) {
	cmd := exec.Command(self(t), "e2e-top-panics")
	// The race that is reported otherwise is between bubbletea's end by a panic and
	// its reading of the keys.
	cmd.Env = []string{"TERM=vt220", "GORACE=atexit_sleep_ms=0 report_bugs=0"}
	sc := openScreen(t, 80, 24, cmd)
	sc.sees(20*time.Second, "> catalog", "ready")
	sc.types("\r")
	if code := sc.ends(10 * time.Second); code != 1 {
		t.Errorf("exit code %d", code)
	}
	sc.restored()
	eventually(t, 5*time.Second, "the reason", func() bool { return strings.Contains(sc.written(), "no details") })
}
