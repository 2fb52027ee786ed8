package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

const (
	maxConns = 4096 // accepted at once; more wait in the kernel's backlog
	// relistenTimeout is how long to fight for the own port when it comes up again.
	relistenTimeout = 2 * time.Second
)

// gate is a listener that can go down, so that connects are refused and open
// connections reset, and come up again at the same address.
type gate struct {
	addr  net.Addr
	slots chan struct{} // one for each accepted connection

	mu     sync.Mutex
	ln     net.Listener          // nil while down
	up     chan struct{}         // closed while up
	conns  map[net.Conn]struct{} // accepted and not closed
	closed chan struct{}
	once   sync.Once
}

func openGate(ctx context.Context, addr string) (*gate, error) {
	ln, err := listenAgain(ctx, addr)
	if err != nil {
		return nil, err
	}
	up := make(chan struct{})
	close(up)
	return &gate{
		addr: ln.Addr(), ln: ln, up: up,
		slots:  make(chan struct{}, maxConns),
		conns:  make(map[net.Conn]struct{}),
		closed: make(chan struct{}),
	}, nil
}

// listenAgain listens at addr. A port that was just let go can be in use for a
// moment, by a process that is not quite gone or an outgoing connection.
func listenAgain(ctx context.Context, addr string) (net.Listener, error) {
	ctx, cancel := context.WithTimeout(ctx, relistenTimeout)
	defer cancel()
	for {
		var lc net.ListenConfig
		ln, err := lc.Listen(ctx, "tcp", addr)
		if !errors.Is(err, syscall.EADDRINUSE) {
			return ln, err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("demo: %s: %w", addr, err)
		}
	}
}

func (g *gate) Addr() net.Addr { return g.addr }

// Accept waits for a connection, and while the gate is down for it to come up.
func (g *gate) Accept() (net.Conn, error) {
	select {
	case g.slots <- struct{}{}:
	case <-g.closed:
		return nil, net.ErrClosed
	}
	for {
		g.mu.Lock()
		ln, up := g.ln, g.up
		g.mu.Unlock()
		select {
		case <-up:
		case <-g.closed:
			return nil, net.ErrClosed
		}
		if ln == nil {
			continue
		}
		c, err := ln.Accept()
		switch {
		case err == nil && g.admit(ln, c):
			return c, nil
		case err == nil || errors.Is(err, net.ErrClosed):
			continue // went down meanwhile
		}
		<-g.slots
		return nil, err
	}
}

// admit keeps c, unless the listener it came from is down by now.
func (g *gate) admit(ln net.Listener, c net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ln != ln {
		reset(c)
		return false
	}
	g.conns[c] = struct{}{}
	return true
}

// track is the server's ConnState hook: it forgets connections that are over. A
// hijacked one is over too: it is only hijacked to be broken.
func (g *gate) track(c net.Conn, state http.ConnState) {
	if state != http.StateClosed && state != http.StateHijacked {
		return
	}
	g.mu.Lock()
	_, known := g.conns[c]
	delete(g.conns, c)
	g.mu.Unlock()
	if known {
		<-g.slots
	}
}

// goDown stops listening and resets what is connected. When it returns, connects
// are refused.
func (g *gate) goDown() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ln == nil {
		return
	}
	g.ln.Close()
	g.ln, g.up = nil, make(chan struct{})
	for c := range g.conns {
		reset(c)
	}
}

// goUp listens again. When it returns without an error, connects succeed.
func (g *gate) goUp(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ln != nil {
		return nil
	}
	ln, err := listenAgain(ctx, g.addr.String())
	if err != nil {
		return err
	}
	g.ln = ln
	close(g.up)
	return nil
}

// Close ends the gate for good; connections are the server's to close.
func (g *gate) Close() error {
	g.once.Do(func() {
		close(g.closed)
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.ln != nil {
			g.ln.Close()
		}
	})
	return nil
}

// reset closes c with an RST instead of a FIN.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.Close()
}
