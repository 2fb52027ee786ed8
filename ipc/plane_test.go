package ipc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/ipc/board"
	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/ipc/wire"
)

// planeEnds is what the two ends of a data plane share.
func planeEnds(t testing.TB, cells uint32) (socket string, ln *net.UnixListener, b *board.Board) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	b, f, err := board.Create(cells + 1)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	return socket, ln, b
}

// plane serves h in this process, where the race detector sees both ends.
func plane(t testing.TB, cells uint32, h http.HandlerFunc) (w *ipc.Worker, socket string) {
	t.Helper()
	w, socket, _ = planeAndBoard(t, cells, h)
	return w, socket
}

func planeAndBoard(t testing.TB, cells uint32, h http.HandlerFunc) (*ipc.Worker, string, *board.Board) {
	t.Helper()
	socket, ln, b := planeEnds(t, cells)
	stop := ipc.StartPlane(ipc.Server{Handler: h, ReportsStage: true}, ln, b)
	w := ipc.Attach(socket, b)
	t.Cleanup(func() {
		w.Fail(exchange.WorkerDied)
		stop()
	})
	return w, socket, b
}

// A goroutine that a handler leaves behind goes on writing its answer and
// reading its request. Nobody else may see any of it.
func TestHandlerThatGoesOnAfterItsReturn(t *testing.T) {
	var left sync.WaitGroup
	t.Cleanup(left.Wait) // after the plane's, when no handler starts another
	w, _ := plane(t, 8, func(w http.ResponseWriter, r *http.Request) {
		id := r.FormValue("id")
		late := []byte(strings.Repeat("late "+id+" ", 50))
		left.Go(func() {
			for range 50 {
				w.Write(late)
				w.(http.Flusher).Flush()
				w.WriteHeader(500)
				runtime.Gosched()
			}
			_, _, err := w.(http.Hijacker).Hijack()
			ipc.Fail(w, errors.New("late"))
			if err == nil {
				t.Error("hijacked after the return")
			}
		})
		left.Go(func() {
			for range 50 {
				io.ReadFull(r.Body, make([]byte, 3))
			}
		})
		if len(id)%2 == 0 {
			left.Go(func() { io.Copy(w, strings.NewReader("late "+id)) })
		}
	})
	var clients sync.WaitGroup
	for g := range 8 {
		clients.Go(func() {
			for i := range 40 {
				id := fmt.Sprintf("%d.%d", g, i*i)
				r := request(t, "POST", "/?id="+id, strings.NewReader(strings.Repeat("body", 100*i)))
				if i%3 == 0 {
					r.Header.Set("Expect", "100-continue")
				}
				resp, err := w.Do(&ipc.Call{Request: r})
				if err != nil {
					continue // a torn answer may be lost, but not be another's
				}
				b, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if rest := strings.ReplaceAll(string(b), "late "+id, ""); strings.Contains(rest, "late") {
					t.Errorf("%s got %.80q", id, b)
				}
			}
		})
	}
	clients.Wait()
}

// A body that is asked for when the answer is over would leave the connection
// with a frame too many.
func TestBodyReadAfterTheReturn(t *testing.T) {
	returned := make(chan struct{}, 1)
	read := make(chan error, 1)
	w, _ := plane(t, 1, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			go func() {
				<-returned
				_, err := r.Body.Read(make([]byte, 1))
				read <- err
			}()
		}
	})
	r := request(t, "POST", "/", strings.NewReader("body"))
	r.Header.Set("Expect", "100-continue")
	ask(t, w, r)
	returned <- struct{}{}
	if err := <-read; !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Errorf("late read: %v", err)
	}
	ask(t, w, request(t, "GET", "/", nil))
	if _, open, _ := w.Conns(); open != 1 {
		t.Errorf("%d connections", open)
	}
}

// A handler may end its goroutine, as testing.T.FailNow does. The exchange ends
// with it.
func TestGoexitEndsTheExchange(t *testing.T) {
	w, _ := plane(t, 1, func(http.ResponseWriter, *http.Request) { runtime.Goexit() })
	within(t, 2*time.Second, "exchange", func() {
		if _, err := w.RoundTrip(request(t, "GET", "/", nil)); exchange.FaultOf(err) == "" {
			t.Errorf("got %v", err)
		}
	})
}

func TestContextEndsWithTheHandler(t *testing.T) {
	contexts := make(chan context.Context, 1)
	var after atomic.Int32
	w, _ := plane(t, 2, func(w http.ResponseWriter, r *http.Request) {
		context.AfterFunc(r.Context(), func() { after.Add(1) })
		stop := context.AfterFunc(r.Context(), func() { after.Add(100) })
		if !stop() || stop() {
			t.Error("an AfterFunc is stopped once")
		}
		derived, cancel := context.WithTimeout(r.Context(), time.Hour)
		context.AfterFunc(r.Context(), cancel)
		contexts <- derived
		if r.URL.Path == "/hijack" {
			c, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	for i, target := range []string{"/", "/hijack"} {
		ask(t, w, request(t, "GET", target, nil))
		ctx := <-contexts
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Second):
			t.Fatalf("%s: the context outlives its handler", target)
		}
		eventually(t, 5*time.Second, "AfterFunc", func() bool { return after.Load() == int32(i+1) })
		if !errors.Is(ctx.Err(), context.Canceled) || exchange.From(ctx) == nil {
			t.Errorf("%s: %v", target, ctx.Err())
		}
	}
}

// The client chooses the target: what the worker cannot parse is his mistake and
// no death of the worker.
func TestOddTargets(t *testing.T) {
	w, _ := plane(t, 1, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RequestURI) })
	for target, fault := range map[string]exchange.Fault{
		"*": "", "/": "", "//x": "", "/a b": "", "/\xff\x00"[:2]: "", "http://h/p?%": "", "/?%zz;": "",
		"/%zz": exchange.BadRequest, "x": exchange.BadRequest, "/\x00": exchange.BadRequest, "http://[::1": exchange.BadRequest,
	} {
		for _, method := range []string{"GET", "OPTIONS", "CONNECT", "M-SEARCH", "g\x00t"} {
			r := request(t, "GET", "/", nil)
			r.Method, r.RequestURI = method, target
			err := readAll(w.RoundTrip(r))
			if exchange.FaultOf(err) != fault {
				t.Errorf("%s %q: %v, want %q", method, target, err, fault)
			}
		}
	}
	if idle, open, _ := w.Conns(); idle != 1 || open != 1 {
		t.Errorf("%d connections at rest of %d", idle, open)
	}
}

// A head or trailer that does not fit a frame is a failure and not a stream of
// frames that its author chose.
func TestAnswerHeadTooLarge(t *testing.T) {
	huge := strings.Repeat("\x03\x00\x00\x01x\x04\x00\x00\x00", 2<<20)
	w, _ := plane(t, 1, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/head":
			w.Header().Set("X-Huge", huge)
			io.WriteString(w, "body")
		case "/hint":
			w.Header().Set("X-Huge", huge)
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Del("X-Huge")
		case "/trailer":
			io.WriteString(w, "body")
			w.Header().Set(http.TrailerPrefix+"X-Huge", huge)
		}
	})
	for target, fault := range map[string]exchange.Fault{
		"/head": exchange.WorkerProtocol, "/trailer": exchange.WorkerProtocol, "/hint": "", "/": "",
	} {
		if err := readAll(w.RoundTrip(request(t, "GET", target, nil))); exchange.FaultOf(err) != fault {
			t.Errorf("%s: %v", target, err)
		}
	}
}

// scissors passes connections on to socket and cuts each after so many bytes of
// one direction.
func scissors(t *testing.T, socket string, after int64, answers bool) (cut string) {
	t.Helper()
	cut = filepath.Join(t.TempDir(), "s")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: cut, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			near, err := ln.AcceptUnix()
			if err != nil {
				return
			}
			far, err := net.Dial("unix", socket)
			if err != nil {
				near.Close()
				continue
			}
			from, to := net.Conn(near), far
			if answers {
				from, to = to, from
			}
			running.Go(func() { io.Copy(from, to); from.Close(); to.Close() })
			running.Go(func() { io.CopyN(to, from, after); from.Close(); to.Close() })
		}
	})
	t.Cleanup(func() { ln.Close(); running.Wait() })
	return cut
}

// An exchange is cut at every byte of either direction. It never looks whole
// when it was not, and what it says of the stage holds: a handler that was told
// that it may send has been told before.
func TestCutAtEveryByte(t *testing.T) {
	var sent atomic.Int64 // handlers that were allowed to send
	handler := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Digest")
		body, err := io.ReadAll(r.Body)
		if err != nil {
			ipc.Fail(w, &exchange.Error{Fault: exchange.ClientGone, Err: err})
			return
		}
		if !exchange.From(r.Context()).Sent() {
			return
		}
		sent.Add(1)
		w.Write(body)
		w.(http.Flusher).Flush()
		w.Write(body)
		w.Header().Set("Digest", "abc")
	}
	const body = "a body of some bytes"
	for _, answers := range []bool{false, true} {
		whole := false
		for n := int64(0); !whole && n < 1000; n++ {
			t.Run(fmt.Sprint(answers, n), func(t *testing.T) {
				sent.Store(0)
				_, socket, b := planeAndBoard(t, 1, handler)
				w := ipc.Attach(scissors(t, socket, n, answers), b)
				defer w.Fail(exchange.WorkerDied)
				resp, err := w.RoundTrip(request(t, "POST", "/", strings.NewReader(body)))
				var got []byte
				if err == nil {
					got, err = io.ReadAll(resp.Body)
					resp.Body.Close()
				}
				e, failed := errors.AsType[*exchange.Error](err)
				switch {
				case err == nil:
					whole = true
					if string(got) != body+body || resp.Trailer.Get("Digest") != "abc" {
						t.Errorf("%q %v looks whole", got, resp.Trailer)
					}
				case !failed:
					t.Errorf("got %v", err)
				case e.Stage < exchange.Sent && sent.Load() > 0:
					t.Errorf("sent, and the stage is %v", e.Stage)
				case !strings.HasPrefix(body+body, string(got)):
					t.Errorf("got %q", got)
				}
			})
		}
		if !whole {
			t.Error("no exchange came through")
		}
	}
}

// Stage and Fence agree with what the handler was told, however Cancel falls.
func TestStageNeverLies(t *testing.T) {
	sent := make(map[string]bool)
	var mu sync.Mutex
	w, _ := plane(t, 8, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock() // with the stage, as a backend that counts would
		if exchange.From(r.Context()).Sent() {
			sent[r.FormValue("id")] = true
		}
		mu.Unlock()
		io.WriteString(w, "done")
	})
	var clients sync.WaitGroup
	for g := range 8 {
		clients.Go(func() {
			for i := range 200 {
				id := fmt.Sprint(g, ".", i)
				call := &ipc.Call{Request: request(t, "GET", "/?id="+id, nil)}
				go func() {
					for range i % 40 {
						runtime.Gosched()
					}
					call.Cancel(&exchange.Error{Fault: exchange.ClientGone})
				}()
				e, failed := errors.AsType[*exchange.Error](readAll(w.Do(call)))
				if !failed || e.Stage >= exchange.Sent {
					continue
				}
				mu.Lock()
				lied := sent[id]
				mu.Unlock()
				if lied {
					t.Errorf("%s was sent, and its stage is %v", id, e.Stage)
				}
			}
		})
	}
	clients.Wait()
	eventually(t, 5*time.Second, "cells back", func() bool {
		idle, open, free := w.Conns()
		return idle == open && open+free == 8
	})
}

// A transport that has proof takes back what it reported, but not what another
// call of the same handler did.
func TestUnsent(t *testing.T) {
	w, _ := plane(t, 4, func(w http.ResponseWriter, r *http.Request) {
		rep := exchange.From(r.Context())
		for range len(r.URL.Path) - 1 {
			rep.Sent()
		}
		rep.(exchange.Retractor).Unsent()
		ipc.Fail(w, &exchange.Error{Fault: exchange.BackendReset, Err: io.ErrUnexpectedEOF})
	})
	for path, want := range map[string]exchange.Stage{
		"/": exchange.Taken, "/1": exchange.Taken, "/12": exchange.Sent,
	} {
		req, _ := http.NewRequest("POST", "http://x"+path, nil)
		_, err := w.RoundTrip(req)
		e, ok := errors.AsType[*exchange.Error](err)
		if !ok || e.Fault != exchange.BackendReset || e.Stage != want {
			t.Errorf("%s: %v, want stage %v", path, err, want)
		}
	}
}

// Of two calls that a handler makes at a time, one that came to nothing does not
// hide that the other was sent.
func TestUnsentBesideSent(t *testing.T) {
	w, _ := plane(t, 1, func(w http.ResponseWriter, r *http.Request) {
		rep := exchange.From(r.Context())
		rep.Sent()
		start := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { <-start; rep.(exchange.Retractor).Unsent() })
		wg.Go(func() { <-start; rep.Sent() })
		close(start)
		wg.Wait()
		ipc.Fail(w, &exchange.Error{Fault: exchange.BackendReset, Err: io.ErrUnexpectedEOF})
	})
	for range 3000 {
		req, _ := http.NewRequest("POST", "http://x/", nil)
		_, err := w.RoundTrip(req)
		if e, ok := errors.AsType[*exchange.Error](err); !ok || e.Stage != exchange.Sent {
			t.Fatalf("%v, want stage %v", err, exchange.Sent)
		}
	}
}

// A supervisor's frames are trusted with more, yet none makes a worker panic.
func TestWorkerRefusesFrames(t *testing.T) {
	_, socket := plane(t, 1, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	hi := wire.AppendHello(nil, 0)
	req := wire.AppendRequest(nil, &wire.RequestHead{Seq: 1, Method: "POST", Target: "/", ContentLength: -1})
	for name, b := range map[string][]byte{
		"no hello":        req,
		"hello twice":     cat(hi, hi),
		"no such cell":    wire.AppendHello(nil, 2),
		"empty request":   cat(hi, frame(wire.Request)),
		"an answer":       cat(hi, ok),
		"data first":      cat(hi, text("x")),
		"garbage":         bytes.Repeat([]byte{0xff}, 100),
		"foreign in body": cat(hi, req, frame(wire.Probe)),
		"bad trailers":    cat(hi, req, frame(wire.End, 9)),
	} {
		c, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(5 * time.Second))
		c.Write(b)
		if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: the worker keeps the connection: %v", name, err)
		}
		c.Close()
	}
}

// A worker with all its connections in use is busy, not dead.
func TestProbeHasRoom(t *testing.T) {
	entered := make(chan struct{})
	w, _ := plane(t, 1, func(_ http.ResponseWriter, r *http.Request) { close(entered); <-r.Context().Done() })
	call := &ipc.Call{Request: request(t, "GET", "/", nil)}
	failed := make(chan error, 1)
	go func() { _, err := w.Do(call); failed <- err }()
	<-entered
	late, cancel := context.WithCancel(t.Context())
	cancel()
	for range 3 {
		_ = w.Probe(late) // loses its connection
		if err := w.Probe(t.Context()); err != nil {
			t.Errorf("probe of a busy worker: %v", err)
		}
	}
	_, err := w.RoundTrip(request(t, "GET", "/", nil))
	if !errors.Is(err, ipc.ErrNoConnection) {
		t.Errorf("a second exchange on one connection: %v", err)
	}
	call.Cancel(&exchange.Error{Fault: exchange.ClientGone})
	<-failed
}
