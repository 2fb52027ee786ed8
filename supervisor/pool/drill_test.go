package pool_test

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/supervisor/pool"
)

// Kills of a drill are seen, and charged to nobody.
func TestDrillKillsAreNotCharged(t *testing.T) {
	s := open(t, 2, func(c *pool.Config) {
		c.Budget = func() pool.Budget { return pool.Budget{Faults: 2, Per: time.Minute} }
	})
	const rounds = 4
	for i := range rounds {
		s.await(10*time.Second, pool.Ready)
		if n := s.Kill(); n != 2 {
			t.Errorf("killed %d workers, want 2", n)
		}
		s.until(5*time.Second, "the deaths are seen", func() bool { return s.faults(pool.CauseDrill) == 2*(i+1) && !s.Dying() })
	}
	s.await(5*time.Second, pool.Ready)
	s.EndDrill()
	if n := len(s.seen(pool.Faulted)); n != 2*rounds {
		t.Errorf("%d faults, want %d: %+v", n, 2*rounds, s.seen(pool.Faulted))
	}
	if len(s.seen(pool.Quarantine)) > 0 {
		t.Error("a drill led to a quarantine")
	}
	// What comes after the drill is charged as ever.
	for range 2 {
		s.await(5*time.Second, pool.Ready)
		n := s.faults(pool.CauseExit)
		kill(t, s.Status()[0].Pid, syscall.SIGKILL)
		s.until(5*time.Second, "fault seen", func() bool { return s.faults(pool.CauseExit) == n+1 })
	}
	if n := len(s.seen(pool.Quarantine)); n != 1 {
		t.Errorf("%d quarantines after two faults of its own, want 1", n)
	}
}

func TestDrillEndsBeforeTheDeathIsSeen(t *testing.T) {
	s := open(t, 1)
	s.await(10*time.Second, pool.Ready)
	l := s.lease()
	defer l.Release()
	if l.Drilled() {
		t.Error("drilled before the drill")
	}
	s.Kill()
	s.EndDrill()
	if !l.Drilled() {
		t.Error("the request that it held would be blamed")
	}
	s.until(5*time.Second, "the death is seen", func() bool { return s.faults(pool.CauseDrill) == 1 })
	if n := s.faults(pool.CauseExit); n != 0 {
		t.Errorf("%d faults were charged", n)
	}
}

func TestDrillFreezesTheBusiestWorker(t *testing.T) {
	s := open(waits(t), 2)
	s.await(10*time.Second, pool.Ready)
	l := s.lease()
	held := s.hold(l, "/hang?", "1")
	pid, thaw, ok := s.Freeze()
	if !ok || pid != l.Worker().Pid() {
		t.Fatalf("froze %d, %v; want %d", pid, ok, l.Worker().Pid())
	}
	defer thaw()
	if a := s.got(held, 4*time.Second); a.err == nil {
		t.Errorf("answered: %q", a.text)
	}
	s.until(5*time.Second, "replaced", func() bool { return s.faults(pool.CauseDrill) == 1 && len(s.seen(pool.Started)) == 3 })
	thaw() // there is nobody
	if n := len(s.seen(pool.Faulted)); n != 1 {
		t.Errorf("%d faults", n)
	}
}

func TestDrillThawsInTime(t *testing.T) {
	s := open(t, 1)
	s.await(10*time.Second, pool.Ready)
	_, thaw, ok := s.Freeze()
	if !ok {
		t.Fatal("nothing is frozen")
	}
	thaw()
	s.EndDrill()
	l := s.lease()
	defer l.Release()
	if text, err := ask(l, "/"); err != nil || text == "" {
		t.Errorf("%q, %v", text, err)
	}
	if l.Drilled() || len(s.seen(pool.Faulted)) > 0 {
		t.Errorf("drilled %v, faults %+v", l.Drilled(), s.seen(pool.Faulted))
	}
}

// What workers play, a new one plays before its first request.
func TestDrillReachesNewWorkers(t *testing.T) {
	s := open(t, 1)
	s.await(10*time.Second, pool.Ready)
	heap := func() uint64 {
		l := s.lease()
		defer l.Release()
		st, err := l.Worker().Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return st.HeapBytes
	}
	const limit = 48 << 20
	if err := s.Play(t.Context(), ipc.Drill{Mode: ipc.DrillLeak, For: time.Minute, Bytes: limit}); err != nil {
		t.Fatal(err)
	}
	s.until(10*time.Second, "it leaks", func() bool { return heap() > limit*9/10 })
	if n, err := s.Restart(t.Context()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	s.until(10*time.Second, "the new one leaks", func() bool { return heap() > limit*9/10 })
	s.EndDrill()
	s.until(10*time.Second, "nothing is held", func() bool { return heap() < limit/2 })
	if n, err := s.Restart(t.Context()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if is := heap(); is > limit/2 {
		t.Errorf("a worker of after the drill holds %d MiB", is>>20)
	}
}

func TestDrillThatWorkersCannotPlay(t *testing.T) {
	s := open(t, 2)
	s.await(10*time.Second, pool.Ready)
	err := s.Play(t.Context(), ipc.Drill{Mode: ipc.DrillGarbage, For: time.Minute})
	if !errors.Is(err, ipc.ErrUndrillable) {
		t.Errorf("got %v", err)
	}
	if l := s.lease(); l.Drilled() {
		t.Error("a worker is still marked")
	} else {
		l.Release()
	}
}
