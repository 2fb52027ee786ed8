package ipc_test

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/ipc/backend"
)

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n"

// raw is a client's end of an upgrade.
type raw interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// switched does an upgrade, whose deadline for the head is over when it returns.
func switched(t *testing.T, w *ipc.Worker, host string) raw {
	t.Helper()
	r := request(t, "GET", "/", nil)
	r.Host = host
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "raw")
	resp, err := w.Do(&ipc.Call{Request: r, Deadline: time.Now().Add(time.Millisecond)})
	if err != nil {
		t.Fatal(err)
	}
	return resp.Body.(raw)
}

func hijack(t *testing.T, w http.ResponseWriter) net.Conn {
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Error(err)
		panic(http.ErrAbortHandler)
	}
	io.WriteString(c, switching)
	return c
}

// A backend that has nothing to say takes the end of a client for one of a half,
// and says nothing. Its connection ends with the client all the same.
func TestUpgradeEndsWithItsClient(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	gone := make(chan struct{})
	go func() {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		io.WriteString(nc, switching)
		<-gone
	}()
	ended := make(chan error, 1)
	transport := &backend.Transport{}
	defer transport.Close()
	w, _ := plane(t, 1, func(w http.ResponseWriter, r *http.Request) {
		out, _ := http.NewRequestWithContext(r.Context(), "GET", "http://"+r.Host, nil)
		out.Header.Set("Upgrade", "raw")
		resp, err := transport.RoundTrip(out)
		if err != nil {
			ipc.Fail(w, err)
			ended <- err
			return
		}
		defer resp.Body.Close()
		c := hijack(t, w)
		defer c.Close()
		io.Copy(resp.Body.(io.Writer), c)
		io.WriteString(c, "half")
		_, err = io.Copy(c, resp.Body)
		ended <- err
	})
	client := switched(t, w, l.Addr().String())
	client.CloseWrite()
	if _, err := io.ReadFull(client, make([]byte, 4)); err != nil {
		t.Errorf("after a half-close: %v", err)
	}
	select {
	case err := <-ended:
		t.Errorf("it ends with one half: %v", err)
	case <-time.After(200 * time.Millisecond): // ten sweeps
	}
	client.Close()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("it ended well")
		}
	case <-time.After(2 * time.Second):
		t.Error("the handler still waits for its backend")
	}
	close(gone)
}

// When both sides have ended their half, what is under way may arrive: that the
// client left for good cannot be told from that.
func TestUpgradeOfTwoHalvesLingers(t *testing.T) {
	ended := make(chan time.Time, 1)
	var rest []byte
	w, _ := plane(t, 1, func(w http.ResponseWriter, r *http.Request) {
		c := hijack(t, w)
		defer c.Close()
		c.(interface{ CloseWrite() error }).CloseWrite()
		<-r.Context().Done()
		rest, _ = io.ReadAll(c)
		ended <- time.Now()
	})
	client := switched(t, w, "x")
	if _, err := io.ReadAll(client); err != nil {
		t.Error(err)
	}
	io.WriteString(client, "under way")
	begun := time.Now()
	client.CloseWrite()
	defer client.Close()
	select {
	case end := <-ended:
		if d := end.Sub(begun); d < ipc.Linger || string(rest) != "under way" {
			t.Errorf("cancelled after %v, with %q", d, rest)
		}
	case <-time.After(5 * time.Second):
		t.Error("it lingers for ever")
	}
}

// Whatever a handler hijacked and closed, another connection may have its
// descriptor: nobody looks at it any more.
func TestClosedUpgradeIsForgotten(t *testing.T) {
	left := make(chan error, 1)
	w, _ := plane(t, 1, func(w http.ResponseWriter, r *http.Request) {
		hijack(t, w).Close()
		select {
		case <-r.Context().Done():
			left <- r.Context().Err()
		case <-time.After(100 * time.Millisecond):
			left <- nil
		}
	})
	client := switched(t, w, "x")
	defer client.Close()
	if err := <-left; err != nil {
		t.Errorf("the handler is cancelled: %v", err)
	}
}
