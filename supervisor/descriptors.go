package supervisor

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// spareDescriptors are for no client: the admin API, calls to workers and new
// workers need them when all others are in use. Of a small limit it is a quarter.
const spareDescriptors = 128

// descriptorsScarce reports whether nc has one of the last descriptors. The
// kernel gives the lowest free number, so a high one says that all below are in
// use, by whatever it may be; and the limit is asked each time, because it can be
// changed from outside (prlimit(2)).
func descriptorsScarce(nc net.Conn) bool {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	scarce := false
	_ = raw.Control(func(fd uintptr) {
		var limit unix.Rlimit
		if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
			most := uint64(limit.Cur)
			scarce = uint64(fd) >= most-min(spareDescriptors, most/4)
		}
	})
	return scarce
}

// scarcityLogged is how often the log says so at most.
const scarcityLogged = 10 * time.Second

// sayScarce logs that connections are refused for want of descriptors.
func (s *Supervisor) sayScarce() {
	now := time.Since(s.since)
	last := s.saidScarce.Load()
	if (last == 0 || now-time.Duration(last) >= scarcityLogged) && s.saidScarce.CompareAndSwap(last, int64(now)) {
		s.log.Warn("connections refused: open files are at their limit but for the spare ones", "spare", spareDescriptors, "open", s.limits.open.Load())
	}
}
