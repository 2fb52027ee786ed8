package ipc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"commerce.example/coordinator/ipc/board"
	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/ipc/wire"
)

// idleConnAge is how long a connection is kept for the next burst.
const idleConnAge = 30 * time.Second

// client is the supervisor's end of one worker's data plane: it dials, keeps
// idle connections and hands out cells of the stage board.
type client struct {
	addr  *net.UnixAddr
	board *board.Board

	mu     sync.Mutex
	idle   []*conn // the last used is the first taken
	seqs   []uint32
	free   []uint32 // cells
	open   map[*conn]struct{}
	closed error
}

// newClient owns so many cells of b, from first on.
func newClient(path string, b *board.Board, first, cells uint32) *client {
	c := &client{
		addr: &net.UnixAddr{Name: path, Net: "unix"}, board: b,
		seqs: make([]uint32, b.Cells()), open: make(map[*conn]struct{}),
	}
	for i := first + cells; i > first; i-- {
		c.free = append(c.free, i-1)
	}
	return c
}

// ErrNoConnection is wrapped when a worker has as many connections as it may.
var ErrNoConnection = errors.New("no data connection left")

// take is an idle connection, or a new one.
func (cl *client) take(ctx context.Context) (*conn, error) {
	cl.mu.Lock()
	if cl.closed != nil {
		defer cl.mu.Unlock()
		return nil, cl.closed
	}
	if n := len(cl.idle); n > 0 {
		c := cl.idle[n-1]
		cl.idle[n-1] = nil
		cl.idle = cl.idle[:n-1]
		cl.mu.Unlock()
		return c, nil
	}
	if len(cl.free) == 0 {
		defer cl.mu.Unlock()
		return nil, fmt.Errorf("%w: all %d are in use", ErrNoConnection, len(cl.open))
	}
	cell := cl.free[len(cl.free)-1]
	cl.free = cl.free[:len(cl.free)-1]
	cl.mu.Unlock()

	c, err := cl.dial(ctx, cell)
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if err == nil && cl.closed != nil {
		c.nc.Close()
		err = cl.closed
	}
	if err != nil {
		cl.free = append(cl.free, cell)
		return nil, err
	}
	cl.open[c] = struct{}{}
	return c, nil
}

const (
	dialTimeout = time.Second // generous: accepting is all that a worker's accept loop does
	dialRetry   = 5 * time.Millisecond
)

// dial asks again while the worker's backlog is full: Linux says so at once
// (EAGAIN of connect(2)) and lets nobody wait.
func (cl *client) dial(ctx context.Context, cell uint32) (*conn, error) {
	d := net.Dialer{Deadline: time.Now().Add(dialTimeout)}
	nc, err := d.DialContext(ctx, "unix", cl.addr.Name)
	for errors.Is(err, syscall.EAGAIN) && time.Now().Before(d.Deadline) {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(dialRetry):
		}
		nc, err = d.DialContext(ctx, "unix", cl.addr.Name)
	}
	if err != nil {
		return nil, err
	}
	c := &conn{client: cl, nc: nc.(*net.UnixConn), cell: cell}
	if c.in, err = newStream(c.nc); err != nil {
		nc.Close()
		return nil, err
	}
	c.out = wire.AppendHello(nil, cell) // goes out with the first frame
	return c, nil
}

// put keeps a connection that stands at the next exchange. One with more to read
// does not: nobody asked for that, and it must not answer the next request.
func (cl *client) put(c *conn) {
	if !c.in.empty() {
		cl.drop(c)
		return
	}
	c.in.rest()
	if cap(c.out) > writeBuffer {
		c.out = nil
	}
	c.upload = nil
	c.idleSince = time.Now()
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.closed != nil {
		c.nc.Close()
		cl.forget(c)
		return
	}
	cl.idle = append(cl.idle, c)
}

// drop closes a connection that does not.
func (cl *client) drop(c *conn) {
	c.nc.Close()
	cl.mu.Lock()
	defer cl.mu.Unlock()
	cl.forget(c)
}

func (cl *client) forget(c *conn) {
	if _, ok := cl.open[c]; ok {
		delete(cl.open, c)
		cl.free = append(cl.free, c.cell)
	}
}

// trim closes connections that have been idle for long.
func (cl *client) trim(now time.Time) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	n := 0
	for n < len(cl.idle) && now.Sub(cl.idle[n].idleSince) > idleConnAge {
		cl.idle[n].nc.Close()
		cl.forget(cl.idle[n])
		n++
	}
	cl.idle = append(cl.idle[:0], cl.idle[n:]...)
}

// close fails all exchanges, present and future, with cause.
func (cl *client) close(cause error) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.closed != nil {
		return
	}
	cl.closed = cause
	for c := range cl.open {
		c.nc.Close()
	}
	for _, c := range cl.idle {
		cl.forget(c)
	}
	cl.idle = nil
}

func (cl *client) closedWith() error {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	return cl.closed
}

// next begins an exchange on c's cell.
func (cl *client) next(c *conn) {
	cl.mu.Lock()
	cl.seqs[c.cell]++
	c.seq = cl.seqs[c.cell]
	cl.mu.Unlock()
	cl.board.Begin(c.cell, c.seq)
}

// conn is one data connection. It carries one exchange at a time.
type conn struct {
	client    *client
	nc        *net.UnixConn
	in        *stream
	out       []byte // to be written: nothing, or a Hello at first, between exchanges
	cell, seq uint32
	upload    *upload
	idleSince time.Time
}

// cut makes every read and write on the connection fail. Closing it is how the
// worker learns of it.
func (c *conn) cut() { c.nc.Close() }

// release ends c's part in an exchange: the connection goes back when it stands
// at the next one and nobody cut it, and is closed otherwise. It returns when
// nothing of the exchange runs any more.
func (c *conn) release(call *Call, clean bool) {
	if u := c.upload; u != nil && u.started {
		clean = u.settle() && clean
	}
	if call.detach() && clean {
		c.client.put(c)
	} else {
		c.client.drop(c)
	}
}

// failure explains an exchange that ended without an answer, or in the middle
// of one. From here on the worker can no longer send it.
func (c *conn) failure(call *Call, err error) *exchange.Error {
	stage := c.client.board.Fence(c.cell, c.seq)
	if cause := call.cancelled(); cause != nil {
		return &exchange.Error{Fault: faultOfCause(cause), Stage: stage, Err: cause}
	}
	if err == errHeadTooLarge {
		return &exchange.Error{Fault: exchange.BadRequest, Stage: stage, Err: err}
	}
	if told, ok := err.(*reported); ok {
		return &exchange.Error{Fault: told.fault, Stage: stage, Err: told}
	}
	if e, ok := errors.AsType[*exchange.Error](c.client.closedWith()); ok {
		return &exchange.Error{Fault: e.Fault, Stage: stage, Err: e}
	}
	if errors.Is(err, wire.ErrProtocol) {
		return &exchange.Error{Fault: exchange.WorkerProtocol, Stage: stage, Err: err}
	}
	return &exchange.Error{Fault: exchange.WorkerDied, Stage: stage, Err: err}
}

// faultOfCause names a cancellation. One in words of its own comes from a
// context: it is the caller's.
func faultOfCause(cause error) exchange.Fault {
	switch f := exchange.FaultOf(cause); {
	case f != "":
		return f
	case errors.Is(cause, context.DeadlineExceeded):
		return exchange.Deadline
	}
	return exchange.ClientGone
}
