package demo

import "syscall"

// attributes put a service in a process group of its own, so that a Ctrl-C for the
// parent does not reach it, and have the kernel kill it when the parent dies.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
