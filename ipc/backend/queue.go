package backend

import (
	"slices"
	"sync"
	"sync/atomic"
)

// queue is the exchanges that wait for a connection to one origin, in the order in
// which they came. They wait for a dial; a place that gets free meanwhile is as
// good. The first is woken for it, with the first of those who need less room, whom
// it may suit where it does not suit him; and whoever leaves wakes the next. Its lock
// is taken under that of a mux.
type queue struct {
	length atomic.Int32 // of line: nearly always 0
	mu     sync.Mutex
	line   []*stream
}

// join adds s, if it is not there.
func (q *queue) join(s *stream) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !slices.Contains(q.line, s) {
		q.line = append(q.line, s)
		q.length.Store(int32(len(q.line)))
	}
}

func (q *queue) leave(s *stream) {
	q.mu.Lock()
	q.line = slices.DeleteFunc(q.line, func(other *stream) bool { return other == s })
	q.length.Store(int32(len(q.line)))
	q.mu.Unlock()
	q.wakeFirst()
}

// wakeFirst tells of a place: the first, and down to one who needs no room at all
// whoever needs less than all before him.
func (q *queue) wakeFirst() {
	if q.length.Load() == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	least := int64(bodyRoom + 1)
	for _, s := range q.line {
		if room := s.ask.room(); room < least {
			least = room
			signal(s.wake)
		}
		if least == 0 {
			return
		}
	}
}

// wakeAll tells of room, which those at the front may have no use for.
func (q *queue) wakeAll() {
	if q.length.Load() == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range q.line {
		signal(s.wake)
	}
}
