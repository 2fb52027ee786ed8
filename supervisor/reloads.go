package supervisor

import (
	"context"
	"sync"
)

// reloads has all who ask for a reload while one runs share the next one.
// However many ask, one runs and at most one waits, and everybody gets a
// configuration that was read after he asked. The zero value is ready.
type reloads struct {
	mu   sync.Mutex
	next *sharedReload // may still be joined; nil: none
}

// sharedReload is a reload and those who wait for it: it is given up when
// nobody does any more.
type sharedReload struct {
	ctx    context.Context
	giveUp context.CancelCauseFunc
	done   chan struct{} // closed when report is written
	report Report

	waiting int // guarded by reloads.mu
}

// join returns the reload that a request is part of; who is first has to run it.
// life bounds it.
func (r *reloads) join(life context.Context) (x *sharedReload, first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil || r.next.ctx.Err() != nil {
		first = true
		r.next = &sharedReload{done: make(chan struct{})}
		r.next.ctx, r.next.giveUp = context.WithCancelCause(life)
	}
	r.next.waiting++
	return r.next, first
}

// begin ends the joining: x is about to read the configuration. It returns how
// many have asked for it.
func (r *reloads) begin(x *sharedReload) (asked int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == x {
		r.next = nil
	}
	return x.waiting
}

func (r *reloads) leave(x *sharedReload, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if x.waiting--; x.waiting == 0 {
		x.giveUp(why)
	}
}
