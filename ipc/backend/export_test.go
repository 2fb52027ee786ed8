package backend

import "time"

// ForgetNames makes the next dial ask the resolver again.
func ForgetNames(t *Transport) {
	t.names.mu.Lock()
	defer t.names.mu.Unlock()
	for host, k := range t.names.known {
		k.until = time.Time{}
		t.names.known[host] = k
	}
}

// Turn is the lock of who writes.
type Turn struct{ t turn }

func NewTurn() *Turn { return &Turn{newTurn()} }

func (t *Turn) LockUnless(wake <-chan struct{}, over func() bool) bool {
	return t.t.lockUnless(wake, over)
}

func (t *Turn) Unlock() { t.t.unlock() }

// Draining tells whether an HTTP/2 connection takes no more streams.
func Draining(t *Transport) bool {
	t.muxes.mu.Lock()
	defer t.muxes.mu.Unlock()
	for _, h := range t.muxes.homes {
		for _, m := range h.live {
			if !m.alive() {
				return true
			}
		}
	}
	return false
}

// AskAgain makes the next request ask whether its backend speaks HTTP/2.
func AskAgain(t *Transport) {
	t.muxes.mu.Lock()
	defer t.muxes.mu.Unlock()
	for _, h := range t.muxes.homes {
		if !h.plainUntil.IsZero() {
			h.plainUntil = time.Unix(1, 0)
		}
	}
}

// Waiting is how many exchanges wait for a connection.
func Waiting(t *Transport) (n int) {
	t.muxes.mu.Lock()
	defer t.muxes.mu.Unlock()
	for _, h := range t.muxes.homes {
		n += int(h.queue.length.Load())
	}
	return n
}
