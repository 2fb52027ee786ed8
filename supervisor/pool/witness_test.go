package pool_test

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/supervisor/pool"
)

// onlooker is a witness that notes what it saw, and in which order.
type onlooker struct {
	mu    sync.Mutex
	saw   []pool.Loss
	alive []bool // when the rest was kept
	kept  chan struct{}
}

func (o *onlooker) look(l pool.Loss) (string, func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.saw = append(o.saw, l)
	return fmt.Sprintf("evidence-%d", len(o.saw)), func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.alive = append(o.alive, alive(l.Worker.Pid()))
		if o.kept != nil {
			<-o.kept
		}
	}
}

func (o *onlooker) losses() []pool.Loss {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]pool.Loss(nil), o.saw...)
}

// A frozen worker is looked at before it is killed, and its requests do not wait
// for that.
func TestFrozenWorkerIsLookedAt(t *testing.T) {
	o := &onlooker{kept: make(chan struct{})}
	s := open(waits(t), 1, func(c *pool.Config) { c.Witness = o.look })
	s.await(10*time.Second, pool.Ready)
	l := s.lease()
	pid := l.Worker().Pid()
	held := s.hold(l, "/hang?", "1")
	kill(t, pid, syscall.SIGSTOP)
	if a := s.got(held, 5*time.Second); exchange.FaultOf(a.err) != exchange.WorkerUnresponsive {
		t.Errorf("got %v", a.err)
	}
	s.until(5*time.Second, "another serves", func() bool { return len(s.seen(pool.Started)) == 2 })
	if !alive(pid) {
		t.Error("killed while it was looked at")
	}
	close(o.kept)
	s.until(3*time.Second, "killed", func() bool { return !alive(pid) })
	saw := o.losses()
	if len(saw) != 1 || saw[0].Cause != pool.CauseUnresponsive || saw[0].Slot != 0 || saw[0].Err == nil || !o.alive[0] {
		t.Errorf("saw %+v, alive %v", saw, o.alive)
	}
	e := s.seen(pool.Faulted)
	if len(e) != 1 || e[0].Evidence != "evidence-1" || s.Status()[0].Evidence != "evidence-1" {
		t.Errorf("%+v, %+v", e, s.Status())
	}
}

// A worker that ignores its stop is looked at while it still runs.
func TestStopOverrunIsLookedAt(t *testing.T) {
	o := &onlooker{}
	s := newSite(waits(t), "stubborn")
	s.run(1, func(c *pool.Config) { c.Witness, c.StopTimeout = o.look, time.Second })
	s.await(10*time.Second, pool.Ready)
	s.within(5*time.Second, "stop", func() { _ = s.Stop(context.Background()) })
	if saw := o.losses(); len(saw) != 1 || saw[0].Cause != pool.CauseOverrun || !o.alive[0] {
		t.Errorf("saw %+v, alive %v", saw, o.alive)
	}
	if e := s.seen(pool.StopOverrun); len(e) != 1 || e[0].Evidence != "evidence-1" {
		t.Errorf("%+v", e)
	}
}

// Requests that a drain cuts leave evidence; a drain that ends in time does not.
func TestCutDrainIsLookedAt(t *testing.T) {
	o := &onlooker{}
	s := open(t, 1, func(c *pool.Config) {
		c.Witness, c.DrainTimeout = o.look, func() time.Duration { return 200 * time.Millisecond }
	})
	s.await(10*time.Second, pool.Ready)
	if _, err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.until(5*time.Second, "the old one ended", func() bool { return len(s.seen(pool.Ended)) == 1 })
	if saw := o.losses(); len(saw) != 0 {
		t.Fatalf("an orderly end was looked at: %+v", saw)
	}
	l := s.lease()
	held := s.hold(l, "/hang?", "1")
	if _, err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := s.got(held, 5*time.Second); exchange.FaultOf(a.err) != exchange.WorkerDied {
		t.Errorf("got %v", a.err)
	}
	if l.Died() {
		t.Error("an operator's restart is taken for a death")
	}
	s.until(5*time.Second, "looked at", func() bool { return len(o.losses()) == 1 })
}

func TestWorkerThatOverrunsIsReplaced(t *testing.T) {
	o := &onlooker{}
	s := open(t, 1, func(c *pool.Config) { c.Witness = o.look })
	s.await(10*time.Second, pool.Ready)
	l := s.lease()
	defer l.Release()
	for range 5 { // never three in a row
		l.Overran()
		l.Overran()
		l.Served()
	}
	if again := s.lease(); again.Worker() != l.Worker() {
		t.Fatal("another worker serves")
	} else {
		again.Release()
	}
	l.Overran()
	l.Overran()
	l.Overran()
	l.Overran() // who was under way
	s.until(5*time.Second, "replaced", func() bool { return len(s.seen(pool.Started)) == 2 })
	if s.faults(pool.CauseStuck) != 1 || len(s.seen(pool.Faulted)) != 1 {
		t.Errorf("%+v", s.seen(pool.Faulted))
	}
	if saw := o.losses(); len(saw) != 1 || saw[0].Cause != pool.CauseStuck {
		t.Errorf("saw %+v", saw)
	}
}

func TestDeathOfALeasedWorker(t *testing.T) {
	s := open(t, 1)
	s.await(10*time.Second, pool.Ready)
	l := s.lease()
	defer l.Release()
	if l.Died() {
		t.Error("it lives")
	}
	kill(t, l.Worker().Pid(), syscall.SIGKILL)
	if !l.Died() {
		t.Error("it was killed by a stranger")
	}
}
