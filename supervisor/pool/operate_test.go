package pool_test

import (
	"context"
	"errors"
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

func TestLeasesGoToTheWorkerWithTheFewest(t *testing.T) {
	s := open(t, 3)
	s.within(10*time.Second, "tried", func() { <-s.Tried() })
	s.await(time.Second, pool.Ready)
	held := make(map[int][]pool.Lease)
	for range 9 {
		l := s.lease()
		held[l.Worker().Pid()] = append(held[l.Worker().Pid()], l)
	}
	for _, w := range s.Status() {
		if len(held[w.Pid]) != 3 || w.Leases != 3 || w.Version != "test-1" {
			t.Errorf("%d leases of %+v", len(held[w.Pid]), w)
		}
	}
	first := s.Status()[0].Pid
	held[first][0].Release()
	if l, err := s.Lease(held[first][1]); err != nil || l.Worker().Pid() == first {
		t.Errorf("a lease other than of %d: %v, %v", first, l, err)
	}
	if l := s.lease(); l.Worker().Pid() != first {
		t.Errorf("got %d, and %d has fewer", l.Worker().Pid(), first)
	}
}

func TestReleasingTwicePanics(t *testing.T) {
	s := open(t, 1)
	s.await(10*time.Second, pool.Ready)
	l := s.lease()
	l.Release()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	l.Release()
}

func TestRestartLosesNothing(t *testing.T) {
	s := open(t, 1)
	s.await(10*time.Second, pool.Ready)
	old := s.Status()[0].Pid
	held := s.hold(s.lease(), "/until?file=go&", "1")
	restarted := make(chan error, 1)
	go func() { _, err := s.Restart(context.Background()); restarted <- err }()
	asked := 0
	for done := false; !done; asked++ {
		select {
		case err := <-restarted:
			if done = true; err != nil {
				t.Error(err)
			}
		default:
		}
		l := s.lease()
		if _, err := ask(l, "/"); err != nil {
			t.Fatalf("request %d: %v", asked, err)
		}
		l.Release()
	}
	if w := s.Status()[0]; w.Pid == old || w.State != pool.Ready {
		t.Errorf("after the restart: %+v", w)
	}
	if !alive(old) {
		t.Error("the old worker did not wait for its request")
	}
	if err := os.WriteFile(filepath.Join(s.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if a := s.got(held, 5*time.Second); a.err != nil || a.text != strconv.Itoa(old) {
		t.Errorf("the request in flight: %q, %v", a.text, a.err)
	}
	s.until(5*time.Second, "old worker ended", func() bool { return len(s.seen(pool.Ended)) == 1 })
	if e := s.seen(pool.Ended)[0]; e.Pid != old || e.Err != nil {
		t.Errorf("ended: %+v", e)
	}
	if len(s.seen(pool.Replaced)) != 1 || len(s.seen(pool.Faulted)) != 0 {
		t.Errorf("replaced %+v, faulted %+v", s.seen(pool.Replaced), s.seen(pool.Faulted))
	}
}

func TestRestartThatFailsKeepsTheOldWorkers(t *testing.T) {
	s := open(t, 2)
	s.await(10*time.Second, pool.Ready)
	before := s.Status()
	s.become("exits")
	if n, err := s.Restart(t.Context()); n != 0 || err == nil {
		t.Errorf("restart: %d, %v", n, err)
	}
	for i, w := range s.Status() {
		if w.Pid != before[i].Pid || w.State != pool.Ready {
			t.Errorf("slot %d: %+v, was %+v", i, w, before[i])
		}
	}
	if w := s.Status()[0]; w.Why == "" {
		t.Error("status does not say why")
	}
	s.become("good")
	if n, err := s.Restart(t.Context()); n != 2 || err != nil {
		t.Errorf("the next restart: %d, %v", n, err)
	}
}

// What the operator has repaired counts at once, not after what hangs has timed out.
func TestRestartGivesUpAStartThatHangs(t *testing.T) {
	s := newSite(t, "silent")
	s.run(2)
	s.until(5*time.Second, "first start under way", func() bool { return s.count() > 0 })
	s.become("good")
	s.within(5*time.Second, "restart", func() {
		if n, err := s.Restart(t.Context()); n != 2 || err != nil {
			t.Errorf("restart: %d, %v", n, err)
		}
	})
	s.await(time.Second, pool.Ready)
	if f := s.seen(pool.Faulted); len(f) != 0 {
		t.Errorf("faults: %+v", f)
	}
}

func TestRestartDuringBackoffStartsAtOnce(t *testing.T) {
	s := newSite(t, "exits")
	s.run(1)
	s.until(10*time.Second, "four failed starts", func() bool { return s.faults(pool.CauseStart) == 4 })
	s.await(time.Second, pool.Backoff)
	due := s.Status()[0].Until
	s.become("good")
	if n, err := s.Restart(t.Context()); n != 1 || err != nil {
		t.Fatalf("restart: %d, %v", n, err)
	}
	t.Logf("ready %v before the next start was due", time.Until(due))
	// The timer of the backoff is dead: nothing starts besides.
	if n := s.count(); n != 5 {
		t.Errorf("%d starts", n)
	}
}

// A worker that is lost during its replacement is replaced by that one.
func TestWorkerLostDuringItsRestart(t *testing.T) {
	s := open(t, 1)
	s.await(10*time.Second, pool.Ready)
	s.become("silent")
	ctx, cancel := context.WithCancel(t.Context())
	restarted := make(chan error, 1)
	go func() { _, err := s.Restart(ctx); restarted <- err }()
	s.until(5*time.Second, "restart under way", func() bool { return s.count() == 2 })
	kill(t, s.Status()[0].Pid, syscall.SIGKILL)
	s.await(5*time.Second, pool.Starting)
	if w := s.Status()[0]; w.Pid != 0 {
		t.Errorf("status %+v", w)
	}
	if d := s.RetryAfter(time.Now()); d != 0 {
		t.Errorf("retry after %v", d)
	}
	cancel()
	if err := <-restarted; !errors.Is(err, context.Canceled) {
		t.Errorf("an operator who left got %v", err)
	}
	s.become("good")
	if n, err := s.Restart(t.Context()); n != 1 || err != nil {
		t.Errorf("the next restart: %d, %v", n, err)
	}
}

func TestResize(t *testing.T) {
	s := open(t, 1)
	s.await(10*time.Second, pool.Ready)
	for _, size := range []int{3, 1, 2} {
		if err := s.Resize(t.Context(), size); err != nil {
			t.Fatalf("to %d: %v", size, err)
		}
		if n := len(s.Status()); n != size {
			t.Fatalf("%d slots, want %d", n, size)
		}
		s.await(time.Second, pool.Ready)
	}
	for _, w := range s.Status() {
		if !alive(w.Pid) {
			t.Errorf("no worker: %+v", w)
		}
	}
	running := 0
	for _, e := range s.seen(pool.Started) {
		if alive(e.Pid) {
			running++
		}
	}
	if running != 2 {
		t.Errorf("%d workers run", running)
	}
	if err := s.Resize(t.Context(), 0); err == nil {
		t.Error("to 0 is no error")
	}
}

// An operator who does not wait costs nobody a request.
func TestResizeDrainsAlsoWhenItsOperatorLeaves(t *testing.T) {
	s := open(t, 2)
	s.await(10*time.Second, pool.Ready)
	last := s.Status()[1].Pid
	l := s.lease()
	if l.Worker().Pid() != last {
		next, err := s.Lease(l)
		if err != nil {
			t.Fatal(err)
		}
		l.Release()
		l = next
	}
	held := s.hold(l, "/until?file=go&", "1")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Resize(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("resize: %v", err)
	}
	for range 4 {
		if l := s.lease(); l.Worker().Pid() == last {
			t.Error("a lease of a worker that goes")
		}
	}
	if err := os.WriteFile(filepath.Join(s.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if a := s.got(held, 5*time.Second); a.err != nil {
		t.Errorf("the request in flight: %v", a.err)
	}
	s.until(5*time.Second, "worker gone", func() bool { return !alive(last) })
}

func TestResizeDownDoesNotWaitForStarts(t *testing.T) {
	s := newSite(t, "silent")
	s.run(4)
	s.until(5*time.Second, "first start under way", func() bool { return s.count() > 0 })
	s.within(3*time.Second, "resize", func() {
		if err := s.Resize(t.Context(), 1); err != nil {
			t.Error(err)
		}
	})
}

func TestStopEndsWhatWaits(t *testing.T) {
	for name, wait := range map[string]func(*site) error{
		"restart": func(s *site) error { _, err := s.Restart(context.Background()); return err },
		"resize":  func(s *site) error { return s.Resize(context.Background(), 4) },
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, 1)
			s.await(10*time.Second, pool.Ready)
			s.become("silent")
			waiting := make(chan error, 1)
			go func() { waiting <- wait(s) }()
			s.until(5*time.Second, "start under way", func() bool { return s.count() == 2 })
			s.stop(3 * time.Second)
			if err := <-waiting; !errors.Is(err, pool.ErrStopped) {
				t.Errorf("got %v", err)
			}
			if f := s.seen(pool.Faulted); len(f) != 0 {
				t.Errorf("faults: %+v", f)
			}
			if err := wait(s); !errors.Is(err, pool.ErrStopped) {
				t.Errorf("after the stop: %v", err)
			}
			if _, err := s.Lease(pool.Lease{}); !errors.Is(err, pool.ErrStopped) {
				t.Errorf("lease: %v", err)
			}
			for _, state := range s.states() {
				if state != pool.Stopped {
					t.Errorf("states: %v", s.states())
				}
			}
		})
	}
}

func TestStopLetsRequestsEnd(t *testing.T) {
	s := open(t, 1)
	s.await(10*time.Second, pool.Ready)
	held := s.hold(s.lease(), "/until?file=go&", "1")
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(context.Background()) }()
	s.await(5*time.Second, pool.Draining)
	if w := s.Status()[0]; w.Leases != 1 || w.Pid == 0 {
		t.Errorf("status %+v", w)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if a := s.got(held, 5*time.Second); a.err != nil {
		t.Error(a.err)
	}
	s.within(5*time.Second, "stop", func() {
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

func TestStopCutsRequestsAtItsDeadline(t *testing.T) {
	s := open(t, 2)
	s.await(10*time.Second, pool.Ready)
	held := s.hold(s.lease(), "/hang?", "1")
	// One that drains already, for longer than Stop has.
	resized := make(chan error, 1)
	go func() { resized <- s.Resize(context.Background(), 1) }()
	s.until(5*time.Second, "resize under way", func() bool { return len(s.Status()) == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	s.within(5*time.Second, "stop", func() { _ = s.Stop(ctx) })
	<-resized
	if a := s.got(held, time.Second); exchange.FaultOf(a.err) != exchange.WorkerDied {
		t.Errorf("got %v", a.err)
	}
}

func TestStopKillsWhoIgnoresIt(t *testing.T) {
	s := newSite(t, "stubborn")
	s.run(2, func(c *pool.Config) { c.StopTimeout = 200 * time.Millisecond })
	s.await(10*time.Second, pool.Ready)
	s.within(5*time.Second, "stop", func() {
		if _, stuck := errors.AsType[*ipc.StuckError](s.Stop(context.Background())); !stuck {
			t.Error("no error says so")
		}
	})
	if n := len(s.seen(pool.StopOverrun)); n != 2 {
		t.Errorf("%d workers overran", n)
	}
}

// A stop that is slow gives no reason to take its worker for a dead one.
func TestSlowStopIsNoFault(t *testing.T) {
	s := newSite(waits(t), "stubborn")
	s.run(1, func(c *pool.Config) { c.StopTimeout = 3 * time.Second })
	s.await(10*time.Second, pool.Ready)
	begun := time.Now()
	s.within(8*time.Second, "stop", func() { _ = s.Stop(context.Background()) })
	// The worker tells its stop's deadline from its own clock, a moment early.
	if took := time.Since(begun); took < 2900*time.Millisecond || len(s.seen(pool.StopOverrun)) != 1 {
		t.Errorf("stopped after %v, %+v", took, s.seen(pool.Ended))
	}
}
