package ipc_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/ipc/board"
	"commerce.example/coordinator/ipc/exchange"
)

// A worker that has not come to its listener for a moment is not dead: Linux
// refuses a connection at once when the backlog is full, and does not wait.
func TestFullBacklogIsWaitedFor(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "listener")
	defer file.Close()
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: socket}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	ln, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	b, f, err := board.Create(2)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	for {
		c, err := net.Dial("unix", socket)
		if errors.Is(err, syscall.EAGAIN) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	w := ipc.Attach(socket, b)
	defer w.Fail(exchange.WorkerDied)
	answered := make(chan error, 1)
	go func() { answered <- readAll(w.RoundTrip(request(t, "GET", "/", nil))) }()
	select {
	case err := <-answered:
		answered <- err // refused at once
	case <-time.After(50 * time.Millisecond):
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for p := (peer{c.(*net.UnixConn)}); p.request() == nil; {
					p.Write(hello)
				}
			}()
		}
	}()
	if err := <-answered; err != nil {
		t.Error(err)
	}
	ln.Close()
	<-done
}
