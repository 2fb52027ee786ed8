package supervisor

import (
	"errors"
	"math"
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
	// clientFiles is how many more have to be free before clients are accepted
	// again: with none the front would be short again at once.
	clientFiles = 16
	// acceptPause is how often a front without descriptors looks for some.
	acceptPause = 50 * time.Millisecond
	// shortageLogged is the least time between two log lines of shortages: a
	// client that waits for each free descriptor would cause many a second.
	shortageLogged = 10 * time.Second
)

// spare holds descriptors while there is no shortage, and lets them go when the
// front finds none for a client. The front accepts again once it holds them
// again, so what they are kept for has them as long as the shortage lasts.
type spare struct {
	short func() // called at the beginning of a shortage

	mu   sync.Mutex
	held []*os.File
}

// take reports whether the descriptors are held. It counts those in use before
// it takes any: to try would be to take them, for a moment, from a worker that
// starts.
func (s *spare) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.held) == spareFiles {
		return true
	}
	if free, err := freeFiles(); err == nil && free < spareFiles+clientFiles || outOfFiles(err) {
		return false
	}
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

// freeFiles is how many descriptors this process may still open.
func freeFiles() (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	dir, err := os.Open("/dev/fd")
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	open, err := dir.Readdirnames(-1)
	if err != nil {
		return 0, err
	}
	return int(min(limit.Cur, math.MaxInt32)) - len(open) + 1, nil // dir is among them
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

// sayShort counts a shortage, and logs it unless one was logged a moment ago.
func (s *Supervisor) sayShort() {
	s.metrics.acceptPauses.Inc()
	now := int64(time.Since(s.since)) + 1
	if last := s.saidShort.Load(); last != 0 && now-last < int64(shortageLogged) || !s.saidShort.CompareAndSwap(last, now) {
		return
	}
	s.log.Warn("out of descriptors: the front accepts no connection until some are free", "connections", s.limits.open.Load())
}
