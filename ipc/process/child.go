package process

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// Lifeline is for the child: it watches descriptor fd, which Spec.Lifeline
// named, and closes the channel when the parent is gone. Call it once; the
// descriptor belongs to it and is not inherited further. A descriptor that
// cannot be read counts as a parent that is gone.
func Lifeline(fd int) <-chan struct{} {
	gone := make(chan struct{})
	unix.CloseOnExec(fd)
	_ = unix.SetNonblock(fd, true) // for the poller; on failure the read fails too
	f := os.NewFile(uintptr(fd), "lifeline")
	if f == nil {
		close(gone)
		return gone
	}
	WatchLifeline(f, func() { close(gone) })
	return gone
}

// WatchLifeline calls exit, in a goroutine of its own, when f can no longer be
// read: at the end of the parent. It returns at once and owns f from then on.
// The goroutine lives as long as the parent does.
func WatchLifeline(f *os.File, exit func()) {
	go func() {
		defer exit()
		defer f.Close()
		var b [1]byte
		for {
			if _, err := f.Read(b[:]); err != nil {
				return
			}
		}
	}()
}

// IgnoreSignals has the calling worker ignore SIGTERM, SIGINT and SIGHUP, which
// a service manager or a terminal sends to the whole service: only its supervisor
// stops a worker. What the worker executes inherits that.
func IgnoreSignals() {
	signal.Ignore(unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
}
