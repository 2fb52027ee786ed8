package backend_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
)

// One connection serves many at a time, and one after the other.
func TestStreamsShareAConnection(t *testing.T) {
	noLeak(t)
	var inside sync.WaitGroup
	inside.Add(20)
	b := h2c(t, func(w http.ResponseWriter, r *http.Request) {
		inside.Done()
		inside.Wait()
		io.WriteString(w, "ok")
	})
	tr := newHTTP2(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, body, err := get(t, tr, b); err != nil || body != "ok" {
				t.Error(body, err)
			}
		})
	}
	wg.Wait()
	if n := b.conns.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestUploadFollowsTheWindows(t *testing.T) {
	noLeak(t)
	const size = 100_000
	got := make(chan int, 1)
	b := frames(t, []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 10}}, func(f *framed) {
		id, n, window := f.request(), 0, 10
		for id != 0 {
			data, ok := f.next().(*http2.DataFrame)
			if !ok {
				return
			}
			if n += len(data.Data()); n > window {
				t.Errorf("%d bytes in a window of %d", n, window)
			}
			if data.StreamEnded() {
				got <- n
				f.ok(id)
				return
			}
			if n < window {
				continue
			}
			switch {
			case n == 10:
				// Less than nothing, and then a little more than nothing.
				f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
				f.WriteWindowUpdate(id, 15)
				window += 5
			default:
				f.WriteWindowUpdate(id, 30_000)
				f.WriteWindowUpdate(0, 30_000)
				window += 30_000
			}
		}
	})
	req := newRequest(t, b, "PUT", "/", io.LimitReader(endless{}, size))
	if _, body, err := run(newHTTP2(t), req); err != nil || body != "ok" {
		t.Fatal(body, err)
	}
	if n := <-got; n != size {
		t.Errorf("the backend got %d bytes", n)
	}
}

// An upload that stalls, and an answer that nobody reads, hold up themselves only.
func TestStalledStreamsHoldUpNobody(t *testing.T) {
	noLeak(t)
	b := h2c(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/stall":
			w.WriteHeader(200)
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		case "/endless":
			io.Copy(w, io.LimitReader(endless{}, 1<<30))
		default:
			io.WriteString(w, "ok")
		}
	})
	tr := newHTTP2(t)
	for _, path := range []string{"/endless", "/endless", "/stall"} {
		var body io.Reader
		if path == "/stall" {
			body = io.LimitReader(endless{}, 1<<30)
		}
		resp, err := tr.RoundTrip(newRequest(t, b, "POST", path, body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if path == "/endless" {
			eventually(t, "the window to be full", func() bool { return overrun(resp) })
		}
	}
	for range 100 {
		if _, body, err := get(t, tr, b); err != nil || body != "ok" {
			t.Fatal(body, err)
		}
	}
	if n := b.conns.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestPeersLimitOfStreams(t *testing.T) {
	raised := make(chan struct{})
	b := frames(t, []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 1}}, func(f *framed) {
		var held []uint32
		for id := f.request(); id != 0; id = f.request() {
			if f.asked[id][":path"] == "/hold" {
				held = append(held, id)
				continue
			}
			for _, id := range held {
				f.ok(id)
			}
			if f.asked[id][":path"] == "/raise" {
				f.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 5})
				close(raised)
			}
			f.ok(id)
		}
	})
	tr := newHTTP2(t)
	hold := func() *reporter {
		rep := newReporter(t.Context())
		go run(tr, newRequest(t, b, "GET", "/hold", nil).WithContext(rep))
		eventually(t, "the request to be sent", func() bool { return strings.Contains(rep.story(), "sent") })
		return rep
	}
	first := hold()
	if _, _, err := get(t, tr, b); err != nil || b.conns.Load() != 2 {
		t.Errorf("%d connections, %v; want 2", b.conns.Load(), err)
	}
	first.cancel()
	eventually(t, "the stream to end", func() bool { return strings.Contains(first.story(), "detach") })
	if _, _, err := run(tr, newRequest(t, b, "GET", "/raise", nil)); err != nil {
		t.Fatal(err)
	}
	<-raised
	if _, _, err := get(t, tr, b); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		defer hold().cancel()
	}
	if n := b.conns.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}
