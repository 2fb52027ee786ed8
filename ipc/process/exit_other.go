//go:build !linux

package process

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Without a parent-death signal the lifeline alone ends orphans.
func sysProcAttr(*int) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// exitWatch waits for the end of one process without reaping it, at the price of
// a thread.
type exitWatch struct {
	pid int
}

func newExitWatch(pid, _ int) *exitWatch { return &exitWatch{pid: pid} }

// wait returns when the process is a zombie. Where the kernel would not tell, it
// says so, and the group is not swept.
func (w *exitWatch) wait() error {
	kq, err := unix.Kqueue()
	if err != nil {
		return err
	}
	defer unix.Close(kq)
	unix.CloseOnExec(kq)
	var change, event [1]unix.Kevent_t
	unix.SetKevent(&change[0], w.pid, unix.EVFILT_PROC, unix.EV_ADD|unix.EV_ONESHOT)
	change[0].Fflags = unix.NOTE_EXIT
	for {
		_, err := unix.Kevent(kq, change[:], event[:], nil)
		if err == unix.EINTR {
			continue
		}
		// A change that was refused comes back as an event, kqueue(2).
		if err == nil && event[0].Flags&unix.EV_ERROR != 0 {
			err = syscall.Errno(event[0].Data)
		}
		if err == unix.ESRCH { // a zombie already
			return nil
		}
		return err
	}
}
