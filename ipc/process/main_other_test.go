//go:build !linux

package process_test

import (
	"os/exec"
	"syscall"
)

func withoutParentDeathSignal() {}

func newSession(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
