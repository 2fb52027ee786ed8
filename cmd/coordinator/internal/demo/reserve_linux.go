package demo

import (
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// reserve picks a free loopback port and keeps it until release: a socket that is
// bound and never listens. Connects to it are refused and the kernel gives the port
// to nobody else, but whoever sets SO_REUSEADDR, as every listener of ours, can
// listen there. So a service finds its port again after it was down or killed.
func reserve() (addr string, release func(), err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", nil, os.NewSyscallError("socket", err)
	}
	fail := func(call string, err error) (string, func(), error) {
		unix.Close(fd)
		return "", nil, os.NewSyscallError(call, err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return fail("setsockopt", err)
	}
	loopback := [4]byte{127, 0, 0, 1}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: loopback}); err != nil {
		return fail("bind", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return fail("getsockname", err)
	}
	port := name.(*unix.SockaddrInet4).Port
	return netip.AddrPortFrom(netip.AddrFrom4(loopback), uint16(port)).String(), func() { unix.Close(fd) }, nil
}
