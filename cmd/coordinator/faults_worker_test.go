//go:build linux

package main_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/load"
)

// faultRows are the faults of a worker, by their number in the catalogue. Rows
// 3, 4, 5 and 14 are tested with the features that they are about.
var faultRows = map[int]*faultRow{
	1: {
		name: "killed mid-request", cause: killedMidRequest,
		log: []string{"worker lost", `"cause":"exit"`, `"bulkhead":"faulty"`}, counted: []string{"coordinator_worker_restarts_total", "bulkhead", "faulty", "cause", "exit"},
	},
	2: {
		name: "stopped", cause: stopped,
		log: []string{"worker lost", `"cause":"unresponsive"`, `"bulkhead":"faulty"`}, counted: []string{"coordinator_worker_restarts_total", "bulkhead", "faulty", "cause", "unresponsive"},
	},
	6: {
		name: "floods its output", cause: func(f *faultTrial) {
			for _, what := range []string{"malformed", "endless", "flood", "flood"} {
				f.client.well(what)
			}
			eventually(f.t, 5*time.Second, "a line that was cut", func() bool { return f.logged("no end no end", `"cut":true`) })
			eventually(f.t, 5*time.Second, "a malformed line, made printable", func() bool { return f.logged("worker output", "\ufffd") || f.logged("worker output", `\ufffd`) })
		},
		log: []string{"worker output dropped", `"bulkhead":"faulty"`}, counted: []string{"coordinator_worker_output_dropped_total", "bulkhead", "faulty"},
	},
	7: {
		name: "does not start", settings: []string{"BULKHEAD_FAULTY_RESTART_BUDGET=100/60s"}, cause: doesNotStart,
		log: []string{"worker lost", `"cause":"start_failed"`, `"bulkhead":"faulty"`}, counted: []string{"coordinator_worker_restarts_total", "bulkhead", "faulty", "cause", "start_failed"},
	},
	8: {
		name: "crash loop", cause: crashLoop, hurts: []string{"worker_died", "no_worker", "quarantined"},
		log: []string{"slot quarantined", `"bulkhead":"faulty"`}, counted: []string{"coordinator_worker_restarts_total", "bulkhead", "faulty", "cause", "exit"},
	},
	9: {
		name: "garbage on the data socket", settings: []string{"BULKHEAD_FAULTY_TIMEOUT=2s", "BULKHEAD_FAULTY_QUEUE_TIMEOUT=1s", "BULKHEAD_FAULTY_BREAKER_MODE=observe"},
		before: func(s *site) { mark(s.t, s.dir+"/faulty.babble") }, cause: garbageFrames, hurts: []string{"no_worker"}, // when both babble
		log: []string{"worker lost", `"cause":"protocol"`, `"bulkhead":"faulty"`}, counted: []string{"coordinator_worker_restarts_total", "bulkhead", "faulty", "cause", "protocol"},
	},
	10: {
		name: "binary missing, replaced, not executable", settings: []string{"BULKHEAD_FAULTY_RESTART_BUDGET=100/60s"}, cause: binaryGone,
		log: []string{"worker lost", "no such file", `"bulkhead":"faulty"`}, counted: []string{"coordinator_worker_restarts_total", "bulkhead", "faulty", "cause", "start_failed"},
	},
	11: {
		name: "socket deleted", settings: []string{"BULKHEAD_FAULTY_LIMIT=200"}, connections: 300, cause: socketDeleted,
		log: []string{"worker lost", "unreachable", `"bulkhead":"faulty"`}, counted: []string{"coordinator_worker_restarts_total", "bulkhead", "faulty", "cause", "protocol"},
	},
	12: {
		name: "forks", cause: forks,
		log: []string{"worker lost", `"cause":"exit"`, `"bulkhead":"faulty"`}, counted: []string{"coordinator_worker_restarts_total", "bulkhead", "faulty", "cause", "exit"},
	},
	13: {
		name: "spins", cause: func(f *faultTrial) {
			before := f.metric("coordinator_worker_cpu_seconds_total", "bulkhead", "faulty")
			f.client.well("spin?ms=" + strconv.FormatInt(span(2*time.Second, 15*time.Second).Milliseconds(), 10))
			if used := f.metric("coordinator_worker_cpu_seconds_total", "bulkhead", "faulty") - before; used < 0.5 {
				f.t.Errorf("it used %v s of CPU", used)
			}
		},
		counted: []string{"coordinator_worker_cpu_seconds_total", "bulkhead", "faulty"},
	},
}

// mark makes a file that tells an actor how to start.
func mark(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// ended is an answer and when it came.
type ended struct {
	method string
	answer answer
	err    error
	at     time.Time
}

// inFlight has n requests of each of two methods wait in the faulty bulkhead.
func (f *faultTrial) inFlight(n int, takes time.Duration) <-chan ended {
	f.t.Helper()
	answers := make(chan ended, 2*n)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		for range n {
			client := newClient(f.t)
			go func() {
				a, err := probe{method: method, target: fmt.Sprintf("/faulty/slow?ms=%d", takes.Milliseconds())}.ask(client, f.url)
				answers <- ended{method, a, err, time.Now()}
			}()
		}
	}
	eventually(f.t, 5*time.Second, "they are in flight", func() bool { return f.site.bulkhead("faulty").InFlight >= 2*n })
	return answers
}

// victim is the worker that holds the most requests.
func (f *faultTrial) victim() (pid int) {
	f.t.Helper()
	most := -1
	for _, w := range f.site.bulkhead("faulty").Workers {
		if w.InFlight > most {
			pid, most = w.Pid, w.InFlight
		}
	}
	return pid
}

// lost judges the answers to requests of which a worker held some that was lost
// at begun: GETs succeed, and POSTs too or are told the reason within a time.
func (f *faultTrial) lost(answers <-chan ended, n int, begun time.Time, within time.Duration, status int, reason string) {
	f.t.Helper()
	told := 0
	for range 2 * n {
		e := <-answers
		switch {
		case e.err != nil:
			f.t.Errorf("%s: %v", e.method, e.err)
		case e.answer.status == "200 OK":
		case e.method == http.MethodGet:
			f.t.Errorf("GET: %s %s", e.answer.status, e.answer.body)
		default:
			told++
			wantProblem(f.t, e.answer, status, reason, "sent_unknown", false)
			if took := e.at.Sub(begun); took > within {
				f.t.Errorf("it was told after %v, want %v", took, within)
			}
		}
	}
	f.t.Logf("%d of %d POSTs were told %s; the others and all GETs succeeded", told, n, reason)
	if told == 0 {
		f.t.Error("nobody was told: the worker held no request")
	}
}

// slack is added to promises of milliseconds, for the race detector and two
// cores that serve the load as well; the long run is for a quieter machine.
func slack() time.Duration { return span(400*time.Millisecond, 0) }

func killedMidRequest(f *faultTrial) {
	answers := f.inFlight(4, 2*time.Second)
	pid := f.victim()
	begun := time.Now()
	kill(f.t, pid)
	took := eventually(f.t, time.Second+slack(), "it is replaced", func() bool {
		b := f.site.bulkhead("faulty")
		for _, w := range b.Workers {
			if w.Pid == pid {
				return false
			}
		}
		return b.State == "ready"
	})
	f.t.Logf("replaced after %v", took)
	f.lost(answers, 4, begun, 100*time.Millisecond+slack(), 502, "worker_died")
}

func stopped(f *faultTrial) {
	answers := f.inFlight(4, 5*time.Second)
	pid := f.victim()
	begun := time.Now()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		f.t.Fatal(err)
	}
	took := eventually(f.t, 3*time.Second+slack(), "it is found and killed", func() bool { return !alive(pid) })
	f.t.Logf("gone %v after SIGSTOP", took)
	f.restored(2*time.Second + slack())
	f.lost(answers, 4, begun, 3*time.Second+slack(), 504, "worker_unresponsive")
}

func doesNotStart(f *faultTrial) {
	before := f.pids("faulty")
	for _, c := range []struct {
		script, says string
		within       time.Duration
	}{
		{"#!/bin/sh\necho this is no handshake\nexec sleep 60\n", "", 5 * time.Second},
		{"#!/bin/sh\nexit 0\n", "", 5 * time.Second},
		{"#!/bin/sh\nexit 1\n", "", 5 * time.Second},
		{"#!/bin/sh\nexec sleep 60\n", "not ready within 10s", 12 * time.Second},
	} {
		f.replaceBinary(0o700, c.script)
		begun := time.Now()
		code, output := f.cli("restart", "faulty")
		took := time.Since(begun)
		f.t.Logf("%q: exit code %d after %v: %s", c.script, code, took, output)
		if code != 1 || took > c.within || !strings.Contains(output, c.says) {
			f.t.Errorf("%q: exit code %d after %v, want 1 within %v", c.script, code, took, c.within)
		}
		if now := f.pids("faulty"); fmt.Sprint(now) != fmt.Sprint(before) {
			f.t.Errorf("the workers are %v, were %v", now, before)
		}
	}

	// One that is lost meanwhile is tried again, at growing intervals.
	f.replaceBinary(0o700, "#!/bin/sh\nexit 1\n")
	failed := func() float64 {
		return f.metric("coordinator_worker_restarts_total", "bulkhead", "faulty", "cause", "start_failed")
	}
	begun, n := time.Now(), failed()
	kill(f.t, before[0])
	eventually(f.t, 10*time.Second, "four failed starts", func() bool { return failed() >= n+4 })
	if took := time.Since(begun); took < 500*time.Millisecond { // three quarters of 100 + 200 + 400 ms
		f.t.Errorf("four starts within %v: no backoff", took)
	}
	if w := f.site.bulkhead("faulty").Workers[0]; w.State == "ready" || w.Why == "" {
		f.t.Errorf("slot 0: %+v", w)
	}
	f.restoreBinary()
	f.must("restart", "faulty")
	f.restored(5 * time.Second)
}

func crashLoop(f *faultTrial) {
	mark(f.t, f.bin+".crash")
	for _, pid := range f.pids("faulty") {
		kill(f.t, pid)
	}
	took := eventually(f.t, 60*time.Second, "faulty is quarantined", func() bool { return f.site.bulkhead("faulty").State == "quarantined" })
	f.t.Logf("in quarantine after %v", took)
	wantProblem(f.t, f.client.ask("GET", "ok"), 503, "quarantined", "refused", true)
	if err := os.Remove(f.bin + ".crash"); err != nil {
		f.t.Fatal(err)
	}
	f.must("restart", "faulty")
	f.restored(5 * time.Second)
	f.client.well("ok")
}

func garbageFrames(f *faultTrial) {
	a := f.client.ask("POST", "stalled")
	if reason := "deadline"; !strings.Contains(a.body, reason) && !strings.Contains(a.body, "backend_timeout") {
		f.t.Errorf("a stalled frame: %s %s", a.status, a.body)
	}
	replaced := func() float64 {
		return f.metric("coordinator_worker_restarts_total", "bulkhead", "faulty", "cause", "protocol")
	}
	n, asked := replaced(), 0
	for _, what := range []string{"garbage", "oversized"} {
		a := f.client.ask("POST", what)
		asked++
		if !strings.HasPrefix(a.status, "502") || !strings.Contains(a.body, `"reason":"worker_protocol"`) {
			f.t.Errorf("%s: %s %s", what, a.status, a.body)
		}
	}
	if replaced() != n {
		f.t.Error("a worker was replaced for two broken exchanges")
	}
	eventually(f.t, 15*time.Second, "a worker that repeats it is replaced", func() bool {
		if replaced() > n {
			return true
		}
		f.client.ask("POST", "garbage")
		asked++
		return false
	})
	f.t.Logf("replaced after %d broken exchanges of two workers", asked)
	f.restored(5 * time.Second)
	f.client.well("ok")
}

func binaryGone(f *faultTrial) {
	refused := func(reason string) {
		f.t.Helper()
		before := f.pids("faulty")
		code, output := f.cli("restart", "faulty")
		f.t.Logf("exit code %d: %s", code, output)
		if code != 1 || !strings.Contains(output, reason) {
			f.t.Errorf("exit code %d: %s; want 1 and %q", code, output, reason)
		}
		if now := f.pids("faulty"); fmt.Sprint(now) != fmt.Sprint(before) {
			f.t.Errorf("the workers are %v, were %v", now, before)
		}
	}
	if err := os.Remove(f.bin); err != nil {
		f.t.Fatal(err)
	}
	refused("no such file")
	f.replaceBinary(0o600, "#!/bin/sh\n")
	refused("permission denied")
	f.replaceBinary(0o700, "no program")
	refused("exec format error")

	kill(f.t, f.pids("faulty")[0])
	eventually(f.t, 5*time.Second, "its slot says why it is empty", func() bool {
		w := f.site.bulkhead("faulty").Workers[0]
		return w.State != "ready" && strings.Contains(w.Why, "exec format error")
	})
	f.client.well("ok")
	f.restoreBinary()
	f.restored(15 * time.Second) // by itself
}

// socketDir is a worker's own folder; go-plugin has one in it.
func socketDir(t *testing.T, pid int) string {
	t.Helper()
	return filepath.Dir(environ(t, pid, "PLUGIN_UNIX_SOCKET_DIR"))
}

func socketDeleted(f *faultTrial) {
	pid := f.pids("faulty")[0]
	dir := socketDir(f.t, pid)
	if err := os.RemoveAll(dir); err != nil || !strings.HasPrefix(dir, f.dir) {
		f.t.Fatal(dir, err)
	}
	f.client.well("ok")
	// Connections that are open go on; a burst needs new ones.
	burst := f.generate("/faulty/slow?ms=300", 0, 2*time.Second, func(o *load.Options) { o.Name, o.Count, o.Conns = "burst", 400, 200 })
	eventually(f.t, 10*time.Second, "the worker is replaced", func() bool { return f.pids("faulty")[0] != pid && f.site.bulkhead("faulty").State == "ready" })
	noErrors(f.t, burst.Wait())
	eventually(f.t, 12*time.Second, "the old one has ended", func() bool { return !alive(pid) })
}

func forks(f *faultTrial) {
	for _, end := range []func(){
		func() {
			for slot, pid := range f.pids("faulty") { // one after the other: that both are lost is row 8's
				kill(f.t, pid)
				eventually(f.t, 5*time.Second, "it is replaced", func() bool {
					now := f.pids("faulty")[slot]
					return now != 0 && now != pid
				})
			}
		},
		func() { f.must("restart", "faulty") },
	} {
		before := f.pids("faulty")
		children := make(map[int]bool)
		for range 6 {
			child, err := strconv.Atoi(f.client.well("fork"))
			if err != nil || !alive(child) {
				f.t.Fatal(child, err)
			}
			children[child] = true
		}
		end()
		took := eventually(f.t, 5*time.Second, "they are gone with the workers", func() bool {
			for child := range children {
				if alive(child) {
					return false
				}
			}
			return true
		})
		f.t.Logf("%d children of workers were gone after %v", len(children), took)
		eventually(f.t, 5*time.Second, "new workers", f.anew("faulty", before))
	}
}

// The folder of all workers' sockets is deleted, as cleaners of temporary folders
// do: who runs goes on, and a new worker has its folder again. It belongs to all
// bulkheads, so this is no row with a sibling.
func TestFault11RuntimeDirectoryDeleted(t *testing.T) {
	beside(t)
	s := faultSite(t)
	s.start()
	s.prime()
	g := s.generate("/healthy/ok", 50, time.Minute, func(o *load.Options) { o.Conns = 4 })
	dir := filepath.Dir(socketDir(t, s.pids("faulty")[0]))
	if !strings.HasPrefix(dir, s.dir) {
		t.Fatal(dir)
	}
	if err := os.RemoveAll(filepath.Dir(dir)); err != nil {
		t.Fatal(err)
	}
	before := s.pids("faulty")
	for _, pid := range before {
		kill(t, pid)
	}
	eventually(t, 5*time.Second, "new workers", s.anew("faulty", before))
	p := &proband{t, s}
	p.well("ok")
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v, want mode 0700", info, err)
	}
	noErrors(t, g.Stop())
	s.must("restart", "healthy")
	s.signal(syscall.SIGTERM)
	if code := s.exit(15 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	s.nobody(2 * time.Second)
}
