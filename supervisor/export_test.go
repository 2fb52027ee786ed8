package supervisor

import "time"

// FlushWithin sets how long the last bytes of an answer may take. It is for before
// the first request.
func FlushWithin(s *Supervisor, d time.Duration) { s.front.flushWithin = d }

// Waiting is how many calls share the reload that has not begun yet.
func Waiting(s *Supervisor) int {
	s.reloads.mu.Lock()
	defer s.reloads.mu.Unlock()
	if s.reloads.next == nil {
		return 0
	}
	return s.reloads.next.waiting
}

// Removed is how many bulkheads are watched that a reload removed.
func Removed(s *Supervisor) int { return len(s.removed.all()) }

// Reloading reports whether a reload or an upgrade runs.
func Reloading(s *Supervisor) bool {
	if s.operate.TryLock() {
		s.operate.Unlock()
		return false
	}
	return true
}
