package ipc

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"commerce.example/coordinator/ipc/exchange"
)

// Call is one exchange as the supervisor sees it. It is single-use and must not
// be copied.
type Call struct {
	// Request is handed to the worker as it is, hop-by-hop fields included:
	// the caller has removed what must not travel. Its RequestURI, when set, is
	// sent byte for byte. Its context is not watched: see Cancel.
	Request *http.Request

	// Deadline is told to the worker; keeping it is the caller's part. Zero: none.
	Deadline time.Time

	// Inform is called for each informational answer, on Do's goroutine.
	Inform func(status int, header http.Header)

	// StopBody makes a Read of Request.Body that is under way return, and does
	// not block. Do and Close call it when the exchange is over before the body
	// is, and wait for that Read. Needed with a body that can block.
	StopBody func()

	sent atomic.Int64 // bytes of the body handed to the worker
	busy atomic.Bool  // the upload waits for the client
	read atomic.Bool  // the body has been touched: the request cannot go to another worker

	mu    sync.Mutex
	conn  *conn
	cause error
	over  func() // called once the exchange is out of Cancel's reach; may be nil
}

// Cancel ends the exchange: whatever waits for it fails with cause, soon. Safe
// from any goroutine, never blocks, and later calls do nothing.
func (c *Call) Cancel(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return
	}
	c.cause = cause
	if c.conn != nil {
		c.conn.cut()
	}
}

// Uploaded is the number of body bytes that went to the worker so far.
func (c *Call) Uploaded() int64 { return c.sent.Load() }

// Stage is how far the worker is with the exchange, as the board says now. It is
// Waiting before the exchange has a connection, and again once it is over.
func (c *Call) Stage() exchange.Stage {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return exchange.Waiting
	}
	return c.conn.client.board.Stage(c.conn.cell, c.conn.seq)
}

// AwaitsBody reports whether the exchange stands still because the client does
// not send its body.
func (c *Call) AwaitsBody() bool { return c.busy.Load() }

// BodyRead reports whether any of the request's body was taken.
func (c *Call) BodyRead() bool { return c.read.Load() }

// attach makes conn the one that Cancel cuts. It reports why not when Cancel
// came first.
func (c *Call) attach(conn *conn) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil {
		c.conn = conn
	}
	return c.cause
}

// detach reports whether the connection is untouched by Cancel, and from then
// on out of its reach.
func (c *Call) detach() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = nil
	if c.over != nil {
		c.over()
	}
	return c.cause == nil
}

func (c *Call) cancelled() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}
