//go:build linux

package main_test

import (
	"bufio"
	"net"
	"net/http"
	"sync"
	"testing"
)

// rawBackend serves each connection with talk, which sees the requests as they
// arrive: nothing is read, answered or closed that talk does not.
func rawBackend(t *testing.T, talk func(net.Conn, *bufio.Reader)) (origin string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveRaw(t, ln, talk)
	return "http://" + ln.Addr().String()
}

// serveRaw is rawBackend at a listener.
func serveRaw(t *testing.T, ln net.Listener, talk func(net.Conn, *bufio.Reader)) {
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[nc] = true
			mu.Unlock()
			serving.Go(func() {
				defer nc.Close()
				talk(nc, bufio.NewReader(nc))
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for nc := range open {
			nc.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
}

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return "http://" + ln.Addr().String()
}

// tally counts requests by the name that they bear.
type tally struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *tally) add(r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]int{}
	}
	c.n[r.Header.Get("X-Name")]++
}

func (c *tally) of(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[name]
}
