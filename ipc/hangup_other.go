//go:build !linux

package ipc

import "golang.org/x/sys/unix"

// hangup is the poll event of a peer that closed its end.
const hangup = unix.POLLHUP
