package supervisor

import (
	"errors"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// What the kernel has accepted before a listener closes is served, however late
// the machine is.
func TestListenerClosesEmpty(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("accepts what waits on Linux alone")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	limits := &connLimits{trusted: new(atomic.Pointer[TrustedProxies]), refused: func() {}}
	l := &limitedListener{frontListener: frontListener{Listener: ln}, limits: limits}
	defer l.Close()
	const waiting = 20
	for range waiting {
		nc, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
	}
	l.closing.Store(true)
	if err := ln.(*net.TCPListener).SetDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	for i := range waiting {
		nc, err := l.Accept()
		if err != nil {
			t.Fatalf("%d of %d: %v", i, waiting, err)
		}
		nc.Close()
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if _, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		t.Error("it still listens")
	}
}
