package load

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// alarm wakes the pacer on time. The runtime's own timers wait in epoll_wait with
// whole milliseconds when a process is idle, several times the latency that is to
// be measured; a timerfd under the same poller is exact to some ten microseconds
// and occupies no thread.
type alarm struct {
	f  *os.File
	fd int
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	return &alarm{f: os.NewFile(uintptr(fd), "timerfd"), fd: fd}, nil
}

// sleep waits for d, which is above 0, or until cancel.
func (a *alarm) sleep(d time.Duration) error {
	err := unix.TimerfdSettime(a.fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}, nil)
	if err != nil {
		return os.NewSyscallError("timerfd_settime", err)
	}
	var expirations [8]byte
	_, err = a.f.Read(expirations[:])
	return err
}

// cancel makes this and every later sleep end at once. Safe from any goroutine.
func (a *alarm) cancel() { a.f.SetReadDeadline(time.Unix(1, 0)) }

func (a *alarm) close() { a.f.Close() }
