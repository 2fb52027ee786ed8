package supervisor_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
)

func (r *running) ready(name string) {
	r.t.Helper()
	eventually(r.t, 10*time.Second, "all workers ready", func() bool { return r.bulkhead(name).State == "ready" })
}

// holders waits until n hang requests that name dir are with a worker, and
// returns the worker of each.
func holders(t *testing.T, dir string, n int) (pids []int) {
	t.Helper()
	eventually(t, 20*time.Second, "requests with their workers", func() bool {
		files, err := os.ReadDir(dir)
		pids = nil
		for _, f := range files {
			pid, _, _ := strings.Cut(f.Name(), "-")
			if n, err := strconv.Atoi(pid); err == nil {
				pids = append(pids, n)
			}
		}
		return err == nil && len(pids) == n
	})
	return pids
}

// A request that two workers died with is not sent a third time, until it is
// forgiven. All others pass.
func TestPoisonRequest(t *testing.T) {
	var log record
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) { c.Workers = 2 }), logged(&log))
	if got := r.reason("GET", "/a/exit?card=4111", nil); got != "worker_died" {
		t.Errorf("two workers died with it: %s", got)
	}
	if n := r.bulkhead("a").Poisoned; len(n) != 1 {
		t.Fatalf("%+v", n)
	}
	r.ready("a")
	for range 3 {
		resp, body := r.get("/a/exit?card=4111")
		if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "" {
			t.Errorf("%d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
		}
		contains(t, body, `"reason":"poison_request"`, `"outcome":"refused"`, `"retry_safe":false`)
	}
	b := r.bulkhead("a")
	p := b.Poisoned[0]
	if b.Restarts != 2 || p.Method != "GET" || p.Path != "/a/exit" || p.Deaths != 2 || len(p.Fingerprint) != 32 || time.Since(p.Since) > time.Minute {
		t.Errorf("%d restarts, %+v", b.Restarts, p)
	}
	eventually(t, 5*time.Second, "logged", func() bool {
		return len(log.lines("request refused from now on", "fingerprint="+p.Fingerprint, "path=/a/exit", "deaths=2")) == 1
	})
	if leaked := log.lines("4111"); len(leaked) > 0 {
		t.Errorf("the query is in the log: %q", leaked)
	}
	for _, other := range []string{"/a", "/a/status?code=200"} {
		if got := r.reason("GET", other, nil); got != "200" {
			t.Errorf("%s: %s", other, got)
		}
	}

	if rep := r.Forgive(t.Context(), "a", strings.Repeat("0", 32)); rep.Error == "" {
		t.Errorf("forgave what it does not refuse: %+v", rep)
	}
	if rep := r.Forgive(t.Context(), "a", p.Fingerprint); rep.Error != "" || rep.Did != "1 poison request may be sent again" {
		t.Errorf("%+v", rep)
	}
	if got := r.reason("GET", "/a/exit?card=4111", nil); got != "worker_died" {
		t.Errorf("forgiven: %s", got)
	}
	r.ready("a")
	if got := r.reason("GET", "/a/exit?card=4111", nil); got != "poison_request" {
		t.Errorf("and again: %s", got)
	}
	if rep := r.Forgive(t.Context(), "a", ""); rep.Error != "" || len(r.bulkhead("a").Poisoned) != 0 {
		t.Errorf("%+v", rep)
	}
}

// The repeats of a client count like those of the coordinator.
func TestPoisonOverSeveralRequests(t *testing.T) {
	r := start(t, one("a")) // one worker: nobody to repeat it with
	for i, want := range []string{"worker_died", "worker_died", "poison_request"} {
		r.ready("a")
		if got := r.reason("POST", "/a/exit", strings.NewReader("pay")); got != want {
			t.Errorf("attempt %d: %s, want %s", i+1, got, want)
		}
		eventually(t, 5*time.Second, "the death is known", func() bool { return r.bulkhead("a").Restarts == uint64(min(i+1, 2)) })
	}
	if got := r.reason("POST", "/a/echo", strings.NewReader("pay")); got != "200" {
		t.Errorf("another request: %s", got)
	}
}

// A frozen worker counts as a dead one.
func TestPoisonThatFreezes(t *testing.T) {
	t.Parallel()
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) { c.Workers = 2 }))
	dir := t.TempDir()
	target := "/a/hang?sent=1&dir=" + dir
	answered := make(chan string, 1)
	go func() { answered <- r.reason("GET", target, nil) }()
	first := holders(t, dir, 1)[0]
	syscall.Kill(first, syscall.SIGSTOP)
	for _, pid := range holders(t, dir, 2) {
		if pid != first {
			syscall.Kill(pid, syscall.SIGSTOP)
		}
	}
	if got := <-answered; got != "worker_unresponsive" {
		t.Errorf("got %s", got)
	}
	if got := r.reason("GET", target, nil); got != "poison_request" {
		t.Errorf("again: %s", got)
	}
}

// An answer clears a request: its first death was not its fault, nor is the next.
func TestSuccessClearsOfPoison(t *testing.T) {
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) { c.Workers = 2 }))
	file := filepath.Join(t.TempDir(), "died")
	target := "/a/once?file=" + file
	for i := range 3 {
		if got := r.reason("GET", target, nil); got != "200" {
			t.Errorf("round %d: %s", i, got)
		}
		if n := r.bulkhead("a").Poisoned; len(n) != 0 {
			t.Errorf("round %d: %+v", i, n)
		}
		eventually(t, 10*time.Second, "the death noticed", func() bool { return r.bulkhead("a").Restarts == uint64(i+1) })
		r.ready("a")
		if err := syscall.Unlink(file); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.bulkhead("a").Restarts; n != 3 {
		t.Errorf("%d workers died, want 3", n)
	}
}

// All workers die at once, with copies of the same request: it is suspected of
// one death at the most.
func TestAllWorkersKilledPoisonsNobody(t *testing.T) {
	r := start(t, one("a", func(c *supervisor.BulkheadConfig) { c.Workers = 2 }))
	for range 2 {
		dir := t.TempDir()
		answered := make(chan string, 6)
		for range cap(answered) {
			go func() { answered <- r.reason("POST", "/a/hang?sent=1&dir="+dir, nil) }() // which nobody repeats
		}
		holders(t, dir, cap(answered))
		for _, w := range r.bulkhead("a").Workers {
			syscall.Kill(w.Pid, syscall.SIGKILL)
		}
		for range cap(answered) {
			if got := <-answered; got != "worker_died" {
				t.Errorf("got %s", got)
			}
		}
		if n := r.bulkhead("a").Poisoned; len(n) != 0 {
			t.Fatalf("%+v", n)
		}
		r.ready("a")
	}
}

// Who is cut by an operator's restarts is not to blame for them.
func TestRestartsPoisonNobody(t *testing.T) {
	r := start(t, one("a"), func(o *supervisor.Options) { o.Config.DrainTimeout = 100 * time.Millisecond })
	for i := range 3 {
		answered := make(chan string, 1)
		go func() { answered <- r.reason("POST", "/a/hang?sent=1", nil) }()
		eventually(t, 5*time.Second, "in flight", func() bool { return r.bulkhead("a").InFlight == 1 })
		if rep := r.Restart(t.Context(), "a"); rep.Error != "" {
			t.Fatal(rep.Error)
		}
		if got := <-answered; got != "worker_died" {
			t.Errorf("restart %d: %s", i+1, got)
		}
	}
	if n := r.bulkhead("a").Poisoned; len(n) != 0 {
		t.Errorf("%+v", n)
	}
}
