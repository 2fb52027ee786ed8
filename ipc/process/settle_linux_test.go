package process

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A zombie of our own is never taken, however late its owner is; a stranger's
// only when it has settled; none while a fork is under way.
func TestReapAdoptedTakesWhatNobodyWaitsFor(t *testing.T) {
	proc, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := waitable(unix.P_PID, proc.Pid, 0); err != nil {
		t.Fatal(err)
	}
	f := &forker{own: map[int]*os.Process{proc.Pid: proc}}
	zombies, now := make(map[int]time.Time), time.Now()
	look := func(after time.Duration) (left bool) {
		t.Helper()
		now = now.Add(after)
		if !f.reapAdopted(zombies, now) {
			t.Error("held up by no fork")
		}
		left, _ = waitable(unix.P_PID, proc.Pid, unix.WNOHANG)
		return left
	}
	if !look(0) || !look(time.Hour) {
		t.Fatal("a child of our own was reaped")
	}
	f.forget(proc, proc.Pid)
	if !look(time.Hour) || !look(settle/2) {
		t.Fatal("reaped although its owner may still come")
	}
	f.forking.Lock()
	if f.reapAdopted(zombies, now.Add(time.Hour)) {
		t.Error("it did not heed the fork")
	}
	f.forking.Unlock()
	if look(settle) {
		t.Error("not reaped")
	}
	if len(zombies) != 0 {
		t.Errorf("remembers %v", zombies)
	}
	_ = proc.Release()
}

// A number that was used again belongs to the later child.
func TestForgetKeepsTheLaterChild(t *testing.T) {
	old, later := new(os.Process), new(os.Process)
	f := &forker{own: map[int]*os.Process{7: later}}
	if f.forget(old, 7); !f.owns(7) {
		t.Error("forgot the later child")
	}
	if f.forget(later, 7); f.owns(7) {
		t.Error("kept a child that was reaped")
	}
}
