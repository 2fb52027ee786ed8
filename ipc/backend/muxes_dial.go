package backend

import (
	"context"
	"crypto/tls"
	"errors"
	"time"

	"commerce.example/coordinator/ipc/exchange"
)

// dialling is a connection in the making. All who wait for a place share it, and
// its failure; nobody's leaving ends it.
type dialling struct {
	home  *home
	done  chan struct{}
	m     *mux // these are set before done is closed
	fault exchange.Fault
	err   error
}

// sparePause is how long after a failed dial nobody dials who has a connection
// already.
const sparePause = time.Second

// dial starts one for h. It is called under mu.
func (p *muxes) dial(t *Transport, o origin, h *home) *dialling {
	d := &dialling{home: h, done: make(chan struct{})}
	if !t.conns.begin() {
		d.fault, d.err = exchange.BackendUnreachable, errClosed
		close(d.done)
		return d
	}
	h.dialling = d
	go func() {
		defer t.conns.end()
		d.m, d.fault, d.err = t.dialMux(o, h)
		p.mu.Lock()
		h.dialled(d, time.Now(), t)
		p.mu.Unlock()
		close(d.done)
	}()
	return d
}

// dialled takes in how a dial ended. It is called under mu.
func (h *home) dialled(d *dialling, now time.Time, t *Transport) {
	h.dialling = nil
	switch {
	case d.m != nil:
		h.spareAfter, h.plainUntil = time.Time{}, time.Time{}
		h.relieve(now)
		h.live = append(h.live, d.m)
	case d.err == errNotHTTP2:
		h.plainUntil = now.Add(t.connMaxAge())
		for _, m := range h.live {
			m.retire()
		}
	default:
		h.spareAfter = now.Add(sparePause)
	}
}

// relieve drains one connection that is past its age: its successor stands.
func (h *home) relieve(now time.Time) {
	for _, m := range h.live {
		if m.outlived(now) {
			m.retire()
			return
		}
	}
}

// dialMux connects and waits for the peer's SETTINGS: nothing of a request goes
// to somebody who does not speak HTTP/2. An HTTP/1.1 connection that comes of it
// is kept for whoever asks next.
func (t *Transport) dialMux(o origin, h *home) (*mux, exchange.Fault, error) {
	now := time.Now()
	ctx, stop := context.WithDeadline(context.Background(), now.Add(t.dialTimeout()))
	defer stop()
	c := &conn{
		t: t, origin: o, stopDial: stop, offer: []string{"h2", "http/1.1"},
		retireAt: now.Add(t.connMaxAge()), idleFor: t.idleTimeout(),
	}
	if t.Protocol == HTTP2 {
		c.offer = c.offer[:1]
	}
	if err := t.conns.add(c); err != nil {
		return nil, exchange.BackendUnreachable, err
	}
	if fault, err := c.open(ctx); err != nil {
		c.close()
		return nil, fault, err
	}
	if secure, ok := c.nc.(*tls.Conn); ok && secure.ConnectionState().NegotiatedProtocol != "h2" {
		if t.Protocol == HTTP2 {
			c.retire()
			return nil, exchange.BackendProtocol, errNotChosen
		}
		t.conns.put(c)
		return nil, "", errNotHTTP2
	}
	return t.greet(ctx, c, h)
}

var (
	errNotChosen = malformed("the backend did not choose HTTP/2 by ALPN")
	errSilent    = errors.New("no SETTINGS in time")
	errNoStreams = errors.New("the backend allows no streams")
)

// greet begins HTTP/2 on c, which is connected.
func (t *Transport) greet(ctx context.Context, c *conn, h *home) (*mux, exchange.Fault, error) {
	m, err := newMux(c, h)
	if err != nil {
		c.close()
		return nil, exchange.BackendReset, err
	}
	select {
	case <-m.gone:
		return nil, m.end.fault, m.end.err
	case <-ctx.Done():
		c.Cancel()
		<-m.gone
		return nil, exchange.BackendTimeout, errSilent
	case <-m.ready:
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.peer.streams == 0 {
		m.drain()
		return nil, exchange.BackendUnreachable, errNoStreams
	}
	return m, "", nil
}
