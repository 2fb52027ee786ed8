package pool_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/supervisor/pool"
)

func TestKilledWorkerIsReplacedAtOnce(t *testing.T) {
	s := open(t, 2)
	s.await(10*time.Second, pool.Ready)
	l := s.lease()
	pid := l.Worker().Pid()
	held := s.hold(l, "/hang?", "1")
	kill(t, pid, syscall.SIGKILL)
	if a := s.got(held, time.Second); exchange.FaultOf(a.err) != exchange.WorkerDied {
		t.Errorf("got %v", a.err)
	}
	// What its requests say of it does not change the cause.
	l.Broken(io.ErrUnexpectedEOF)
	l.Unreachable(syscall.ECONNREFUSED)
	s.until(5*time.Second, "replaced", func() bool { return len(s.seen(pool.Started)) == 3 })
	s.await(time.Second, pool.Ready)
	if n := s.faults(pool.CauseExit); n != 1 || len(s.seen(pool.Faulted)) != 1 {
		t.Errorf("faults: %+v", s.seen(pool.Faulted))
	}
	if f := s.seen(pool.Faulted)[0]; f.Pid != pid || f.Wait != 0 {
		t.Errorf("fault: %+v", f)
	}
}

func TestCrashLoopIsQuarantinedUntilAnOperatorRestarts(t *testing.T) {
	s := open(t, 1)
	crash := func(times int) {
		for range times {
			s.await(5*time.Second, pool.Ready)
			n := len(s.seen(pool.Faulted))
			kill(t, s.Status()[0].Pid, syscall.SIGKILL)
			s.until(5*time.Second, "fault seen", func() bool { return len(s.seen(pool.Faulted)) > n })
		}
	}
	crash(5)
	s.await(5*time.Second, pool.Quarantined)
	if _, err := s.Lease(pool.Lease{}); !errors.Is(err, pool.ErrQuarantined) {
		t.Errorf("lease: %v", err)
	}
	if d := s.RetryAfter(time.Now()); d > 30*time.Second || d < 20*time.Second {
		t.Errorf("retry after %v", d)
	}
	if n := len(s.seen(pool.Quarantine)); n != 1 {
		t.Errorf("%d quarantines", n)
	}
	if n, err := s.Restart(t.Context()); n != 1 || err != nil {
		t.Fatalf("restart: %d, %v", n, err)
	}
	if w := s.Status()[0]; w.State != pool.Ready || w.Why != "" || !w.Until.IsZero() {
		t.Errorf("after the restart: %+v", w)
	}
	crash(4) // its budget is whole again
	s.await(5*time.Second, pool.Ready)
}

func TestFailedStartsBackOffThenQuarantine(t *testing.T) {
	for name, spec := range map[string]func(ipc.Spec) (ipc.Spec, error){
		"exits":   func(s ipc.Spec) (ipc.Spec, error) { s.Env = []string{roleKey + "=exits", raceKey}; return s, nil },
		"ends":    func(s ipc.Spec) (ipc.Spec, error) { s.Env = []string{roleKey + "=ends", raceKey}; return s, nil },
		"garbage": func(s ipc.Spec) (ipc.Spec, error) { s.Env = []string{roleKey + "=garbage"}; return s, nil },
		"missing": func(s ipc.Spec) (ipc.Spec, error) { s.Path = "/nonexistent/worker"; return s, nil },
		"no spec": func(s ipc.Spec) (ipc.Spec, error) { return s, errors.New("the secret cannot be read") },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(waits(t), "good")
			begun := time.Now()
			s.run(1, func(c *pool.Config) {
				c.Spec = func(slot int) (ipc.Spec, error) {
					whole, err := s.spec(slot)
					if err != nil {
						return whole, err
					}
					return spec(whole)
				}
			})
			s.within(5*time.Second, "tried", func() { <-s.Tried() })
			s.until(time.Second, "first fault", func() bool { return len(s.seen(pool.Faulted)) > 0 })
			s.await(15*time.Second, pool.Quarantined)
			// 100, 200, 400 and 800 ms, a quarter less by jitter.
			if took := time.Since(begun); took < 1125*time.Millisecond {
				t.Errorf("five starts in %v", took)
			}
			if n := s.faults(pool.CauseStart); n != 5 {
				t.Errorf("%d failed starts", n)
			}
			if w := s.Status()[0]; w.Why == "" || w.Until.IsZero() || w.Pid != 0 {
				t.Errorf("status %+v", w)
			}
		})
	}
}

// Slots whose starts time out take turns: their faults are far apart.
func TestWorkersThatNeverGetReadyAreQuarantined(t *testing.T) {
	s := newSite(waits(t), "silent")
	s.run(2, func(c *pool.Config) {
		c.Budget = func() pool.Budget { return pool.Budget{Faults: 3, Per: 250 * time.Millisecond} }
		c.Spec = func(slot int) (ipc.Spec, error) {
			spec, err := s.spec(slot)
			spec.StartTimeout = 300 * time.Millisecond
			return spec, err
		}
	})
	s.await(15*time.Second, pool.Quarantined)
}

func TestFrozenWorkerIsFound(t *testing.T) {
	s := open(waits(t), 2)
	s.await(10*time.Second, pool.Ready)
	l := s.lease()
	pid := l.Worker().Pid()
	held := s.hold(l, "/hang?", "1")
	kill(t, pid, syscall.SIGSTOP)
	begun := time.Now()
	if a := s.got(held, 3*time.Second); exchange.FaultOf(a.err) != exchange.WorkerUnresponsive {
		t.Errorf("got %v", a.err)
	}
	if _, err := ask(s.lease(), "/"); err != nil {
		t.Errorf("the other worker: %v", err)
	}
	s.until(3*time.Second, "replaced", func() bool { return len(s.seen(pool.Started)) == 3 })
	t.Logf("frozen to replaced: %v", time.Since(begun))
	if s.faults(pool.CauseUnresponsive) != 1 || len(s.seen(pool.Faulted)) != 1 {
		t.Errorf("faults: %+v", s.seen(pool.Faulted))
	}
	s.until(2*time.Second, "killed", func() bool { return !alive(pid) })
}

func TestFrozenWorkerIsFoundWhileItDrains(t *testing.T) {
	s := open(waits(t), 1)
	s.await(10*time.Second, pool.Ready)
	l := s.lease()
	held := s.hold(l, "/hang?", "1")
	if _, err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	kill(t, l.Worker().Pid(), syscall.SIGSTOP)
	if a := s.got(held, 3*time.Second); exchange.FaultOf(a.err) != exchange.WorkerUnresponsive {
		t.Errorf("got %v", a.err)
	}
	s.until(2*time.Second, "its end told", func() bool { return len(s.seen(pool.Ended)) == 1 })
	if e := s.seen(pool.Ended)[0]; e.Pid != l.Worker().Pid() || e.Err == nil {
		t.Errorf("ended: %+v", e)
	}
	if s.states()[0] != pool.Ready || len(s.seen(pool.Faulted)) != 0 {
		t.Errorf("the new worker: %+v %+v", s.Status(), s.seen(pool.Faulted))
	}
}

// A folder that is deleted leaves connections alone and ends dials.
func TestWorkerThatCannotBeDialledKeepsItsRequests(t *testing.T) {
	s := open(t, 1)
	s.await(10*time.Second, pool.Ready)
	old := s.lease()
	pid := old.Worker().Pid()
	held := s.hold(old, "/until?file=go&", "1")
	dirs, _ := filepath.Glob(filepath.Join(s.sockets, "w*"))
	if len(dirs) != 1 {
		t.Fatalf("socket folders: %v", dirs)
	}
	if err := os.RemoveAll(dirs[0]); err != nil {
		t.Fatal(err)
	}
	l := s.lease()
	if _, err := ask(l, "/"); !errors.Is(err, ipc.ErrUnreachable) {
		t.Fatalf("with its socket deleted: %v", err)
	}
	l.Unreachable(syscall.ECONNREFUSED)
	l.Release()
	if _, err := s.Lease(pool.Lease{}); !errors.Is(err, pool.ErrNoWorker) {
		t.Errorf("lease of a worker that cannot be dialled: %v", err)
	}
	s.until(5*time.Second, "replaced", func() bool { return len(s.seen(pool.Started)) == 2 })
	if s.faults(pool.CauseProtocol) != 1 {
		t.Errorf("faults: %+v", s.seen(pool.Faulted))
	}
	if err := os.WriteFile(filepath.Join(s.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if a := s.got(held, 5*time.Second); a.err != nil || a.text != strconv.Itoa(pid) {
		t.Errorf("the request in flight: %q, %v", a.text, a.err)
	}
	s.until(5*time.Second, "old worker gone", func() bool { return !alive(pid) })
}

func TestThreeBrokenExchangesReplaceAWorkerAndTwoDoNot(t *testing.T) {
	s := open(t, 1)
	s.await(10*time.Second, pool.Ready)
	for range 2 {
		l := s.lease()
		l.Broken(io.ErrUnexpectedEOF)
		l.Release()
	}
	l := s.lease()
	if _, err := ask(l, "/"); err != nil {
		t.Fatal(err)
	}
	l.Broken(io.ErrUnexpectedEOF)
	l.Release()
	if _, err := s.Lease(pool.Lease{}); !errors.Is(err, pool.ErrNoWorker) {
		t.Errorf("lease after three broken exchanges: %v", err)
	}
	s.until(5*time.Second, "replaced", func() bool { return len(s.seen(pool.Started)) == 2 })
	if s.faults(pool.CauseProtocol) != 1 || len(s.seen(pool.Faulted)) != 1 {
		t.Errorf("faults: %+v", s.seen(pool.Faulted))
	}
	l.Broken(io.ErrUnexpectedEOF) // of the old one: late, and nobody's business any more
	if _, err := ask(s.lease(), "/"); err != nil {
		t.Error(err)
	}
}

func TestGrandchildrenGo(t *testing.T) {
	s := newSite(t, "grandchild")
	s.run(1)
	s.await(10*time.Second, pool.Ready)
	text, err := os.ReadFile(filepath.Join(s.dir, "grandchild"))
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := strconv.Atoi(string(bytes.TrimSpace(text)))
	if !alive(pid) {
		t.Fatalf("no grandchild %q", text)
	}
	kill(t, s.Status()[0].Pid, syscall.SIGKILL)
	s.until(3*time.Second, "grandchild gone", func() bool { return !alive(pid) })
	s.until(3*time.Second, "replaced", func() bool { return len(s.seen(pool.Started)) == 2 })
}

func TestOneStartAtATime(t *testing.T) {
	s := newSite(t, "alone")
	s.run(5)
	s.await(20*time.Second, pool.Ready)
	if why, err := os.ReadFile(filepath.Join(s.dir, "overlap")); err == nil {
		t.Errorf("two starts at once: %s", why)
	}
}

func TestNoPoolWaitsForAnother(t *testing.T) {
	slow := newSite(t, "silent")
	slow.run(2)
	slow.until(5*time.Second, "slow start under way", func() bool { return slow.count() > 0 })
	fast := open(t, 2)
	fast.await(10*time.Second, pool.Ready)
	if n := len(slow.seen(pool.Faulted)); n != 0 {
		t.Errorf("the slow pool is through already: %+v", slow.seen(pool.Faulted))
	}
	slow.stop(3 * time.Second)
}

func (s *site) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.starts
}
