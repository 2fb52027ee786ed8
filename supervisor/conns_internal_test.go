package supervisor

import (
	"errors"
	"net"
	"runtime"
	"sync/atomic"
	"syscall"
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

// shortOnce finds no descriptor for its first connection.
type shortOnce struct {
	net.Listener
	called bool
}

func (l *shortOnce) Accept() (net.Conn, error) {
	if !l.called {
		l.called = true
		return nil, syscall.EMFILE
	}
	nc, _ := net.Pipe()
	return nc, nil
}

// A limit that leaves no room for what is kept from clients stops no front for
// good: it waits for clients to leave, and not when there are none.
func TestShortageWithoutClients(t *testing.T) {
	free, err := freeFiles()
	if err != nil {
		t.Skip(err)
	}
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	few := was
	few.Cur -= uint64(free - spareFiles)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was)
	limits := &connLimits{trusted: new(atomic.Pointer[TrustedProxies]), refused: func() {}}
	l := &limitedListener{frontListener: frontListener{Listener: new(shortOnce)}, limits: limits}
	defer time.AfterFunc(5*time.Second, func() { l.closing.Store(true) }).Stop()
	if nc, err := l.Accept(); err != nil || l.closing.Load() {
		t.Errorf("it waited for ever (%v, %v)", nc, err)
	}
}
