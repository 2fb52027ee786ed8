package backend

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"commerce.example/coordinator/ipc/exchange"
)

const (
	uploadBuffer = 32 << 10
	sizeRoom     = len("ffffffff\r\n")            // before the data of a chunk
	tailRoom     = len("\r\n") + len("0\r\n\r\n") // behind it
	lastWrite    = time.Second                    // for the last bytes of a body when the answer is in already
)

var uploadBuffers = sync.Pool{New: func() any { return new([uploadBuffer]byte) }}

// upload copies a request's body while the answer is awaited. Two goroutines end
// an exchange that has one, this and the reader of the answer; whoever is last
// gives the connection back.
type upload struct {
	t       *Transport
	c       *conn
	body    io.ReadCloser
	trailer http.Header // read when the body is at its end
	left    int64       // bytes to come; -1: chunked

	mu       sync.Mutex
	err      error // of the body, not of the connection
	stop     bool  // the answer is over
	whole    bool  // all of the body has been read: one write remains
	done     bool
	written  bool // done, and everything was written
	giveBack bool // the answer is over and waits for the last write
}

// upload starts the copy. The goroutine is counted by the Transport.
func (x *trip) upload() {
	u := &upload{t: x.t, c: x.c, body: x.msg.body, trailer: x.req.Trailer, left: x.msg.length}
	if !x.t.conns.begin() {
		x.c.Cancel()
		return
	}
	x.up = u
	go u.run()
}

func (u *upload) run() {
	defer u.t.conns.end()
	buf := uploadBuffers.Get().(*[uploadBuffer]byte)
	written := u.copy(buf)
	uploadBuffers.Put(buf)
	u.mu.Lock()
	u.done, u.written = true, written
	giveBack := u.giveBack
	u.mu.Unlock()
	if giveBack {
		u.release()
	}
}

// copy writes each piece as it comes. It reports whether the body was written
// whole. The body is closed before its last piece is written, so that nothing
// touches it when the backend has all of it.
func (u *upload) copy(buf *[uploadBuffer]byte) bool {
	open := true
	defer func() {
		if open {
			u.body.Close()
		}
	}()
	for {
		room := buf[sizeRoom : uploadBuffer-tailRoom]
		if u.left >= 0 && u.left < int64(len(room)) {
			room = room[:u.left]
		}
		n, err := u.body.Read(room)
		out := room[:n]
		last := u.left < 0 && err == io.EOF
		if u.left >= 0 {
			u.left -= int64(n)
			last = u.left == 0
		}
		if err != nil && !last {
			return u.fault(err)
		}
		if u.isChunked() {
			if out, err = u.chunk(buf, n, last); err != nil {
				return u.fault(err)
			}
		}
		if last {
			u.body.Close()
			open = false
		}
		if !u.goOn(last) {
			return false
		}
		if _, err := u.c.nc.Write(out); err != nil {
			return false // the reader of the answer finds out what it means
		}
		if last {
			return true
		}
	}
}

func (u *upload) isChunked() bool { return u.left < 0 }

// chunk frames n bytes that lie behind sizeRoom (RFC 9112 section 7.1).
func (u *upload) chunk(buf *[uploadBuffer]byte, n int, last bool) ([]byte, error) {
	out := buf[sizeRoom:sizeRoom]
	if n > 0 {
		var size [sizeRoom]byte
		line := append(strconv.AppendInt(size[:0], int64(n), 16), "\r\n"...)
		start := sizeRoom - len(line)
		copy(buf[start:], line)
		out = append(buf[start:sizeRoom+n], "\r\n"...)
	}
	if !last {
		return out, nil
	}
	out = append(out, "0\r\n"...)
	for name, values := range u.trailer {
		if framingField(name) {
			return nil, &exchange.Error{Fault: exchange.BadRequest, Err: fmt.Errorf("trailer %s", name)}
		}
		var err error
		if out, err = appendField(out, name, values); err != nil {
			return nil, &exchange.Error{Fault: exchange.BadRequest, Err: err}
		}
	}
	return append(out, "\r\n"...), nil
}

// goOn asks whether the next write is still wanted.
func (u *upload) goOn(whole bool) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.whole = whole
	return !u.stop
}

// fault ends an exchange whose body cannot be had: the backend must not take
// what it got for the whole.
func (u *upload) fault(err error) bool {
	if errors.Is(err, io.EOF) {
		err = &exchange.Error{Fault: exchange.BadRequest, Err: io.ErrUnexpectedEOF}
	}
	u.mu.Lock()
	u.err = fmt.Errorf("request body: %w", err)
	u.mu.Unlock()
	u.c.close()
	return false
}

// failure is the error of the body, if it had one.
func (u *upload) failure() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}

func (u *upload) finished() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.done && u.written
}

// end is called once, when the answer is over. A body that is not read to its
// end by then is not sent to its end.
func (u *upload) end(keep bool) {
	u.mu.Lock()
	wait := keep && u.whole && !u.done
	u.stop = !wait
	u.giveBack = wait
	keep = keep && u.done && u.written
	if wait {
		u.c.nc.SetWriteDeadline(time.Now().Add(lastWrite))
	}
	u.mu.Unlock()
	switch {
	case wait:
	case keep:
		u.t.conns.put(u.c)
	default:
		u.c.close()
	}
}

// release gives the connection back after the last write.
func (u *upload) release() {
	if u.written && u.c.nc.SetWriteDeadline(time.Time{}) == nil {
		u.t.conns.put(u.c)
		return
	}
	u.c.close()
}
