package supervisor

import (
	"net"
	"os"
	"syscall"
)

// acceptNow takes a connection that waits at ln, whatever its deadline; nil: none
// does.
func acceptNow(ln net.Listener) net.Conn {
	sc, ok := ln.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	fd := -1
	if err := raw.Control(func(listening uintptr) {
		fd, _, err = syscall.Accept4(int(listening), syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
	}); err != nil || fd < 0 {
		return nil
	}
	f := os.NewFile(uintptr(fd), "accepted")
	defer f.Close()
	nc, err := net.FileConn(f)
	if err != nil {
		return nil
	}
	return nc
}
