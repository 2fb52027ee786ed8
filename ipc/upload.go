package ipc

import (
	"errors"
	"io"
	"sync"
	"time"

	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/ipc/wire"
)

// upload hands a request's body to the worker, in a goroutine of its own: the
// backend may answer before it has read all of it.
type upload struct {
	conn     *conn
	call     *Call
	started  bool
	done     chan struct{} // closed by run
	complete bool          // after done: the End frame was written
}

var uploadBuffers = sync.Pool{New: func() any {
	return new([wire.HeaderLen + 32<<10]byte)
}}

func (u *upload) start() {
	u.started = true
	go u.run()
}

func (u *upload) run() {
	defer close(u.done)
	buf := uploadBuffers.Get().(*[wire.HeaderLen + 32<<10]byte)
	defer uploadBuffers.Put(buf)
	body := u.call.Request.Body
	u.call.read.Store(true)
	for {
		u.call.busy.Store(true)
		n, err := body.Read(buf[wire.HeaderLen:])
		u.call.busy.Store(false)
		out := buf[:0]
		if n > 0 {
			wire.PutHeader(buf[:], wire.Data, n)
			out = buf[:wire.HeaderLen+n]
		}
		if err == io.EOF {
			data := len(out)
			out = wire.AppendEnd(out, u.call.Request.Trailer)
			if !wire.Fits(out[data:]) {
				u.call.Cancel(&exchange.Error{Fault: exchange.BadRequest, Err: errors.New("the request's trailers are too large")})
				return
			}
		} else if err != nil {
			// Cut short, the worker must not take it for the whole body.
			if exchange.FaultOf(err) == "" {
				err = &exchange.Error{Fault: exchange.ClientGone, Err: err}
			}
			u.call.Cancel(err)
			return
		}
		if len(out) > 0 {
			if _, werr := u.conn.nc.Write(out); werr != nil {
				return // the reader of the answer finds out why
			}
			u.call.sent.Add(int64(n))
		}
		if err == io.EOF {
			u.complete = true
			return
		}
	}
}

func (u *upload) finished() bool {
	select {
	case <-u.done:
		return true
	default:
		return false
	}
}

// settle waits for the end of an upload whose answer is over. One that is about
// to end may; another is stopped. It reports whether the body went out whole.
func (u *upload) settle() bool {
	if u.finished() {
		return u.complete
	}
	grace := time.NewTimer(5 * time.Millisecond)
	defer grace.Stop()
	select {
	case <-u.done:
		return u.complete
	case <-grace.C:
	}
	u.conn.cut()
	if stop := u.call.StopBody; stop != nil {
		stop()
	}
	<-u.done
	return false
}
