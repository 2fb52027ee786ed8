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
