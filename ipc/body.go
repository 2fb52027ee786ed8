package ipc

import (
	"bufio"
	"io"
	"maps"
	"net/http"

	"commerce.example/coordinator/ipc/wire"
)

// Body is an answer's body. Read blocks only for its first byte and returns
// io.EOF with the last ones, so a relay that flushes after every Read without
// an error streams honestly and needs no flush for what came whole.
type Body struct {
	conn *conn
	call *Call
	resp *http.Response
	left int64 // of the declared length; -1: none declared
	over bool  // the worker has handed over the last byte
	kept bool  // conn has been released
	err  error
}

// Complete reports whether the worker has handed over the last byte: it does
// nothing more for this exchange.
func (b *Body) Complete() bool { return b.over }

// AtHand reports whether something of the body has come along with the head. It
// belongs to the goroutine that reads.
func (b *Body) AtHand() bool { return b.over || !b.conn.in.empty() }

func (b *Body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	for {
		n, t, payload, err := b.conn.in.readBody(p)
		if err == nil {
			err = b.count(n, t)
		}
		if err == nil && t == wire.Continue {
			err = b.late()
			if err == nil && n == 0 && len(p) > 0 {
				continue
			}
		} else if err == nil && t != wire.Data {
			err = b.end(t, payload)
		}
		if err != nil && err != io.EOF {
			err = b.conn.failure(b.call, err)
		}
		b.err = err
		return n, err
	}
}

// count holds the worker to the length it declared: less must not look like a
// whole answer.
func (b *Body) count(n int, t wire.Type) error {
	if b.left < 0 {
		return nil
	}
	if b.left -= int64(n); b.left < 0 || b.left > 0 && t == wire.End {
		return wire.Violation("an answer's body is not as long as declared: %d bytes are missing", b.left)
	}
	return nil
}

// late starts the upload for a handler that asks for it after its answer began.
func (b *Body) late() error {
	u := b.conn.upload
	if u == nil || u.started {
		return wire.Violation("a body asked for twice or that is none")
	}
	u.start()
	return nil
}

func (b *Body) end(t wire.Type, payload []byte) error {
	switch t {
	case wire.End:
		trailer, err := wire.ParseEnd(payload)
		if err != nil {
			return err
		}
		if len(trailer) > 0 {
			if b.resp.Trailer == nil {
				b.resp.Trailer = make(http.Header)
			}
			maps.Copy(b.resp.Trailer, trailer)
		}
		b.ended()
		return io.EOF
	case wire.Fail:
		return b.conn.failed(b.call, payload)
	}
	return wire.Violation("frame %d inside an answer's body", t)
}

// ended lets the connection go at once when nothing else uses it; an upload
// that still runs keeps it until Close.
func (b *Body) ended() {
	b.over, b.err = true, io.EOF
	if u := b.conn.upload; u == nil || !u.started {
		b.kept = true
		b.conn.release(b.call, true)
	}
}

// Uploading reports whether the answer is over while the request's body is not:
// what was answered should reach the client before Close, which may take a
// moment then.
func (b *Body) Uploading() bool { return b.over && !b.kept && !b.conn.upload.finished() }

// Close ends the exchange. When it returns, nothing touches Request.Body.
func (b *Body) Close() error {
	if b.kept {
		return nil
	}
	b.kept = true
	if b.err == nil {
		b.err = http.ErrBodyReadAfterClose
	}
	if !b.over {
		b.conn.client.board.Fence(b.conn.cell, b.conn.seq)
		b.conn.cut()
	}
	b.conn.release(b.call, b.over)
	return nil
}

// hijackedBody is the body of an answer that a handler wrote by hand.
type hijackedBody struct {
	io.ReadCloser
	conn *conn
	call *Call
}

func (b *hijackedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = b.conn.failure(b.call, err)
	}
	return n, err
}

func (b *hijackedBody) Close() error {
	b.conn.release(b.call, false)
	return nil
}

// upgraded is the raw connection behind status 101.
type upgraded struct {
	br   *bufio.Reader
	conn *conn
	call *Call
}

func (u *upgraded) Read(p []byte) (int, error)  { return u.br.Read(p) }
func (u *upgraded) Write(p []byte) (int, error) { return u.conn.nc.Write(p) }
func (u *upgraded) CloseWrite() error           { return u.conn.nc.CloseWrite() }

func (u *upgraded) Close() error {
	u.conn.release(u.call, false)
	return nil
}
