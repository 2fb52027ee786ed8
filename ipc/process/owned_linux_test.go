package process_test

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"commerce.example/coordinator/ipc/process"
)

// quick is a child that costs next to nothing.
func quick(t testing.TB) process.Spec {
	const path = "/bin/true"
	if _, err := os.Stat(path); err != nil {
		t.Skip(err)
	}
	return process.Spec{Path: path, Lifeline: 3}
}

func TestStartsLeaveNothingBehind(t *testing.T) {
	cycle := func() {
		p, err := process.Start(t.Context(), quick(t))
		if err != nil {
			t.Fatal(err)
		}
		within(t, p.Drained(), 5*time.Second, "drained")
		if !p.State().Success() {
			t.Fatal(p.State())
		}
	}
	cycle() // the forking thread is there to stay
	goroutines, fds := runtime.NumGoroutine(), descriptors(t)
	for range 200 {
		cycle()
	}
	eventually(t, 2*time.Second, "as many goroutines as before", func() bool {
		return runtime.NumGoroutine() <= goroutines
	})
	if n := descriptors(t); n != fds {
		t.Errorf("%d descriptors before, %d after", fds, n)
	}
	if z := zombies(t); len(z) > 0 {
		t.Errorf("zombies %v", z)
	}
}

func TestIdleChildrenCostNoThreads(t *testing.T) {
	before := threads(t)
	var ps []*process.Process
	for range 50 {
		ps = append(ps, start(t, process.Spec{Path: "/bin/sleep", Args: []string{"sleep", "60"}}))
	}
	if n := threads(t) - before; n > 15 {
		t.Errorf("%d threads for %d children", n, len(ps))
	}
	for _, p := range ps {
		if err := p.KillGroup(); err != nil {
			t.Error(err)
		}
	}
	for _, p := range ps {
		within(t, p.Done(), 5*time.Second, "done")
	}
}

// Threads that the runtime ends must not take children along: the parent-death
// signal belongs to the thread that forked.
func TestThreadsComeAndGo(t *testing.T) {
	var ps []*process.Process
	for range 4 {
		var wg sync.WaitGroup
		for range 500 {
			wg.Go(func() { runtime.Gosched() })
		}
		for range 16 { // each ends its thread, by ending while locked to it
			wg.Go(func() {
				runtime.LockOSThread()
				p, err := process.Start(t.Context(), process.Spec{Path: "/bin/sleep", Args: []string{"sleep", "60"}})
				if err != nil {
					t.Error(err)
					return
				}
				t.Cleanup(func() { p.KillGroup(); <-p.Drained() })
				wg.Go(runtime.GC)
			})
		}
		wg.Wait()
		ps = append(ps, start(t, process.Spec{Path: "/bin/sleep", Args: []string{"sleep", "60"}}))
	}
	for _, p := range ps {
		select {
		case <-p.Done():
			t.Errorf("%d ended: %v", p.Pid(), p.State())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestConcurrentStartsAndKills(t *testing.T) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				p, err := process.Start(t.Context(), process.Spec{Path: "/bin/sleep", Args: []string{"sleep", "60"}})
				if err != nil {
					t.Error(err)
					return
				}
				for range 3 {
					wg.Go(func() { p.KillGroup() })
				}
				<-p.Drained()
				if p.State().String() != "signal: killed" {
					t.Error(p.State())
				}
			}
		})
	}
	wg.Wait()
}

func threads(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// zombies are the dead children of this process.
func zombies(t testing.TB) (pids []string) {
	t.Helper()
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // gone meanwhile
		}
		// pid (comm) state ppid ...; comm may hold anything, proc_pid_stat(5).
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if f[0] == "Z" && f[1] == strconv.Itoa(os.Getpid()) {
			pids = append(pids, filepath.Base(filepath.Dir(path)))
		}
	}
	return pids
}

func BenchmarkStartAndExit(b *testing.B) {
	s := quick(b)
	b.ReportAllocs()
	for b.Loop() {
		p, err := process.Start(b.Context(), s)
		if err != nil {
			b.Fatal(err)
		}
		<-p.Drained()
	}
}
