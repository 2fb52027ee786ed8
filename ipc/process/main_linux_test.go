package process_test

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

func withoutParentDeathSignal() {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0); err != nil {
		panic(err)
	}
}

func newSession(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
