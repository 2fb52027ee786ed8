//go:build unix

package backend

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// lookout sees whether a socket has something to read, without waiting and
// without taking it.
type lookout struct {
	raw   syscall.RawConn
	peek  func(fd uintptr) bool // one closure for the life of the connection
	found bool
}

func newLookout(nc net.Conn) *lookout {
	l := &lookout{}
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return l
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return l
	}
	l.raw = raw
	l.peek = func(fd uintptr) bool {
		var one [1]byte
		for {
			// Bytes, an end or an error: all of them say that it is not quiet.
			_, _, err := unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
			if err == unix.EINTR {
				continue
			}
			l.found = err != unix.EAGAIN
			return true
		}
	}
	return l
}

// readable reports bytes, an end or an error. What it cannot look at counts as
// readable: such a connection is used once.
func (l *lookout) readable() bool {
	if l.raw == nil {
		return true
	}
	l.found = true
	if err := l.raw.Read(l.peek); err != nil {
		return true
	}
	return l.found
}
