package process

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func sysProcAttr(pidfd *int, birthplace *os.File) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{
		Setpgid:   true,
		Pdeathsig: syscall.SIGKILL,
		PidFD:     pidfd,
	}
	if birthplace != nil {
		attr.UseCgroupFD, attr.CgroupFD = true, int(birthplace.Fd())
	}
	return attr
}

// exitWatch waits for the end of one process without reaping it.
type exitWatch struct {
	pid   int
	pidfd *os.File // nil before Linux 5.4, or where seccomp hides it
}

// newExitWatch takes over pidfd, which may be -1.
func newExitWatch(pid, pidfd int) *exitWatch {
	w := &exitWatch{pid: pid}
	if pidfd >= 0 {
		// Nonblocking, os.NewFile has the runtime's poller wait for it: a pidfd
		// is readable once the process has ended.
		_ = unix.SetNonblock(pidfd, true)
		w.pidfd = os.NewFile(uintptr(pidfd), "pidfd")
	}
	return w
}

// wait returns when the process is a zombie. The error says that somebody else
// has reaped it.
func (w *exitWatch) wait() error {
	if w.pidfd == nil {
		return w.block()
	}
	defer w.pidfd.Close()
	conn, err := w.pidfd.SyscallConn()
	if err != nil {
		return w.block()
	}
	var waitErr error
	err = conn.Read(func(fd uintptr) bool {
		var ended bool
		ended, waitErr = waitable(unix.P_PIDFD, int(fd), unix.WNOHANG)
		return ended || waitErr != nil
	})
	if err != nil || waitErr != nil { // no poller for it, or no P_PIDFD before 5.4
		return w.block()
	}
	return nil
}

// block waits in the system call, at the price of a thread.
func (w *exitWatch) block() error {
	_, err := waitable(unix.P_PID, w.pid, 0)
	return err
}

// waitable reports whether a child has ended, and leaves it to be reaped.
func waitable(idType, id, flags int) (bool, error) {
	for {
		var info unix.Siginfo // zero where WNOHANG finds nothing, waitid(2)
		err := unix.Waitid(idType, id, &info, unix.WEXITED|unix.WNOWAIT|flags, nil)
		if err == unix.EINTR {
			continue
		}
		return info.Signo != 0, os.NewSyscallError("waitid", err)
	}
}
