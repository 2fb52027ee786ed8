package backend

import (
	"errors"
	"sync"
	"time"

	"commerce.example/coordinator/ipc/exchange"
)

// errDrill is the cause of a failure that somebody asked for.
var errDrill = errors.New("a drill: the backend seems to be down")

// drill plays the drill of the exchange, when one is on. The error is that of
// the exchange; nil says to go on. Nothing has been connected, and where
// something fails nothing is.
func (x *trip) drill() error {
	driller, ok := x.rep.(exchange.Driller)
	if !ok {
		return nil
	}
	d := driller.Drill()
	if d == nil {
		return nil
	}
	if d.Fault == exchange.BackendRefused {
		return x.fail(d.Fault, errDrill)
	}
	// A backend that is slow, or answers garbage, has the request.
	if !x.rep.Sent() {
		return x.cancelled()
	}
	x.stage = exchange.Sent
	if !x.linger(min(d.Delay, time.Until(d.Until))) {
		return x.cancelled()
	}
	if d.Fault == exchange.BackendProtocol {
		return x.garbled()
	}
	return nil
}

// linger waits, and reports false when the exchange was cancelled meanwhile.
func (x *trip) linger(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	p := &pause{over: make(chan struct{})}
	if !x.rep.Attach(p) {
		return false
	}
	defer x.rep.Detach()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.over:
		return false
	}
}

// pause is a wait that the exchange can end.
type pause struct {
	once sync.Once
	over chan struct{}
}

// Cancel implements [exchange.Canceler].
func (p *pause) Cancel() { p.once.Do(func() { close(p.over) }) }

// garbage is what no HTTP server says.
const garbage = "\x15\x03\x01\x00\x02\x02\x46\r\n\r\n"

// garbled has the parser read garbage, as if the backend had sent it.
func (x *trip) garbled() error {
	x.c = &conn{t: x.t, origin: x.msg.origin, buf: []byte(garbage), w: len(garbage)}
	err := x.head.read(x)
	return x.fail(faultOf(err), unexpected(err))
}
