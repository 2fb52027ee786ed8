//go:build !linux

package load

import (
	"os"
	"sync"
	"time"
)

// alarm wakes the pacer with the runtime's timers.
type alarm struct {
	once      sync.Once
	cancelled chan struct{}
}

func newAlarm() (*alarm, error) { return &alarm{cancelled: make(chan struct{})}, nil }

// sleep waits for d, which is above 0, or until cancel.
func (a *alarm) sleep(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-a.cancelled:
		return os.ErrDeadlineExceeded
	}
}

// cancel makes this and every later sleep end at once. Safe from any goroutine.
func (a *alarm) cancel() { a.once.Do(func() { close(a.cancelled) }) }

func (a *alarm) close() {}
