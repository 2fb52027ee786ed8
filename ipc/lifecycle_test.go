package ipc_test

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/ipc/process"
)

// within fails the test when f takes longer.
func within(t *testing.T, d time.Duration, what string, f func()) {
	t.Helper()
	begun := time.Now()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
		t.Logf("%s: %v", what, time.Since(begun).Round(time.Millisecond))
	case <-time.After(d):
		t.Fatalf("%s: still not over after %v", what, d)
	}
}

// eventually polls until ok.
func eventually(t *testing.T, d time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(d); !ok(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", d, what)
		}
	}
}

// freeze stops a process and waits until it has stopped.
func freeze(t *testing.T, pid int) {
	t.Helper()
	syscall.Kill(pid, syscall.SIGSTOP)
	eventually(t, 5*time.Second, "process stopped", func() bool {
		stat, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		_, after, _ := strings.Cut(string(stat), ") ")
		return strings.HasPrefix(after, "T")
	})
}

// alive reports whether a process exists and is no zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return syscall.Kill(pid, 0) == nil && runtime.GOOS != "linux"
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z")
}

func TestStopIsCleanWhenTheWorkerObeys(t *testing.T) {
	w := launch(t, "reports")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := w.Stop(ctx); err != nil || w.ExitError() != nil {
		t.Fatalf("stop: %v, exit: %v", err, w.ExitError())
	}
}

func TestStopKillsAWorkerThatOverruns(t *testing.T) {
	w := launch(t, "stuck")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	within(t, 5*time.Second, "stop", func() {
		stuck, ok := errors.AsType[*ipc.StuckError](w.Stop(ctx))
		if !ok || !strings.Contains(string(stuck.Stacks), "misbehave") {
			t.Errorf("no stacks of the stuck worker: %v", stuck)
		}
	})
}

// go-plugin kills 2 s after it has asked, whatever the time that a worker has.
func TestStopWaitsForMain(t *testing.T) {
	w := launch(t, "flushes")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := w.Stop(ctx); err != nil || w.ExitError() != nil {
		t.Errorf("stop: %v, exit: %v", err, w.ExitError())
	}
	w = launch(t, "flushes")
	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	within(t, 2*time.Second, "stop", func() {
		if _, stuck := errors.AsType[*ipc.StuckError](w.Stop(ctx)); !stuck || w.ExitError() == nil {
			t.Errorf("not killed: %v", w.ExitError())
		}
	})
}

// go-plugin's Ping and Kill never return on a stopped process; nothing of ours
// may wait for them.
func TestStoppedWorkerBlocksNobody(t *testing.T) {
	w := launch(t, "reports")
	failed := make(chan error, 1)
	go func() {
		_, err := w.RoundTrip(request(t, "GET", "/hang", nil))
		failed <- err
	}()
	waitInFlight(t, w, 1)
	freeze(t, w.Pid())
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	within(t, 2*time.Second, "probe", func() {
		if err := w.Probe(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("probe of a stopped worker: %v", err)
		}
	})
	within(t, 2*time.Second, "requests in flight", func() {
		w.Fail(exchange.WorkerUnresponsive)
		e, _ := errors.AsType[*exchange.Error](<-failed)
		if e == nil || e.Fault != exchange.WorkerUnresponsive || e.Stage != exchange.Taken {
			t.Errorf("got %v", e)
		}
	})
	within(t, 2*time.Second, "stop", func() { _ = w.Stop(ctx) })
}

// A line of JSON on stderr whose fields are no strings panics go-plugin's host;
// a line over 64 KiB on stdout makes it stop reading and the worker block.
func TestWhatAWorkerPrintsHurtsNobody(t *testing.T) {
	var mu sync.Mutex
	var lines []string
	w := launch(t, "prints", func(s *ipc.Spec) {
		s.Line = func(l process.Line) {
			mu.Lock()
			defer mu.Unlock()
			lines = append(lines, l.Text)
		}
	})
	for range 3 {
		ask(t, w, request(t, "GET", "/", nil))
	}
	for _, want := range []string{`{"@message": 1, "@level": {}, "@timestamp": []}`, "printed by a handler", `{"@level": 5}`} {
		eventually(t, 10*time.Second, "line "+want, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return slices.Contains(lines, want)
		})
	}
}

func TestGrandchildrenGoWithTheWorker(t *testing.T) {
	w := launch(t, "grandchild")
	_, body := ask(t, w, request(t, "GET", "/", nil))
	pid, _ := strconv.Atoi(body)
	if !alive(pid) {
		t.Fatalf("no grandchild %q", body)
	}
	within(t, 3*time.Second, "kill", w.Kill)
	eventually(t, 2*time.Second, "grandchild gone", func() bool { return !alive(pid) })
}

func TestWorkerDiesWithItsSupervisor(t *testing.T) {
	dir, err := os.MkdirTemp("", "ipc")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir) // what a killed supervisor leaves
	exe, _ := os.Executable()
	cmd := exec.Command(exe)
	cmd.Env = []string{roleKey + "=parent", "SOCKETS=" + dir}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(line))
	if !alive(pid) {
		t.Fatalf("no worker %q", line)
	}
	cmd.Process.Kill()
	cmd.Wait()
	eventually(t, 2*time.Second, "worker gone", func() bool { return !alive(pid) })
}

func TestWorkerIgnoresSignalsMeantForTheService(t *testing.T) {
	w := launch(t, "reports")
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		syscall.Kill(w.Pid(), sig)
		if _, body := ask(t, w, request(t, "GET", "/hello", nil)); body == "" {
			t.Errorf("after %v: no answer", sig)
		}
	}
}

func TestEnvironmentIsBuiltFromNothing(t *testing.T) {
	t.Setenv("A_SECRET_OF_THE_SUPERVISOR", "s3cret")
	w := launch(t, "reports", func(s *ipc.Spec) { s.Env = append(s.Env, "MINE=1") })
	_, body := ask(t, w, request(t, "GET", "/env", nil))
	for line := range strings.Lines(body) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), "=")
		if !strings.HasPrefix(name, "PLUGIN_") && name != "COORDINATOR_WORKER" && name != roleKey && name != "GORACE" && name != "MINE" {
			t.Errorf("the worker sees %q", line)
		}
	}
	if !strings.Contains(body, "MINE=1") {
		t.Error("its own variable is missing")
	}
}

func TestFailedStarts(t *testing.T) {
	script := filepath.Join(t.TempDir(), "not-executable")
	os.WriteFile(script, []byte("#!/bin/sh\n"), 0o600)
	for name, c := range map[string]struct {
		change func(*ipc.Spec)
		want   error
	}{
		"missing":        {func(s *ipc.Spec) { s.Path = "/nonexistent/worker" }, fs.ErrNotExist},
		"not executable": {func(s *ipc.Spec) { s.Path = script }, fs.ErrPermission},
		"no worker":      {func(s *ipc.Spec) { s.Path = "/bin/true" }, nil},
		"exits":          {func(s *ipc.Spec) { s.Env = []string{roleKey + "=exits"} }, nil},
		"garbage":        {func(s *ipc.Spec) { s.Env = []string{roleKey + "=garbage"} }, nil},
		"vanishes":       {func(s *ipc.Spec) { s.Env = []string{roleKey + "=vanishes"} }, nil},
		"deaf":           {func(s *ipc.Spec) { s.Env = []string{roleKey + "=deaf"}; s.StartTimeout = 300 * time.Millisecond }, nil},
		"deaf orphan":    {func(s *ipc.Spec) { s.Env = []string{roleKey + "=deaf orphan"}; s.StartTimeout = 300 * time.Millisecond }, nil},
		"silent":         {func(s *ipc.Spec) { s.Env = []string{roleKey + "=silent"}; s.StartTimeout = 300 * time.Millisecond }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := spec(socketDir(t), "")
			c.change(&s)
			var returned atomic.Bool
			s.Line = func(l process.Line) {
				if returned.Load() {
					t.Errorf("after the failed launch: %.100q", l.Text)
				}
			}
			within(t, 5*time.Second, "launch", func() {
				w, err := ipc.Launch(t.Context(), s)
				returned.Store(true)
				if err == nil {
					w.Kill()
					t.Error("started")
				}
				if c.want != nil && !errors.Is(err, c.want) {
					t.Errorf("got %v, want %v", err, c.want)
				}
				t.Log(err)
			})
		})
	}
}

func TestLaunchEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	within(t, 3*time.Second, "launch", func() {
		if _, err := ipc.Launch(ctx, spec(socketDir(t), "silent")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestDeadWorkerIsKnownAtOnce(t *testing.T) {
	w := launch(t, "reports")
	ask(t, w, request(t, "GET", "/hello", nil)) // leaves an idle connection
	syscall.Kill(w.Pid(), syscall.SIGKILL)
	<-w.Exited()
	within(t, time.Second, "round trip", func() {
		_, err := w.RoundTrip(request(t, "POST", "/echo", strings.NewReader("x")))
		e, _ := errors.AsType[*exchange.Error](err)
		if e == nil || e.Fault != exchange.WorkerDied || e.Stage >= exchange.Sent {
			t.Errorf("got %v, want a death before anything was sent", err)
		}
	})
	<-w.Done()
}

func TestDumpShowsTheHandler(t *testing.T) {
	w := launch(t, "reports")
	call := &ipc.Call{Request: request(t, "GET", "/hang", nil)}
	failed := make(chan error, 1)
	go func() { _, err := w.Do(call); failed <- err }()
	waitInFlight(t, w, 1)
	stacks, err := w.Dump(t.Context(), 1<<20)
	if err != nil || !strings.Contains(string(stacks), "ServeHTTP") {
		t.Errorf("%v\n%.2000s", err, stacks)
	}
	call.Cancel(&exchange.Error{Fault: exchange.ClientGone})
	<-failed
}

func TestNothingIsLeftBehind(t *testing.T) {
	dir := socketDir(t)
	cycle := func() {
		w, err := ipc.Launch(t.Context(), spec(dir, "reports"))
		if err != nil {
			t.Fatal(err)
		}
		ask(t, w, request(t, "GET", "/hello", nil))
		w.Kill()
	}
	cycle() // what is made once
	fds, goroutines := openFiles(t), runtime.NumGoroutine()
	for range 10 {
		cycle()
	}
	eventually(t, 5*time.Second, "descriptors back", func() bool { return openFiles(t) <= fds })
	eventually(t, 5*time.Second, "goroutines back", func() bool { return runtime.NumGoroutine() <= goroutines })
}

// A worker that ends between go-plugin's handshake and its connection: go-plugin
// forgets what it was connecting.
func TestFailedStartsLeaveNothingBehind(t *testing.T) {
	dir := socketDir(t)
	cycle := func() {
		if w, err := ipc.Launch(t.Context(), spec(dir, "vanishes")); err == nil {
			w.Kill()
			t.Fatal("started")
		}
	}
	cycle()
	fds, goroutines := openFiles(t), runtime.NumGoroutine()
	for range 10 {
		cycle()
	}
	eventually(t, 5*time.Second, "descriptors back", func() bool { return openFiles(t) <= fds })
	eventually(t, 5*time.Second, "goroutines back", func() bool { return runtime.NumGoroutine() <= goroutines })
}

// Whoever ends a worker, and however often: each call returns, and nothing of
// the worker is left then.
func TestEndedByEverybodyAtOnce(t *testing.T) {
	for range 3 {
		w := launch(t, "reports")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		within(t, 5*time.Second, "end", func() {
			var all sync.WaitGroup
			for range 3 {
				all.Go(func() { _ = w.Stop(ctx) })
				all.Go(func() { w.Fail(exchange.WorkerUnresponsive) })
				all.Go(func() { _ = w.Probe(ctx); w.Trim(time.Now().Add(time.Hour)) })
				all.Go(func() { _, _ = w.RoundTrip(request(t, "GET", "/hello", nil)) })
				all.Go(func() { _, _ = w.Stats(ctx); _, _ = w.Dump(ctx, 1000) })
			}
			w.Kill()
			all.Wait()
			<-w.Done()
		})
		cancel()
	}
}

// FAULTS row 1: everybody in flight knows within 100 ms, and how far he got.
func TestKilledMidRequest(t *testing.T) {
	w := launch(t, "reports")
	const n = 16
	stages := make(chan error, n)
	for i := range n {
		go func() {
			target := "/hang"
			if i%2 == 0 {
				target += "?sent=1"
			}
			_, err := w.RoundTrip(request(t, "GET", target, nil))
			stages <- err
		}()
	}
	waitInFlight(t, w, n)
	begun := time.Now()
	syscall.Kill(w.Pid(), syscall.SIGKILL)
	count := map[exchange.Stage]int{}
	for range n {
		e, _ := errors.AsType[*exchange.Error](<-stages)
		if e == nil || e.Fault != exchange.WorkerDied {
			t.Fatalf("got %v", e)
		}
		count[e.Stage]++
	}
	if d := time.Since(begun); d > 100*time.Millisecond {
		t.Errorf("it took %v", d)
	}
	if count[exchange.Taken] != n/2 || count[exchange.Sent] != n/2 {
		t.Errorf("stages %v", count)
	}
}

// FAULTS row 11: what is connected goes on, what is not says so.
func TestSocketDeleted(t *testing.T) {
	dir := socketDir(t)
	w := launch(t, "reports", func(s *ipc.Spec) { s.SocketDir = dir })
	ask(t, w, request(t, "GET", "/hello", nil))
	sockets, _ := filepath.Glob(filepath.Join(dir, "*", "data"))
	if len(sockets) != 1 {
		t.Fatalf("sockets %v", sockets)
	}
	os.Remove(sockets[0])
	ask(t, w, request(t, "GET", "/hello", nil))
	call := &ipc.Call{Request: request(t, "GET", "/hang", nil)}
	failed := make(chan error, 1)
	go func() { _, err := w.Do(call); failed <- err }()
	waitInFlight(t, w, 1)
	_, err := w.RoundTrip(request(t, "GET", "/hello", nil))
	e, _ := errors.AsType[*exchange.Error](err)
	if e == nil || e.Fault != exchange.WorkerDied || e.Stage != exchange.Waiting || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := w.Probe(t.Context()); err != nil {
		t.Errorf("the worker is alive, its probe says %v", err)
	}
	call.Cancel(&exchange.Error{Fault: exchange.ClientGone})
	<-failed
}

// A worker without a free descriptor takes what it can and waits for the rest.
func TestWorkerOutOfDescriptors(t *testing.T) {
	w := launch(t, "few files")
	var calls []*ipc.Call
	var failed sync.WaitGroup
	for range 24 {
		call := &ipc.Call{Request: request(t, "GET", "/hang", nil)}
		calls = append(calls, call)
		failed.Go(func() { _, _ = w.Do(call) })
	}
	eventually(t, 5*time.Second, "full", func() bool { s, err := w.Stats(t.Context()); return err == nil && s.InFlight > 5 })
	for _, call := range calls {
		call.Cancel(&exchange.Error{Fault: exchange.ClientGone})
	}
	failed.Wait()
	waitInFlight(t, w, 0)
	if _, body := ask(t, w, request(t, "GET", "/hello", nil)); body == "" {
		t.Error("no answer")
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("needs /proc")
	}
	return len(list)
}

func BenchmarkLaunch(b *testing.B) {
	dir := socketDir(b)
	for b.Loop() {
		w, err := ipc.Launch(b.Context(), spec(dir, "plain"))
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		w.Kill()
		b.StartTimer()
	}
}
