package ipc

import (
	"net"
	"time"

	"commerce.example/coordinator/ipc/board"
)

// Attach is a Worker without a process: what serves socket is its data plane. The
// last cell of b is for probes.
func Attach(socket string, b *board.Board) *Worker {
	n := b.Cells() - 1
	w := &Worker{
		client: newClient(socket, b, 0, n), prober: newClient(socket, b, n, 1),
		probing: make(chan *conn, 1),
	}
	w.probing <- nil
	return w
}

// Conns counts the data connections, those at rest and all, and the free cells.
func (w *Worker) Conns() (idle, open, free int) {
	w.client.mu.Lock()
	defer w.client.mu.Unlock()
	return len(w.client.idle), len(w.client.open), len(w.client.free)
}

// Linger is how long the halves of an upgrade linger on a plane of StartPlane.
const Linger = 300 * time.Millisecond

// StartPlane serves sv's data plane on ln, without a process of its own. stop
// waits for all of it.
func StartPlane(sv Server, ln *net.UnixListener, b *board.Board) (stop func()) {
	p := &plane{
		opts: sv, ln: ln, board: b, sweeper: newSweeper(),
		stop: make(chan struct{}), sessions: make(map[*session]struct{}),
	}
	p.sweeper.linger = Linger
	p.running.Go(func() { p.sweeper.run(p.stop) })
	p.running.Go(p.accept)
	return func() {
		p.close()
		p.running.Wait()
	}
}
