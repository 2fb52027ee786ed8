package backend_test

import (
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"

	"commerce.example/coordinator/ipc/exchange"
)

// What the backend proves not to have taken up is never sent; all else is
// unknown. None of it is sent again.
func TestProofsOfNotTaken(t *testing.T) {
	for name, tc := range map[string]struct {
		script func(f *framed, id uint32)
		fault  exchange.Fault
		stage  exchange.Stage
		story  string
	}{
		"refused stream": {func(f *framed, id uint32) { f.WriteRSTStream(id, http2.ErrCodeRefusedStream); f.next() },
			exchange.BackendReset, exchange.Taken, "attach sent unsent detach"},
		"goaway below": {func(f *framed, id uint32) { f.WriteGoAway(0, http2.ErrCodeNo, nil); f.next() },
			exchange.BackendReset, exchange.Taken, "attach sent unsent detach"},
		"goaway below, with an error": {func(f *framed, id uint32) { f.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, nil) },
			exchange.BackendReset, exchange.Taken, "attach sent unsent detach"},
		"goaway at it, then the end": {func(f *framed, id uint32) { f.WriteGoAway(id, http2.ErrCodeNo, nil) },
			exchange.BackendReset, exchange.Sent, "attach sent detach"},
		"cancelled": {func(f *framed, id uint32) { f.WriteRSTStream(id, http2.ErrCodeCancel); f.next() },
			exchange.BackendReset, exchange.Sent, "attach sent detach"},
		"wants HTTP/1.1": {func(f *framed, id uint32) { f.WriteRSTStream(id, http2.ErrCodeHTTP11Required); f.next() },
			exchange.BackendProtocol, exchange.Sent, "attach sent detach"},
		"end": {func(*framed, uint32) {}, exchange.BackendReset, exchange.Sent, "attach sent detach"},
		"refused behind an informational answer": {func(f *framed, id uint32) {
			f.fields(id, false, ":status", "103")
			f.WriteRSTStream(id, http2.ErrCodeRefusedStream)
			f.next()
		}, exchange.BackendReset, exchange.Sent, "attach sent detach"},
		"refused behind the head": {func(f *framed, id uint32) {
			f.fields(id, false, ":status", "200")
			f.WriteRSTStream(id, http2.ErrCodeRefusedStream)
			f.next()
		}, exchange.BackendReset, exchange.Answered, "attach sent answered detach"},
		"goaway behind the head": {func(f *framed, id uint32) {
			f.fields(id, false, ":status", "200")
			f.WriteGoAway(0, http2.ErrCodeNo, nil)
			f.next()
		}, exchange.BackendReset, exchange.Answered, "attach sent answered detach"},
	} {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			var mu sync.Mutex
			seen := 0
			b := frames(t, nil, func(f *framed) {
				if id := f.request(); id != 0 {
					mu.Lock()
					seen++
					mu.Unlock()
					tc.script(f, id)
				}
			})
			rep := newReporter(t.Context())
			req := newRequest(t, b, "GET", "/", nil).WithContext(rep)
			req.Header.Set("Idempotency-Key", "k")
			tr := newHTTP2(t)
			_, _, err := run(tr, req)
			wantFault(t, err, tc.fault, tc.stage)
			if got := rep.story(); got != tc.story {
				t.Errorf("the exchange was told %q, want %q", got, tc.story)
			}
			if tc.stage == exchange.Answered && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%v does not wrap io.ErrUnexpectedEOF", err)
			}
			tr.Close()
			mu.Lock()
			defer mu.Unlock()
			if seen != 1 {
				t.Errorf("the backend saw %d requests, want 1", seen)
			}
		})
	}
}

// Streams up to the last one of a GOAWAY are served; the next request goes
// elsewhere.
func TestGoAwayIsGraceful(t *testing.T) {
	farewell := make(chan http2.Frame, 1)
	b := frames(t, nil, func(f *framed) {
		id := f.request()
		if f.nth > 1 {
			f.ok(id)
			f.serveAll()
			return
		}
		f.WriteGoAway(1<<31-1, http2.ErrCodeNo, nil)
		f.WriteGoAway(id, http2.ErrCodeNo, nil)
		f.ok(id)
		farewell <- f.next()
	})
	tr := newHTTP2(t)
	for range 2 {
		if _, body, err := get(t, tr, b); err != nil || body != "ok" {
			t.Fatal(body, err)
		}
	}
	eventually(t, "a second connection", func() bool { return b.conns.Load() == 2 })
	if frame, ok := (<-farewell).(*http2.GoAwayFrame); !ok { // before the transport is closed, which says nothing
		t.Errorf("got %v, want a farewell", frame)
	}
}

// A backend that goes away before it took any stream is not dialled for ever.
func TestGoAwayAtOnce(t *testing.T) {
	b := frames(t, nil, func(f *framed) {
		f.WriteGoAway(0, http2.ErrCodeNo, nil)
		f.next()
	})
	rep := newReporter(t.Context())
	_, _, err := run(newHTTP2(t), newRequest(t, b, "GET", "/", nil).WithContext(rep))
	if e, ok := errors.AsType[*exchange.Error](err); !ok || e.Stage != exchange.Taken {
		t.Errorf("got %v", err)
	}
	if n := b.conns.Load(); n > 3 {
		t.Errorf("%d connections", n)
	}
}

func TestNothingIsSentOverHTTP2AfterItWasGivenUp(t *testing.T) {
	noLeak(t)
	asked := make(chan uint32, 4)
	b := frames(t, nil, func(f *framed) {
		for id := f.request(); id != 0; id = f.request() {
			asked <- id
			f.ok(id)
		}
	})
	tr := newHTTP2(t)
	rep := newReporter(t.Context())
	rep.fenced = true
	_, _, err := run(tr, newRequest(t, b, "POST", "/", strings.NewReader("pay")).WithContext(rep))
	if e, ok := errors.AsType[*exchange.Error](err); !ok || e.Stage >= exchange.Sent {
		t.Errorf("got %v", err)
	}
	if _, _, err := get(t, tr, b); err != nil {
		t.Fatal(err)
	}
	if id := <-asked; id != 3 {
		t.Errorf("the backend saw stream %d first, want 3", id)
	}
}
