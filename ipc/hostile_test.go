package ipc_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/ipc/wire"
)

// peer is the worker's end of a data connection, in the hands of a test.
type peer struct{ *net.UnixConn }

// next reads a whole frame.
func (p peer) next() (wire.Type, []byte, error) {
	var h [wire.HeaderLen]byte
	if _, err := io.ReadFull(p, h[:]); err != nil {
		return 0, nil, err
	}
	t, n, err := wire.ParseHeader(h[:])
	if err != nil {
		return 0, nil, err
	}
	payload := make([]byte, n)
	_, err = io.ReadFull(p, payload)
	return t, payload, err
}

// request reads frames up to the next Request.
func (p peer) request() error {
	for {
		if t, _, err := p.next(); err != nil || t == wire.Request {
			return err
		}
	}
}

// rawWorker is a worker whose data plane is serve, called for each connection.
func rawWorker(t testing.TB, cells uint32, serve func(peer)) *ipc.Worker {
	t.Helper()
	socket, ln, b := planeEnds(t, cells)
	w := ipc.Attach(socket, b)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := ln.AcceptUnix()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				serve(peer{c})
			})
		}
	})
	t.Cleanup(func() {
		w.Fail(exchange.WorkerDied)
		ln.Close()
		running.Wait()
	})
	return w
}

// Frames, as a hostile worker puts them together.

func frame(t wire.Type, payload ...byte) []byte {
	b := make([]byte, wire.HeaderLen, wire.HeaderLen+len(payload))
	wire.PutHeader(b, t, len(payload))
	return append(b, payload...)
}

func text(s string) []byte { return frame(wire.Data, []byte(s)...) }

func head(t wire.Type, status int, length int64, noBody bool) []byte {
	return wire.AppendResponse(nil, t, &wire.ResponseHead{Status: status, ContentLength: length, NoBody: noBody})
}

func fields(names ...string) []byte {
	h := make(http.Header)
	for _, n := range names {
		h[n] = []string{"5"}
	}
	return wire.AppendResponse(nil, wire.Response, &wire.ResponseHead{Status: 200, ContentLength: -1, Header: h})
}

// lyingCount is a head that announces more fields than it has bytes.
func lyingCount() []byte {
	p := []byte{0, 200, 0}
	p = binary.BigEndian.AppendUint64(p, 0)
	p = binary.AppendUvarint(p, 19_999)
	p = binary.AppendUvarint(p, 19_999)
	return frame(wire.Response, p...)
}

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

var (
	ok    = head(wire.Response, 200, -1, false)
	end   = frame(wire.End)
	hello = cat(head(wire.Response, 200, 5, false), text("hello"), end)
)

// A worker that does not keep to the protocol costs the exchange and the
// connection, and nothing else: FAULTS row 9, clause by clause.
func TestHostileFrames(t *testing.T) {
	raw := frame(wire.Hijack)
	for name, c := range map[string]struct {
		method string
		bytes  []byte
		fault  exchange.Fault
	}{
		"nothing":                     {"GET", nil, exchange.WorkerDied},
		"half a header":               {"GET", ok[:2], exchange.WorkerDied},
		"half a head":                 {"GET", ok[:9], exchange.WorkerDied},
		"garbage":                     {"GET", []byte("HTTP/1.1 200 OK\r\n\r\n"), exchange.WorkerProtocol},
		"unknown frame":               {"GET", []byte{42, 0, 0, 0}, exchange.WorkerProtocol},
		"oversized head":              {"GET", []byte{byte(wire.Response), 0x20, 0, 1}, exchange.WorkerProtocol},
		"oversized data":              {"GET", cat(ok, []byte{byte(wire.Data), 1, 0, 1}), exchange.WorkerProtocol},
		"empty head":                  {"GET", frame(wire.Response), exchange.WorkerProtocol},
		"lying count":                 {"GET", lyingCount(), exchange.WorkerProtocol},
		"field twice":                 {"GET", fields("content-length", "Content-Length"), exchange.WorkerProtocol},
		"body before the head":        {"GET", text("x"), exchange.WorkerProtocol},
		"end before the head":         {"GET", end, exchange.WorkerProtocol},
		"our own frame back":          {"GET", wire.AppendRequest(nil, &wire.RequestHead{Method: "GET", Target: "/"}), exchange.WorkerProtocol},
		"alive":                       {"GET", frame(wire.Alive), exchange.WorkerProtocol},
		"continue without body":       {"GET", cat(frame(wire.Continue), hello), exchange.WorkerProtocol},
		"continue unasked":            {"POST", cat(frame(wire.Continue), hello), exchange.WorkerProtocol},
		"continue inside the answer":  {"GET", cat(ok, frame(wire.Continue), end), exchange.WorkerProtocol},
		"final 100":                   {"GET", head(wire.Response, 100, 0, true), exchange.WorkerProtocol},
		"final 101":                   {"GET", head(wire.Response, 101, 0, true), exchange.WorkerProtocol},
		"status 1000":                 {"GET", head(wire.Response, 1000, 0, true), exchange.WorkerProtocol},
		"informational 101":           {"GET", cat(head(wire.Inform, 101, 0, true), hello), exchange.WorkerProtocol},
		"informational 200":           {"GET", cat(head(wire.Inform, 200, 0, true), hello), exchange.WorkerProtocol},
		"malformed failure":           {"GET", frame(wire.Fail), exchange.WorkerProtocol},
		"failure nobody knows":        {"GET", wire.AppendFail(nil, "no_route", 0, ""), exchange.WorkerProtocol},
		"failure that is ours to say": {"GET", wire.AppendFail(nil, "worker_unresponsive", 0, ""), exchange.WorkerProtocol},
		"length without body":         {"GET", head(wire.Response, 200, 5, true), exchange.WorkerProtocol},
		"body for HEAD":               {"HEAD", hello, exchange.WorkerProtocol},
		"body for 204":                {"GET", cat(head(wire.Response, 204, -1, false), text("x"), end), exchange.WorkerProtocol},
		"body too short":              {"GET", cat(head(wire.Response, 200, 5, false), text("hell"), end), exchange.WorkerProtocol},
		"body too long":               {"GET", cat(head(wire.Response, 200, 5, false), text("hellos"), end), exchange.WorkerProtocol},
		"body cut":                    {"GET", cat(ok, text("hello")), exchange.WorkerDied},
		"head twice":                  {"GET", cat(ok, ok, end), exchange.WorkerProtocol},
		"informational in the body":   {"GET", cat(ok, head(wire.Inform, 103, 0, true), end), exchange.WorkerProtocol},
		"hijack in the body":          {"GET", cat(ok, raw), exchange.WorkerProtocol},
		"malformed trailers":          {"GET", cat(ok, frame(wire.End, 1)), exchange.WorkerProtocol},
		"malformed failure in body":   {"GET", cat(ok, frame(wire.Fail, 1)), exchange.WorkerProtocol},
		"hijack with a body":          {"POST", cat(raw, []byte("HTTP/1.1 101 S\r\n\r\n")), exchange.WorkerProtocol},
		"hijack, garbage":             {"GET", cat(raw, []byte("\x00\x01\x02\r\n\r\n")), exchange.WorkerProtocol},
		"hijack, status 0":            {"GET", cat(raw, []byte("HTTP/1.1 000 none\r\n\r\n")), exchange.WorkerProtocol},
		"hijack, status 100":          {"GET", cat(raw, []byte("HTTP/1.1 100 Continue\r\n\r\n")), exchange.WorkerProtocol},
		"hijack, endless head":        {"GET", cat(raw, []byte("HTTP/1.1 200 OK\r\n"), bytes.Repeat([]byte("X-A: b\r\n"), 1<<19)), exchange.WorkerProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			first := make(chan struct{}, 1)
			first <- struct{}{}
			w := rawWorker(t, 2, func(p peer) {
				for p.request() == nil {
					select {
					case <-first:
						p.Write(c.bytes)
						p.CloseWrite() // what was cut is seen to be
						io.Copy(io.Discard, p)
						return
					default:
						p.Write(hello)
					}
				}
			})
			var body io.Reader
			if c.method == "POST" {
				body = strings.NewReader("body")
			}
			if err := readAll(w.RoundTrip(request(t, c.method, "/", body))); exchange.FaultOf(err) != c.fault {
				t.Errorf("got %v, want %s", err, c.fault)
			}
			if idle, open, free := w.Conns(); idle != 0 || open != 0 || free != 2 {
				t.Errorf("%d connections at rest, %d open, %d of 2 cells free", idle, open, free)
			}
			if _, body := ask(t, w, request(t, "GET", "/", nil)); body != "hello" {
				t.Errorf("the next request got %q", body)
			}
		})
	}
}

// readAll is how an exchange ended, head or body.
func readAll(resp *http.Response, err error) error {
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return err
}

// What follows the end of an answer was asked for by nobody. The next request
// must not get it.
func TestUnsolicitedAnswerIsThrownAway(t *testing.T) {
	for name, more := range map[string][]byte{
		"a whole answer": cat(head(wire.Response, 200, 6, false), text("forged"), end),
		"half a header":  {byte(wire.Response), 0},
		"more body":      text("forged"),
	} {
		t.Run(name, func(t *testing.T) {
			w := rawWorker(t, 4, func(p peer) {
				for p.request() == nil {
					p.Write(cat(hello, more))
				}
			})
			for range 3 {
				if _, body := ask(t, w, request(t, "GET", "/", nil)); body != "hello" {
					t.Fatalf("got %q", body)
				}
			}
		})
	}
}

// A worker that reads nothing blocks the write of a head, and then of a body:
// Cancel is what ends both.
func TestWorkerThatReadsNothing(t *testing.T) {
	w := rawWorker(t, 4, func(p peer) { <-t.Context().Done() })
	huge := request(t, "GET", "/", nil)
	huge.Header.Set("X-Huge", strings.Repeat("x", 1<<20))
	for name, r := range map[string]*http.Request{
		"head": huge,
		"body": request(t, "POST", "/", bytes.NewReader(make([]byte, 8<<20))),
	} {
		call := &ipc.Call{Request: r}
		failed := make(chan error, 1)
		go func() { _, err := w.Do(call); failed <- err }()
		eventually(t, 5*time.Second, "connection open", func() bool { _, open, _ := w.Conns(); return open > 0 })
		call.Cancel(&exchange.Error{Fault: exchange.ClientGone})
		within(t, time.Second, name, func() {
			e, _ := errors.AsType[*exchange.Error](<-failed)
			if e == nil || e.Fault != exchange.ClientGone || e.Stage != exchange.Waiting {
				t.Errorf("%s: %v", name, e)
			}
		})
	}
	if _, open, free := w.Conns(); open != 0 || free != 4 {
		t.Errorf("%d open, %d cells free", open, free)
	}
}

// Wherever a worker stalls, Cancel ends the exchange.
func TestCancelAtEveryByte(t *testing.T) {
	answer := cat(head(wire.Inform, 103, 0, true), ok, text("hello"), wire.AppendEnd(nil, http.Header{"Digest": {"x"}}))
	for n := range len(answer) {
		sent := make(chan struct{})
		w := rawWorker(t, 1, func(p peer) {
			if p.request() == nil {
				p.Write(answer[:n])
				close(sent)
			}
			io.Copy(io.Discard, p)
		})
		call := &ipc.Call{Request: request(t, "GET", "/", nil)}
		go func() {
			<-sent
			call.Cancel(&exchange.Error{Fault: exchange.ClientGone})
		}()
		if err := readAll(w.Do(call)); exchange.FaultOf(err) != exchange.ClientGone {
			t.Errorf("after %d of %d bytes: %v", n, len(answer), err)
		}
		if _, open, free := w.Conns(); open != 0 || free != 1 {
			t.Errorf("after %d bytes: %d open, %d cells free", n, open, free)
		}
	}
}

// Informational answers cost no memory, however many there are, and end with the
// exchange.
func TestInformFlood(t *testing.T) {
	flood := bytes.Repeat(head(wire.Inform, 103, 0, true), 1000)
	w := rawWorker(t, 1, func(p peer) {
		if p.request() == nil {
			for {
				if _, err := p.Write(flood); err != nil {
					return
				}
			}
		}
	})
	call := &ipc.Call{Request: request(t, "GET", "/", nil)}
	n := 0
	call.Inform = func(int, http.Header) {
		if n++; n == 5000 {
			go call.Cancel(&exchange.Error{Fault: exchange.Deadline})
		}
	}
	if _, err := w.Do(call); exchange.FaultOf(err) != exchange.Deadline {
		t.Errorf("got %v", err)
	}
}

func TestHeadTooLargeHurtsNobody(t *testing.T) {
	w := rawWorker(t, 1, func(p peer) {
		for p.request() == nil {
			p.Write(hello)
		}
	})
	r := request(t, "GET", "/", nil)
	r.Header.Set("X-Huge", strings.Repeat("x", 17<<20)) // its length does not fit a frame's
	_, err := w.RoundTrip(r)
	e, _ := errors.AsType[*exchange.Error](err)
	if e == nil || e.Fault != exchange.BadRequest || e.Stage != exchange.Waiting {
		t.Errorf("got %v", err)
	}
	if _, body := ask(t, w, request(t, "GET", "/", nil)); body != "hello" {
		t.Errorf("the next request got %q", body)
	}
}

// http.RoundTripper: the body is closed, also on an error, and a body that
// blocks holds nobody up.
func TestRoundTripClosesTheBody(t *testing.T) {
	w := rawWorker(t, 2, func(p peer) {
		if p.request() == nil {
			p.Write(hello)
			io.Copy(io.Discard, p)
		}
	})
	for _, over := range []bool{false, true} {
		if over {
			w.Fail(exchange.WorkerDied)
		}
		pr, pw := io.Pipe()
		within(t, 2*time.Second, "exchange", func() {
			_ = readAll(w.RoundTrip(request(t, "POST", "/", pr)))
		})
		if _, err := pw.Write([]byte("x")); err != io.ErrClosedPipe {
			t.Errorf("the body is still open: %v", err)
		}
	}
}
