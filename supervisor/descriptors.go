package supervisor

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	// spareFiles is how many descriptors are kept from clients: calls to workers,
	// new workers (a dozen each) and the admin API need them when all others are
	// in use. A client is two: its connection and that to a worker.
	spareFiles = 64
	// acceptPause is how often a front without descriptors looks for some.
	acceptPause = 50 * time.Millisecond
)

// spare holds descriptors while there is no shortage, and lets them go when the
// front finds none for a client. The front accepts again once it holds them
// again, so what they are kept for has them as long as the shortage lasts.
type spare struct {
	short func() // called at the beginning of a shortage

	mu   sync.Mutex
	held []*os.File
}

// take reports whether the descriptors are held.
func (s *spare) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.held) < spareFiles {
		f, err := os.Open(os.DevNull)
		if err != nil {
			s.drop()
			return !outOfFiles(err) // without /dev/null there is nothing to hold
		}
		s.held = append(s.held, f)
	}
	return true
}

// give lets them go, for there is a shortage.
func (s *spare) give() {
	if s.release() {
		s.short()
	}
}

// release reports whether there were any to let go.
func (s *spare) release() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.drop()
	return len(s.held) > 0
}

func (s *spare) drop() {
	for _, f := range s.held {
		f.Close()
	}
	s.held = nil
}

// outOfFiles is a shortage in this process or in the whole system.
func outOfFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// sayShort logs and counts a shortage.
func (s *Supervisor) sayShort() {
	s.metrics.acceptPauses.Inc()
	s.log.Warn("out of descriptors: the front accepts no connection until some are free", "connections", s.limits.open.Load())
}
