//go:build unix && !linux

package demo

import "syscall"

// attributes put a service in a process group of its own, so that a Ctrl-C for the
// parent does not reach it. The lifeline alone ends it with its parent.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
