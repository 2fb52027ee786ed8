package supervisor

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/supervisor/breaker"
)

// upgrade joins the client's connection and the worker's, byte for byte, until
// both directions have ended, that of the backend a moment ago, or either breaks.
func (c *call) upgrade(resp *http.Response) {
	backend := resp.Body.(io.ReadWriteCloser)
	c.bulkhead.hijacked.Add(1) // before the server forgets it
	client, ahead, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		c.bulkhead.hijacked.Add(-1)
		c.problem(ReasonBadRequest, c.progress.Outcome()) // HTTP/2 cannot be upgraded
		return
	}
	defer client.Close()
	c.ticket.Done(time.Now(), breaker.Success)
	c.written, c.status, c.told = true, resp.StatusCode, resp.StatusCode
	_ = client.SetDeadline(time.Time{})
	c.watchUpgrade(client)
	if err := writeSwitch(client, resp, c.r.Header["X-Request-Id"]); err != nil {
		c.reason = ReasonClientGone
		return
	}

	var (
		up   sync.WaitGroup
		left atomic.Bool // the client has ended its direction
	)
	up.Go(func() {
		left.Store(c.splice(backend, ahead.Reader, &c.unheard))
		closeWrite(backend)
	})
	c.splice(client, backend, &c.moved)
	leftFirst := left.Load()
	closeWrite(client)
	// The backend, or the worker before it, has gone: a client that stays would
	// keep its place for nothing.
	_ = client.SetReadDeadline(time.Now().Add(lingerFor))
	up.Wait()
	if err := c.cutShort(leftFirst); err != nil {
		c.reason = c.reasonOf(err)
		return
	}
	c.progress.Complete, c.progress.Delivered = true, true
}

// exitSeen is how long after its connections the end of a worker is seen at most.
const exitSeen = 100 * time.Millisecond

// cutShort is why an upgraded connection ended that neither side has ended; nil: one
// of them has, and leftFirst says that it was the client.
func (c *call) cutShort(leftFirst bool) error {
	if cause := c.whyOver(); cause != nil {
		return &exchange.Error{Fault: exchange.FaultOf(cause), Stage: exchange.Answered}
	}
	if leftFirst {
		return nil
	}
	patience := time.NewTimer(exitSeen)
	defer patience.Stop()
	select {
	case <-c.lease.Worker().Exited():
		return &exchange.Error{Fault: exchange.WorkerDied, Stage: exchange.Answered}
	case <-patience.C:
		return nil
	}
}

func writeSwitch(client net.Conn, resp *http.Response, id []string) error {
	bw := bufio.NewWriter(client)
	bw.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	h := resp.Header.Clone()
	StripHopByHop(h)
	h["Connection"] = []string{"Upgrade"}
	h["Upgrade"] = resp.Header["Upgrade"]
	if id != nil {
		h["X-Request-Id"] = id
	}
	h.Write(bw)
	bw.WriteString("\r\n")
	return bw.Flush()
}

// splice copies one direction and counts it: both keep the idle limit away, and what
// goes to the client alone is of the answer. It reports whether it came to the end of
// src.
func (c *call) splice(dst io.Writer, src io.Reader, count *atomic.Int64) (ended bool) {
	buf := relayBuffers.Get().(*[relayBuffer]byte)
	defer relayBuffers.Put(buf)
	for {
		n, err := src.Read(buf[:])
		if n > 0 {
			if _, werr := dst.Write(buf[:n]); werr != nil {
				return false
			}
			count.Add(int64(n))
		}
		if err != nil {
			return true
		}
	}
}

func closeWrite(rw any) {
	switch half := rw.(type) {
	case interface{ CloseWrite() error }:
		_ = half.CloseWrite()
	case io.Closer:
		_ = half.Close()
	}
}

// watchUpgrade has the watch close both sides.
func (c *call) watchUpgrade(client net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.upgraded = client
	if c.cause != nil {
		bare(client).Close()
	}
}
