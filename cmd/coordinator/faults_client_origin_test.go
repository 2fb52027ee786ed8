//go:build linux

package main_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// A clientOrigin is a backend that does what the last segment of the path says,
// and does it well: the faults are the clients'.
type clientOrigin struct {
	url  string
	hung chan struct{}  // a request of "hang" has come
	left chan time.Time // and it was cancelled
	now  atomic.Int64   // requests of "alone"
	most atomic.Int64   // at a time
}

func newClientOrigin(t *testing.T) *clientOrigin {
	t.Helper()
	o := &clientOrigin{hung: make(chan struct{}, 16), left: make(chan time.Time, 16)}
	srv := httptest.NewServer(o)
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	o.url = srv.URL
	return o
}

func (o *clientOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	number := func(name string) int { n, _ := strconv.Atoi(r.FormValue(name)); return n }
	flush := http.NewResponseController(w).Flush
	switch path.Base(r.URL.Path) {
	case "slow":
		select {
		case <-time.After(time.Duration(number("ms")) * time.Millisecond):
		case <-r.Context().Done():
		}
	case "sink":
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
		return
	case "big":
		n := int64(number("n"))
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		_, _ = io.Copy(w, &pattern{n})
		return
	case "hang":
		notice(o.hung, struct{}{})
		if _, err := io.Copy(io.Discard, r.Body); err == nil { // net/http looks for a client's leaving behind the body
			<-r.Context().Done()
		}
		notice(o.left, time.Now())
		return
	case "alone":
		if n := o.now.Add(1); n > o.most.Load() {
			o.most.Store(n)
		}
		fmt.Fprint(w, r.FormValue("n"))
		o.now.Add(-1)
		return
	case "events":
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: first\n\n")
		_ = flush()
		<-r.Context().Done()
		return
	case "websocket":
		echoSocket(w)
		return
	}
	fmt.Fprintln(w, "ok")
}

// notice tells those that listen, if any do: most requests nobody asks after.
func notice[T any](ch chan T, v T) {
	select {
	case ch <- v:
	default:
	}
}

// echoSocket switches the protocol and sends back what comes.
func echoSocket(w http.ResponseWriter) {
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Time{})
	_, _ = io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	_, _ = io.Copy(nc, rw)
}

// deaf is a backend that reads the head of a request and nothing of its body.
func (o *clientOrigin) deaf(t *testing.T) (origin string) {
	t.Helper()
	over := make(chan struct{})
	origin = rawBackend(t, func(nc net.Conn, br *bufio.Reader) {
		_ = nc.(*net.TCPConn).SetReadBuffer(4 << 10)
		if _, err := http.ReadRequest(br); err == nil {
			<-over
		}
	})
	t.Cleanup(func() { close(over) })
	return origin
}
