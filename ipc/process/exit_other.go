//go:build !linux

package process

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Without a parent-death signal the lifeline alone ends orphans.
func sysProcAttr(*int, *os.File) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// exitWatch waits for the end of one process without reaping it, at the price of
// a thread.
type exitWatch struct {
	pid int
}

func newExitWatch(pid, _ int) *exitWatch { return &exitWatch{pid: pid} }

// wait returns when the process is a zombie. While the kernel has no queue to
// spare it asks again.
func (w *exitWatch) wait() error {
	for w.await() != nil {
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}

func (w *exitWatch) await() error {
	kq, err := unix.Kqueue()
	if err != nil {
		return err
	}
	defer unix.Close(kq)
	unix.CloseOnExec(kq)
	var change, event [1]unix.Kevent_t
	unix.SetKevent(&change[0], w.pid, unix.EVFILT_PROC, unix.EV_ADD|unix.EV_ONESHOT)
	change[0].Fflags = unix.NOTE_EXIT
	if _, err := unix.Kevent(kq, change[:], event[:], nil); err != nil {
		return err
	}
	// A change that was refused comes back as an event, kqueue(2). ESRCH: the
	// process is a zombie already.
	refused := syscall.Errno(event[0].Data)
	if event[0].Flags&unix.EV_ERROR != 0 && refused != unix.ESRCH {
		return refused
	}
	return nil
}
