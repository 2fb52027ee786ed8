package backend

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"commerce.example/coordinator/ipc/exchange"
)

// connect gives the exchange a connection: an idle one that is still quiet, or a
// new one. The connection is attached before anything is waited for.
func (x *trip) connect() error {
	now := time.Now()
	for c := x.t.conns.take(x.msg.origin); c != nil; c = x.t.conns.take(x.msg.origin) {
		if !c.fresh(now) || !c.clean() {
			c.retire()
			continue
		}
		if !x.attach(c) {
			x.t.conns.put(c) // nothing was done to it
			return x.cancelled()
		}
		x.c = c
		return nil
	}
	return x.dial(now)
}

// dial makes a new connection.
func (x *trip) dial(now time.Time) error {
	// The exchange is cancelled through its connection; its context is left out,
	// for watching a foreign one would cost a goroutine.
	deadline, own := x.dialDeadline(now)
	ctx, stop := context.WithDeadline(context.WithoutCancel(x.ctx), deadline)
	defer stop()
	c := &conn{
		t: x.t, origin: x.msg.origin, stopDial: stop,
		retireAt: now.Add(x.t.connMaxAge()), idleFor: x.t.idleTimeout(),
	}
	if err := x.t.conns.add(c); err != nil {
		return x.fail(exchange.BackendUnreachable, err)
	}
	x.c = c
	if !x.attach(c) {
		c.close()
		x.c = nil
		return x.cancelled()
	}
	if fault, err := c.open(ctx); err != nil {
		if !own && !time.Now().Before(deadline) {
			fault = exchange.BackendTimeout
		}
		return x.fail(fault, err)
	}
	return nil
}

// sayAhead is how much of an exchange's time, a tenth, is kept to say that
// the backend could not be connected to. Whoever set the deadline watches it too,
// and would take a worker that is silent at it for one that is stuck.
const sayAhead = 250 * time.Millisecond

// dialDeadline is when a dial ends, and whether by the transport's own limit.
func (x *trip) dialDeadline(now time.Time) (at time.Time, own bool) {
	at = now.Add(x.t.dialTimeout())
	d, ok := x.ctx.Deadline()
	if !ok {
		return at, true
	}
	d = d.Add(-min(max(0, d.Sub(now)/10), sayAhead))
	if d.Before(at) {
		return d, false
	}
	return at, true
}

// open resolves, connects and shakes hands.
func (c *conn) open(ctx context.Context) (exchange.Fault, error) {
	addrs, err := c.t.names.addresses(ctx, c.origin.host, c.t.Lookup)
	if err != nil {
		return exchange.BackendUnreachable, err
	}
	raw, err := dialFirst(ctx, c.origin, addrs)
	if err != nil {
		return dialFault(err), err
	}
	if err := c.hold(raw); err != nil {
		return exchange.BackendUnreachable, err
	}
	c.buf = make([]byte, readBuffer)
	c.look = newLookout(raw)
	if c.origin.scheme == "https" {
		config := c.t.secure().Clone()
		if config.ServerName == "" {
			config.ServerName = c.origin.host
		}
		if c.offer != nil {
			config.NextProtos = c.offer
		}
		c.under = &underTLS{Conn: raw}
		secure := tls.Client(c.under, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			if ctx.Err() != nil {
				return exchange.BackendTimeout, err
			}
			return exchange.BackendTLS, err
		}
		c.nc = secure
	}
	return "", nil
}

// dialFault tells apart a host that says no, one that says nothing, and none.
func dialFault(err error) exchange.Fault {
	ne, ok := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return exchange.BackendRefused
	case ok && ne.Timeout():
		return exchange.BackendTimeout
	}
	return exchange.BackendUnreachable
}

// dialFirst tries the addresses in order, each with an equal share of the time
// that is left. A refusal is the most telling of several failures.
func dialFirst(ctx context.Context, o origin, addrs []netip.Addr) (net.Conn, error) {
	var first, refused error
	for i, ip := range addrs {
		d := net.Dialer{}
		if deadline, ok := ctx.Deadline(); ok && i < len(addrs)-1 {
			d.Timeout = max(time.Until(deadline)/time.Duration(len(addrs)-i), time.Millisecond)
		}
		nc, err := d.DialContext(ctx, "tcp", o.address(ip))
		if err == nil {
			return nc, nil
		}
		if first == nil {
			first = err
		}
		if refused == nil && errors.Is(err, syscall.ECONNREFUSED) {
			refused = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	if refused != nil && ctx.Err() == nil {
		return nil, refused
	}
	return nil, first
}

const (
	nameTTL  = 5 * time.Second // how long an answer of the resolver is used as it is
	nameWait = time.Second     // how long a resolver may take when older addresses are known
	maxNames = 64              // hosts remembered
)

// names remembers the last good addresses of hosts: when the resolver fails, the
// backend is most likely still where it was. Its zero value is empty.
type names struct {
	mu    sync.Mutex
	known map[string]known
}

type known struct {
	addrs []netip.Addr
	until time.Time
}

// addresses is never empty without an error.
func (n *names) addresses(ctx context.Context, host string,
	lookup func(context.Context, string) ([]netip.Addr, error)) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	last, found, fresh := n.recall(host)
	if fresh {
		return last.addrs, nil
	}
	if lookup == nil {
		lookup = resolve
	}
	ask := ctx
	if found {
		wait := nameWait
		if d, ok := ctx.Deadline(); ok {
			wait = min(wait, time.Until(d)/2) // the other half is for the address that is known
		}
		var stop context.CancelFunc
		ask, stop = context.WithTimeout(ctx, wait)
		defer stop()
	}
	addrs, err := lookup(ask, host)
	if err == nil && len(addrs) == 0 {
		err = errors.New("the name has no address")
	}
	if err != nil {
		if !found || ctx.Err() != nil { // the dial is over: that says nothing about the name
			return nil, err
		}
		addrs = last.addrs // asked again after nameTTL, not by every dial
	}
	n.remember(host, known{addrs: addrs, until: time.Now().Add(nameTTL)})
	return addrs, nil
}

// recall gives what is known of host, and whether that may be used as it is. If
// not, the caller is the one that asks; other dials go on by it meanwhile, or a
// resolver that hangs would hold up all of them.
func (n *names) recall(host string) (last known, found, fresh bool) {
	now := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	last, found = n.known[host]
	if !found || now.Before(last.until) {
		return last, found, found
	}
	n.known[host] = known{addrs: last.addrs, until: now.Add(nameWait)}
	return last, true, false
}

func (n *names) remember(host string, k known) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known == nil {
		n.known = make(map[string]known)
	}
	if _, found := n.known[host]; !found && len(n.known) >= maxNames {
		for other := range n.known {
			delete(n.known, other) // any: more than a few hosts are not expected
			break
		}
	}
	n.known[host] = k
}

func resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, err
}
