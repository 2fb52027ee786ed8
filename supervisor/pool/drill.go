package pool

import (
	"context"
	"syscall"
	"time"

	"commerce.example/coordinator/ipc"
)

// A drill breaks workers on purpose. How one is lost by it is seen and handled as
// any loss, but charged to nobody: neither to the restart budget of its slot nor,
// as Lease.Drilled tells, to the request that it held. One drill at a time is the
// caller's part.

// drill is what all workers of a pool are to play, those that come later too.
type drill struct {
	ipc.Drill
	until time.Time
}

// rest is what is left of it for a worker that begins now.
func (d *drill) rest() (ipc.Drill, bool) {
	left := d.Drill
	left.For = time.Until(d.until)
	return left, left.For > 0
}

// armWithin bounds how long one worker may take to begin or end what it plays.
const armWithin = time.Second

// Kill sends SIGKILL to every worker in service, and returns to how many.
func (p *Pool) Kill() (n int) {
	for _, m := range p.drilled() {
		p.mu.Lock()
		m.killed = true
		p.mu.Unlock()
		if m.worker.Signal(syscall.SIGKILL) == nil {
			n++
		}
	}
	return n
}

// Freeze stops one worker in service (SIGSTOP), the one with the most requests.
// thaw lets it go on (SIGCONT), if it still is there; ok is false when no worker
// is. The caller must thaw what it froze.
func (p *Pool) Freeze() (pid int, thaw func(), ok bool) {
	p.mu.Lock()
	var m *member
	for _, other := range p.serving {
		if m == nil || other.leases > m.leases {
			m = other
		}
	}
	if m != nil {
		m.drilled = true
	}
	p.mu.Unlock()
	if m == nil || m.worker.Signal(syscall.SIGSTOP) != nil {
		return 0, nil, false
	}
	return m.worker.Pid(), func() { _ = m.worker.Signal(syscall.SIGCONT) }, true
}

// Play has every worker play d: those in service when it returns, the others
// before they come into service. The error is that of the first worker that
// cannot; then none of them does.
func (p *Pool) Play(ctx context.Context, d ipc.Drill) error {
	p.drill.Store(&drill{d, time.Now().Add(d.For)})
	err := p.Replay(ctx)
	if err != nil {
		p.EndDrill()
	}
	return err
}

// Replay has the workers in service play on what Play began, also one that came
// into service while Play looked at the others.
func (p *Pool) Replay(ctx context.Context) error {
	d := p.drill.Load()
	if d == nil {
		return nil
	}
	for _, m := range p.drilled() {
		left, on := d.rest()
		if !on || !m.enlist(d) {
			continue
		}
		if err := play(ctx, m.worker, left); err != nil && !hasExited(m.worker) {
			return err
		}
	}
	return nil
}

// EndDrill ends what Play began, and that workers in service are drilled.
// Workers that cannot be told end it by themselves.
func (p *Pool) EndDrill() {
	played := p.drill.Swap(nil) != nil
	p.mu.Lock()
	members := append([]*member(nil), p.serving...)
	for _, m := range members {
		m.drilled, m.plays = m.killed, nil // the end of a killed one may not be seen yet
	}
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 2*armWithin)
	defer cancel()
	for _, m := range members {
		if played {
			_ = play(ctx, m.worker, ipc.Drill{})
		}
	}
}

// Dying reports whether a worker that Kill has killed still counts as in service.
func (p *Pool) Dying() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.serving {
		if m.killed {
			return true
		}
	}
	return false
}

// enlist has a new worker play what the others do, before it has its first
// request. One that cannot serves all the same.
func (p *Pool) enlist(ctx context.Context, w *ipc.Worker) {
	if d := p.drill.Load(); d != nil {
		if left, on := d.rest(); on {
			_ = play(ctx, w, left)
		}
	}
}

func play(ctx context.Context, w *ipc.Worker, d ipc.Drill) error {
	ctx, cancel := context.WithTimeout(ctx, armWithin)
	defer cancel()
	return w.Drill(ctx, d)
}

// drilled marks the workers in service.
func (p *Pool) drilled() []*member {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.serving {
		m.drilled = true
	}
	return append([]*member(nil), p.serving...)
}

// enlist reports whether m does not play d yet.
func (m *member) enlist(d *drill) bool {
	p := m.slot.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	was := m.plays
	m.plays = d
	return was != d
}

func (m *member) isDrilled() bool {
	p := m.slot.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	return m.drilled
}

// Drilled reports whether a drill does something to the worker: its end says
// nothing about the request.
func (l Lease) Drilled() bool { return l.member.isDrilled() }

func hasExited(w *ipc.Worker) bool {
	select {
	case <-w.Exited():
		return true
	default:
		return false
	}
}
