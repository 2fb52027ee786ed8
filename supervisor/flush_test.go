package supervisor_test

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
)

// A client that asks and asks and reads nothing keeps neither its connection nor a
// drain: each answer is small enough for net/http to hold it back until its handler
// is done.
func TestUnreadAnswerEndsTheConnection(t *testing.T) {
	r := start(t, one("a"), func(o *supervisor.Options) { o.Config.DrainTimeout = 25 * time.Second })
	supervisor.FlushWithin(r.Supervisor, 200*time.Millisecond)
	nc, _ := r.raw("")
	if err := nc.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	requests := strings.Repeat("GET /a/bytes?n=3500 HTTP/1.1\r\nHost: x\r\n\r\n", 50)
	var err error
	for err == nil {
		_, err = io.WriteString(nc, requests)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the connection goes on")
	}
	begun := time.Now()
	if err := r.stop(); err != nil || time.Since(begun) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(begun))
	}
}

// The next request on a connection has its own time: the bound on the answer before
// is lifted.
func TestBoundOfTheFlushIsLifted(t *testing.T) {
	r := start(t, one("a"))
	supervisor.FlushWithin(r.Supervisor, 50*time.Millisecond)
	nc, br := r.raw("")
	for range 2 {
		if _, err := io.WriteString(nc, "GET /a/drip?n=3 HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if resp, body := answer(t, br, "GET"); resp.StatusCode != 200 || body != "..." {
			t.Errorf("%s %q", resp.Status, body)
		}
	}
}
