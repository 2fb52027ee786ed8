package console

import (
	"context"
	"net/http"
	"time"
)

// Access is what a listener is told about changes over the way that it came.
type Access string

// The ways in which changes can be made.
const (
	AccessFree  Access = "free"  // whoever can connect may change everything
	AccessToken Access = "token" // who bears the token
	AccessNone  Access = "none"  // nobody: there is no token
)

// writePatience is for one write to a listener, which is a page that waits for it.
const writePatience = 10 * time.Second

// Handler streams the feed to who asks for it, as server-sent events, until the
// client leaves, the Feed ends, or the client does not keep up. Where there is no
// room, or no Feed any more, it answers 503.
func (f *Feed) Handler(access Access) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		if r.Method == http.MethodHead {
			h.Set("Content-Type", "text/event-stream")
			return
		}
		l := &listener{events: make(chan []byte, Backlog)}
		first, ok := f.enter(r.Context(), l)
		if !ok {
			h.Set("Retry-After", "5")
			http.Error(w, "There is no room for another listener.", http.StatusServiceUnavailable)
			return
		}
		defer f.exit(l)
		h.Set("Content-Type", "text/event-stream")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Accel-Buffering", "no") // what proxies of the nginx kind go by
		rc := http.NewResponseController(w)
		_ = rc.SetReadDeadline(time.Time{}) // it would look like a client that left
		hello := event("hello", quote(struct {
			Access Access `json:"access"`
		}{access}))
		for text := append(hello, first...); text != nil; text = f.next(r.Context(), l) {
			_ = rc.SetWriteDeadline(time.Now().Add(writePatience))
			if _, err := w.Write(text); err != nil || rc.Flush() != nil {
				return
			}
		}
	})
}

// enter makes l a listener and waits for its snapshot.
func (f *Feed) enter(ctx context.Context, l *listener) (snapshot []byte, ok bool) {
	select {
	case f.join <- l:
	case <-f.ended:
		return nil, false
	case <-ctx.Done():
		return nil, false
	}
	snapshot, ok = <-l.events // Run answers at once
	return snapshot, ok
}

// next is the next event; nil: there is none any more.
func (f *Feed) next(ctx context.Context, l *listener) []byte {
	select {
	case text := <-l.events:
		return text
	case <-ctx.Done():
		return nil
	}
}

func (f *Feed) exit(l *listener) {
	select {
	case f.leave <- l:
	case <-f.ended:
	}
}
