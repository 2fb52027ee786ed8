package backend

import "sync/atomic"

// turn is a lock whose wait can be given up. As with a [sync.Mutex], who comes at
// the right moment goes ahead of those who wait; what is done under it is short.
type turn struct {
	taken   atomic.Bool
	waiting atomic.Int32
	freed   chan struct{} // made with room for one
}

func newTurn() turn { return turn{freed: make(chan struct{}, 1)} }

func (t *turn) tryLock() bool { return t.taken.CompareAndSwap(false, true) }

// lock waits for as long as it takes.
func (t *turn) lock() { t.lockUnless(nil, nil) }

// lockUnless reports whether it has the turn. It gives up when over holds, which it
// looks at whenever something comes on wake.
func (t *turn) lockUnless(wake <-chan struct{}, over func() bool) bool {
	if t.tryLock() {
		return true
	}
	t.waiting.Add(1) // before the next try: an unlock behind that one sees it
	defer t.waiting.Add(-1)
	for !t.tryLock() {
		select {
		case <-t.freed:
		case <-wake:
			if over() {
				return false
			}
		}
	}
	return true
}

func (t *turn) unlock() {
	t.taken.Store(false)
	if t.waiting.Load() > 0 {
		signal(t.freed)
	}
}
