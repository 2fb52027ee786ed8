package backend_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"commerce.example/coordinator/ipc/backend"
	"commerce.example/coordinator/ipc/exchange"
)

// counted is a body without end, and how much of it was read.
type counted struct{ n atomic.Int64 }

func (c *counted) Read(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

// window is what a connection takes whose peer never makes room (RFC 9113 section
// 6.9.2).
const window = 65535

// deaf answers requests that end, and reads the others without making room for
// more. It tells of each connection whose window is used up.
func deaf(full chan<- int) func(f *framed) {
	return func(f *framed) {
		left := window
		for {
			switch frame := f.next().(type) {
			case nil:
				return
			case *http2.MetaHeadersFrame:
				if frame.StreamEnded() {
					f.ok(frame.StreamID)
				}
			case *http2.DataFrame:
				if left -= int(frame.Length); left == 0 {
					full <- f.nth
				}
				if frame.StreamEnded() {
					f.ok(frame.StreamID)
				}
			}
		}
	}
}

// abandon begins a request that its backend leaves alone. Its context is over with
// the test.
func abandon(t *testing.T, tr *backend.Transport, req *http.Request) *reporter {
	rep := newReporter(req.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, _, err := run(tr, req.WithContext(rep)); err == nil {
			t.Error("an answer to a request that was to get none")
		}
	}()
	t.Cleanup(func() { rep.cancel(); <-done })
	return rep
}

func within(t *testing.T, d time.Duration, tr *backend.Transport, req *http.Request) {
	t.Helper()
	ctx, stop := context.WithTimeout(req.Context(), d)
	defer stop()
	if _, body, err := run(tr, req.WithContext(ctx)); err != nil || body != "ok" {
		t.Errorf("%s %s: %q, %v", req.Method, req.URL.Path, body, err)
	}
}

// A body that the backend does not read takes the connection's window. Requests
// with bodies then go elsewhere; those without stay.
func TestUnreadUploadHoldsUpNoOther(t *testing.T) {
	noLeak(t)
	full := make(chan int, 8)
	b := frames(t, nil, deaf(full))
	tr := newHTTP2(t)
	abandon(t, tr, newRequest(t, b, "POST", "/", new(counted)))
	<-full
	for _, body := range []io.Reader{nil, strings.NewReader("at hand"), io.LimitReader(endless{}, 20_000), nil} {
		within(t, patience/2, tr, newRequest(t, b, "POST", "/", body))
	}
	if n := b.conns.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// A backend that reads no body at all does not get a connection for each.
func TestUnreadUploadsHaveFewConnections(t *testing.T) {
	noLeak(t)
	full := make(chan int, 16)
	b := frames(t, nil, deaf(full))
	tr := newHTTP2(t)
	for i := range 8 {
		rep := abandon(t, tr, newRequest(t, b, "POST", "/", new(counted)))
		eventually(t, "the head to be sent", func() bool { return strings.Contains(rep.story(), "sent") })
		if i < 4 {
			<-full
		}
	}
	within(t, patience/2, tr, newRequest(t, b, "GET", "/", nil))
	if n := b.conns.Load(); n != 4 {
		t.Errorf("%d connections, want 4", n)
	}
}

// Who waits for a connection that does not come takes what gets free meanwhile: a
// place, or room.
func TestWhatGetsFreeIsTaken(t *testing.T) {
	for name, tc := range map[string]struct {
		settings []http2.Setting
		body     io.Reader // of the request that is in the way
		free     func(f *framed, id uint32)
	}{
		"a place": {[]http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 1}}, nil,
			func(f *framed, id uint32) { f.WriteRSTStream(id, http2.ErrCodeCancel) }},
		"more places": {[]http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 1}}, nil,
			func(f *framed, id uint32) {
				f.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 2})
			}},
		"room": {nil, new(counted), func(f *framed, id uint32) { f.WriteWindowUpdate(0, 1000) }},
	} {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			begun, free := make(chan struct{}), make(chan struct{})
			b := serve(t, func(p *peer) {
				if p.nth > 1 {
					io.Copy(io.Discard, p) // it says nothing
					return
				}
				f := p.framed(t)
				f.WriteSettings(tc.settings...)
				id := f.request()
				for left := window; tc.body != nil && left > 0; {
					left -= int(f.next().(*http2.DataFrame).Length)
				}
				close(begun)
				<-free
				tc.free(f, id)
				f.serveAll()
			})
			tr := newHTTP2(t)
			tr.DialTimeout = patience
			abandon(t, tr, newRequest(t, b, "POST", "/", tc.body))
			<-begun
			served := make(chan struct{})
			go func() {
				defer close(served)
				within(t, patience/2, tr, newRequest(t, b, "POST", "/", strings.NewReader("body")))
			}()
			eventually(t, "a second connection", func() bool { return b.conns.Load() == 2 })
			close(free)
			<-served
		})
	}
}

// A place on a connection without room is no use to the first who waits, if it has
// a body, but to the next who has none.
func TestPlaceIsPassedOn(t *testing.T) {
	noLeak(t)
	full, free := make(chan struct{}), make(chan struct{})
	b := serve(t, func(p *peer) {
		if p.nth > 1 {
			io.Copy(io.Discard, p) // it says nothing
			return
		}
		f := p.framed(t)
		f.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 2})
		for left := window; left > 0; {
			if data, ok := f.next().(*http2.DataFrame); ok {
				left -= int(data.Length)
			}
		}
		id := f.request()
		close(full)
		<-free
		f.ok(id)
		f.serveAll()
	})
	tr := newHTTP2(t)
	tr.DialTimeout = patience
	abandon(t, tr, newRequest(t, b, "POST", "/stalled", new(counted)))
	eventually(t, "the first connection", func() bool { return b.conns.Load() == 1 })
	first := make(chan struct{})
	go func() {
		defer close(first)
		within(t, patience/2, tr, newRequest(t, b, "GET", "/first", nil))
	}()
	<-full
	abandon(t, tr, newRequest(t, b, "POST", "/narrow", strings.NewReader("body")))
	eventually(t, "the POST in line", func() bool { return backend.Waiting(tr) == 1 })
	second := make(chan struct{})
	go func() {
		defer close(second)
		within(t, patience/2, tr, newRequest(t, b, "GET", "/second", nil))
	}()
	eventually(t, "the GET in line", func() bool { return backend.Waiting(tr) == 2 })
	close(free)
	<-first
	<-second
}

// A second connection that cannot be had fails nobody who can do without.
func TestFailedSpareFailsNobody(t *testing.T) {
	noLeak(t)
	full, free := make(chan int, 1), make(chan struct{})
	b := serve(t, func(p *peer) {
		if p.nth > 1 {
			return
		}
		f := p.framed(t)
		f.WriteSettings()
		for left := window; left > 0; {
			if data, ok := f.next().(*http2.DataFrame); ok {
				left -= int(data.Length)
			}
		}
		full <- 1
		if f.request() != 3 {
			t.Error("the second request did not come here")
		}
		<-free
		f.WriteWindowUpdate(0, 1<<20)
		for data, ok := f.next().(*http2.DataFrame); ok && data.StreamID != 3; {
			data, ok = f.next().(*http2.DataFrame)
		}
		f.ok(3)
		f.serveAll()
	})
	tr := newHTTP2(t)
	abandon(t, tr, newRequest(t, b, "POST", "/", io.MultiReader(strings.NewReader(strings.Repeat("x", window)), blocked{t.Context()})))
	<-full
	rep := newReporter(t.Context())
	served := make(chan struct{})
	go func() {
		defer close(served)
		within(t, patience/2, tr, newRequest(t, b, "POST", "/", strings.NewReader("body")).WithContext(rep))
	}()
	eventually(t, "the request to be sent", func() bool { return strings.Contains(rep.story(), "sent") })
	close(free)
	<-served
}

// blocked is a body that stays behind.
type blocked struct{ context.Context }

func (b blocked) Read([]byte) (int, error) {
	<-b.Done()
	return 0, b.Err()
}

// A connection past its age serves until the next one stands, and then no more.
func TestSuccessorStandsFirst(t *testing.T) {
	for name, refused := range map[string]bool{"slow": false, "refused": true} {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			stands, ended := make(chan struct{}), make(chan struct{})
			b := serve(t, func(p *peer) {
				switch {
				case p.nth == 1:
					defer close(ended)
				case refused && p.nth == 2:
					return
				default:
					<-stands
				}
				if f := p.framed(t); f != nil {
					f.WriteSettings()
					f.serveAll()
				}
			})
			tr := newHTTP2(t)
			tr.ConnMaxAge, tr.DialTimeout = time.Nanosecond, patience
			for range 3 {
				within(t, patience/2, tr, newRequest(t, b, "GET", "/", nil))
			}
			eventually(t, "a second connection", func() bool { return b.conns.Load() >= 2 })
			close(stands)
			eventually(t, "the old connection to end", func() bool {
				within(t, patience/2, tr, newRequest(t, b, "GET", "/", nil))
				select {
				case <-ended:
					return true
				default:
					return false
				}
			})
		})
	}
}

// A request that waits for its turn to write, behind somebody whose peer does not
// read, leaves when its time is over. Nothing of it was sent.
func TestWaitForTheTurnEnds(t *testing.T) {
	noLeak(t)
	over := make(chan struct{})
	b := frames(t, []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1}}, func(f *framed) {
		f.WriteWindowUpdate(0, 1<<31-1-window)
		<-over
	})
	defer close(over)
	tr := newHTTP2(t)
	upload := new(counted)
	abandon(t, tr, newRequest(t, b, "POST", "/", upload))
	last, same := int64(0), 0
	eventually(t, "the upload to stall", func() bool {
		n := upload.n.Load()
		if same++; n != last || n == 0 {
			last, same = n, 0
		}
		return same > 200
	})
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	begun := time.Now()
	_, err := tr.RoundTrip(newRequest(t, b, "GET", "/", nil).WithContext(ctx))
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	wantFault(t, err, exchange.BackendTimeout, exchange.Taken)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
