package pool_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/ipc/process"
	"commerce.example/coordinator/supervisor/pool"
)

// limited is a pool whose limits the test sets while it runs.
func limited(t testing.TB, size int, change ...func(*pool.Config)) (*site, *atomic.Pointer[pool.Limits]) {
	t.Helper()
	var limits atomic.Pointer[pool.Limits]
	limits.Store(&pool.Limits{})
	change = append(change, func(c *pool.Config) { c.Limits = func() pool.Limits { return *limits.Load() } })
	s := open(t, size, change...)
	s.await(10*time.Second, pool.Ready)
	return s, &limits
}

// resting is what a worker of s has before it has done anything.
func (s *site) resting() uint64 {
	s.Helper()
	var most uint64
	for _, w := range s.Status() {
		used, err := process.UsageOf(w.Pid)
		if err != nil {
			s.Skip(err) // the system does not tell
		}
		most = max(most, used.Anonymous)
	}
	return most
}

// askUntil sends one request after the other, none of which may fail.
func (s *site) askUntil(path string, d time.Duration, what string, ok func() bool) {
	s.Helper()
	asked := 0
	s.until(d, what, func() bool {
		l := s.lease()
		defer l.Release()
		if text, err := ask(l, path); err != nil || strings.Contains(text, " ") {
			s.Fatalf("request %d: %q, %v", asked, text, err)
		}
		asked++
		return ok()
	})
	s.Logf("%d requests, none failed", asked)
}

func (s *site) replaced(cause pool.Cause) (n int) {
	for _, e := range s.seen(pool.Replaced) {
		if e.Cause == cause {
			n++
		}
	}
	return n
}

// recycled checks that workers were replaced for that cause and no other, and
// that it was no fault.
func (s *site) recycled(cause pool.Cause, why string) {
	s.Helper()
	for _, e := range s.seen(pool.Replaced) {
		if e.Cause != cause || e.Err == nil || !strings.Contains(e.Err.Error(), why) {
			s.Errorf("replaced: %+v", e)
		}
	}
	if f := s.seen(pool.Faulted); len(f) > 0 {
		s.Errorf("faults: %+v", f)
	}
	s.until(5*time.Second, "the old worker ended", func() bool { return len(s.seen(pool.Ended)) > 0 })
	if e := s.seen(pool.Ended)[0]; e.Err != nil || alive(e.Pid) {
		s.Errorf("ended: %+v", e)
	}
}

func TestHeapLeakIsRecycledWithoutAFailure(t *testing.T) {
	s, limits := limited(t, 2)
	limits.Store(&pool.Limits{Memory: 4 * s.resting()})
	s.askUntil("/leak", 20*time.Second, "recycled", func() bool { return s.replaced(pool.CauseMemory) > 0 })
	s.recycled(pool.CauseMemory, "bytes of memory, of")
}

func TestDescriptorLeakIsRecycledWithoutAFailure(t *testing.T) {
	s, limits := limited(t, 2)
	s.resting()
	limits.Store(&pool.Limits{Descriptors: 2000})
	s.askUntil("/files", 20*time.Second, "recycled", func() bool { return s.replaced(pool.CauseDescriptors) > 0 })
	s.recycled(pool.CauseDescriptors, "open descriptors, of 2000")
}

// The kernel sees to it that a worker whose recycling is late cannot go on
// leaking for ever.
func TestDescriptorsAreLimitedByTheKernel(t *testing.T) {
	s := newSite(t, "good")
	s.run(1, func(c *pool.Config) {
		c.Spec = func(slot int) (ipc.Spec, error) {
			spec, err := s.spec(slot)
			spec.Descriptors = 100
			return spec, err
		}
	})
	s.await(10*time.Second, pool.Ready)
	s.resting()
	l := s.lease()
	defer l.Release()
	s.until(10*time.Second, "no more files", func() bool {
		text, err := ask(l, "/files")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(text, "too many open files")
	})
}

func TestRequestsAndAgeRecycle(t *testing.T) {
	for cause, test := range map[pool.Cause]struct {
		limits pool.Limits
		why    string
	}{
		pool.CauseRequests: {pool.Limits{Requests: 20}, "requests, of 20"},
		pool.CauseAge:      {pool.Limits{Age: time.Second}, "old, of 1s"},
	} {
		t.Run(string(cause), func(t *testing.T) {
			s, limits := limited(waits(t), 2)
			before := s.Status()
			limits.Store(&test.limits)
			s.askUntil("/", 20*time.Second, "both recycled", func() bool {
				now := s.Status()
				return now[0].Pid != before[0].Pid && now[1].Pid != before[1].Pid
			})
			limits.Store(&pool.Limits{})
			s.recycled(cause, test.why)
		})
	}
}

// While the first worker that is recycled finishes what it has, the others wait,
// however worn they are, and serve.
func TestOneWorkerRecyclesAtATime(t *testing.T) {
	s, limits := limited(waits(t), 3)
	var held []<-chan answer
	for _, id := range []string{"1", "2", "3"} { // one on each
		held = append(held, s.hold(s.lease(), "/until?file=go&", id))
	}
	limits.Store(&pool.Limits{Age: time.Millisecond})
	s.until(5*time.Second, "first recycled", func() bool { return len(s.seen(pool.Replaced)) == 1 })
	<-time.After(1500 * time.Millisecond) // three looks at the others
	if n := len(s.seen(pool.Replaced)); n != 1 {
		t.Errorf("%d recycled, and none has ended", n)
	}
	limits.Store(&pool.Limits{Age: time.Hour}) // the new ones shall stay; those that are worn go
	if err := os.WriteFile(filepath.Join(s.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, h := range held {
		if a := s.got(h, 5*time.Second); a.err != nil {
			t.Error(a.err)
		}
	}
	s.until(10*time.Second, "all recycled", func() bool { return len(s.seen(pool.Ended)) >= 3 })

	s.mu.Lock()
	defer s.mu.Unlock()
	leaving := 0 // the worker that holds the pool's token
	for _, e := range s.events {
		switch e.Kind {
		case pool.Replaced:
			if leaving != 0 {
				t.Errorf("%d goes while %d has not ended", e.Pid, leaving)
			}
			leaving = e.Pid
		case pool.Ended:
			if e.Pid == leaving {
				leaving = 0
			}
		}
	}
}

func TestRecyclingThatFailsKeepsTheOldWorker(t *testing.T) {
	s, limits := limited(t, 2)
	before := s.Status()
	s.become("exits")
	limits.Store(&pool.Limits{Age: time.Millisecond})
	// Each in its turn: the first gives the token back.
	s.askUntil("/", 10*time.Second, "both tried", func() bool { return s.faults(pool.CauseStart) == 2 })
	for i, w := range s.Status() {
		if w.Pid != before[i].Pid || w.State != pool.Ready || w.Why == "" {
			t.Errorf("slot %d: %+v, was %+v", i, w, before[i])
		}
	}
	s.become("good")
	limits.Store(&pool.Limits{})
	if n, err := s.Restart(t.Context()); n != 2 || err != nil {
		t.Errorf("restart: %d, %v", n, err)
	}
	if s.replaced(pool.CauseOperator) != 2 {
		t.Errorf("replaced: %+v", s.seen(pool.Replaced))
	}
}

// A worker that dies while its successor starts must not keep the others of its
// pool from being recycled.
func TestDeathWhileRecyclingGivesTheTokenBack(t *testing.T) {
	s, limits := limited(t, 1)
	old := s.Status()[0].Pid
	s.become("silent")
	limits.Store(&pool.Limits{Requests: 1})
	s.askUntil("/", 10*time.Second, "successor starts", func() bool { return s.count() == 2 })
	limits.Store(&pool.Limits{})
	kill(t, old, syscall.SIGKILL)
	s.until(2*time.Second, "loss seen", func() bool { return s.faults(pool.CauseExit) == 1 })
	s.become("good")
	if n, err := s.Restart(t.Context()); n != 1 || err != nil {
		t.Fatalf("restart: %d, %v", n, err)
	}
	limits.Store(&pool.Limits{Requests: 1})
	s.askUntil("/", 10*time.Second, "recycled", func() bool { return s.replaced(pool.CauseRequests) > 0 })
}

// A stop does not wait for what is to be recycled.
func TestStopEndsARecycling(t *testing.T) {
	s, limits := limited(t, 2)
	s.become("silent")
	limits.Store(&pool.Limits{Age: time.Millisecond})
	s.until(5*time.Second, "successor starts", func() bool { return s.count() == 3 })
	s.stop(3 * time.Second)
	if n := len(s.seen(pool.Faulted)); n != 0 {
		t.Errorf("faults: %+v", s.seen(pool.Faulted))
	}
}

func TestMemoryBeyondTheHardLimitKillsOneWorker(t *testing.T) {
	s := newSite(t, "good")
	var limit atomic.Uint64
	limit.Store(1 << 40)
	s.run(2, func(c *pool.Config) {
		c.Spec = func(slot int) (ipc.Spec, error) {
			spec, err := s.spec(slot)
			spec.Memory = limit.Load()
			return spec, err
		}
	})
	s.await(10*time.Second, pool.Ready)
	limit.Store(4 * s.resting())
	if _, err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := s.lease()
	greedy := l.Worker().Pid()
	held := s.hold(l, "/eat?", "1")
	sibling, err := s.Lease(l)
	if err != nil {
		t.Fatal(err)
	}
	defer sibling.Release()
	s.until(10*time.Second, "killed", func() bool {
		if _, err := ask(sibling, "/"); err != nil {
			t.Fatalf("the sibling: %v", err)
		}
		return len(s.seen(pool.Faulted)) > 0
	})
	if a := s.got(held, time.Second); exchange.FaultOf(a.err) != exchange.WorkerDied {
		t.Errorf("what it held: %v", a.err)
	}
	f := s.seen(pool.Faulted)
	if len(f) != 1 || f[0].Cause != pool.CauseOOM || f[0].Pid != greedy || f[0].Wait != 0 || !strings.Contains(f[0].Err.Error(), "out of memory") {
		t.Errorf("faults: %+v", f)
	}
	s.await(5*time.Second, pool.Ready)
	if !alive(sibling.Worker().Pid()) {
		t.Error("the sibling is gone")
	}
}
