package supervisor

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"commerce.example/coordinator/supervisor/breaker"
)

// upgrade joins the client's connection and the worker's, byte for byte, until
// both directions have ended, that of the backend a moment ago, or either breaks.
func (c *call) upgrade(resp *http.Response) {
	backend := resp.Body.(io.ReadWriteCloser)
	client, ahead, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
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

	var up sync.WaitGroup
	up.Go(func() {
		c.splice(backend, ahead.Reader, &c.unheard)
		closeWrite(backend)
	})
	c.splice(client, backend, &c.moved)
	closeWrite(client)
	// The backend, or the worker before it, has gone: a client that stays would
	// keep its place for nothing.
	_ = client.SetReadDeadline(time.Now().Add(lingerFor))
	up.Wait()
	c.progress.Complete, c.progress.Delivered = true, true
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
// goes to the client alone is of the answer.
func (c *call) splice(dst io.Writer, src io.Reader, count *atomic.Int64) {
	buf := relayBuffers.Get().(*[relayBuffer]byte)
	defer relayBuffers.Put(buf)
	for {
		n, err := src.Read(buf[:])
		if n > 0 {
			if _, werr := dst.Write(buf[:n]); werr != nil {
				return
			}
			count.Add(int64(n))
		}
		if err != nil {
			return
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
