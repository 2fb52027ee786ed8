package backend_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"commerce.example/coordinator/ipc/backend"
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

func TestHTTP2Head(t *testing.T) {
	heads := make(chan map[string]string, 1)
	b := frames(t, nil, func(f *framed) {
		for id := f.request(); id != 0; id = f.request() {
			heads <- f.asked[id]
			f.ok(id)
		}
	})
	req := newRequest(t, b, "PUT", "/", strings.NewReader("12"))
	req.URL.Opaque, req.Host = "//a%2f..", "shop.example"
	req.Header = header("Connection", "X-Hop", "Keep-Alive", "5", "Proxy-Connection", "x", "Te", "trailers",
		"Transfer-Encoding", "chunked", "Host", "y", "Content-Length", "9", "X-Blank", " v ")
	req.Header["x-raw"] = []string{"1"}
	if _, body, err := run(newHTTP2(t), req); err != nil || body != "ok" {
		t.Fatal(body, err)
	}
	want := map[string]string{":method": "PUT", ":scheme": "http", ":authority": "shop.example", ":path": "//a%2f..",
		"te": "trailers", "content-length": "2", "x-blank": "v", "x-raw": "1"}
	if got := <-heads; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got\n%v, want\n%v", got, want)
	}
}

func TestFieldsBeyondThePeersLimit(t *testing.T) {
	b := frames(t, []http2.Setting{{ID: http2.SettingMaxHeaderListSize, Val: 1000}}, (*framed).serveAll)
	tr := newHTTP2(t)
	req := newRequest(t, b, "GET", "/", nil)
	req.Header.Set("X", strings.Repeat("x", 1000))
	_, _, err := run(tr, req)
	wantFault(t, err, exchange.BadRequest, exchange.Taken)
	if _, body, err := get(t, tr, b); err != nil || body != "ok" {
		t.Fatal(body, err)
	}
}

func TestBadRequestTouchesNoHTTP2Backend(t *testing.T) {
	b := frames(t, nil, (*framed).serveAll)
	tr := newHTTP2(t)
	for name, spoil := range map[string]func(*http.Request){
		"line feed in a value": func(r *http.Request) { r.Header.Set("A", "x\nB: y") },
		"pseudo field":         func(r *http.Request) { r.Header[":path"] = []string{"/x"} },
		"method":               func(r *http.Request) { r.Method = "GET /" },
		"blank in the target":  func(r *http.Request) { r.URL.Opaque = "/ x" },
		"host":                 func(r *http.Request) { r.Host = "a b" },
		"no host":              func(r *http.Request) { r.URL.Host = "" },
		"trailer name": func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader("x")), -1
			r.Trailer = http.Header{"Content-Length": nil}
		},
	} {
		t.Run(name, func(t *testing.T) {
			req := newRequest(t, b, "GET", "/", nil)
			spoil(req)
			_, _, err := run(tr, req)
			wantFault(t, err, exchange.BadRequest, exchange.Taken)
		})
	}
	if n := b.conns.Load(); n != 0 {
		t.Errorf("the backend saw %d connections", n)
	}
}

func TestHTTP2AnswersRefused(t *testing.T) {
	flood := func(f *framed, id uint32) {
		for range 200 {
			f.fields(id, false, ":status", "103", "link", "x")
		}
	}
	for name, tc := range map[string]struct {
		stage  exchange.Stage
		answer func(f *framed, id uint32)
	}{
		"no status":          {exchange.Sent, func(f *framed, id uint32) { f.fields(id, true, "a", "b") }},
		"two digits":         {exchange.Sent, func(f *framed, id uint32) { f.fields(id, true, ":status", "20") }},
		"no number":          {exchange.Sent, func(f *framed, id uint32) { f.fields(id, true, ":status", "2x0") }},
		"101":                {exchange.Sent, func(f *framed, id uint32) { f.fields(id, true, ":status", "101") }},
		"request's fields":   {exchange.Sent, func(f *framed, id uint32) { f.fields(id, true, ":status", "200", ":path", "/") }},
		"unknown pseudo":     {exchange.Sent, func(f *framed, id uint32) { f.fields(id, true, ":status", "200", ":x", "/") }},
		"upper case":         {exchange.Sent, func(f *framed, id uint32) { f.fields(id, true, ":status", "200", "A", "b") }},
		"control bytes":      {exchange.Sent, func(f *framed, id uint32) { f.fields(id, true, ":status", "200", "a", "b\n") }},
		"1xx that ends":      {exchange.Sent, func(f *framed, id uint32) { f.fields(id, true, ":status", "103") }},
		"flood of 103":       {exchange.Sent, flood},
		"data first":         {exchange.Sent, func(f *framed, id uint32) { f.WriteData(id, true, []byte("x")) }},
		"head too large":     {exchange.Sent, func(f *framed, id uint32) { f.fields(id, true, ":status", "200", "a", strings.Repeat("x", 1<<21)) }},
		"push":               {exchange.Sent, func(f *framed, id uint32) { f.WriteRawFrame(http2.FramePushPromise, 4, id, []byte{0, 0, 0, 2}) }},
		"stream never begun": {exchange.Sent, func(f *framed, id uint32) { f.WriteWindowUpdate(id+2, 1) }},
		"window overflow":    {exchange.Sent, func(f *framed, id uint32) { f.WriteWindowUpdate(id, 1<<31-1) }},
		"garbage":            {exchange.Sent, func(f *framed, id uint32) { f.say("HTTP/1.1 400 Bad Request\r\n\r\n") }},
		"connection field":   {exchange.Answered, func(f *framed, id uint32) { f.fields(id, true, ":status", "200", "connection", "close") }},
		"transfer-encoding":  {exchange.Answered, func(f *framed, id uint32) { f.fields(id, true, ":status", "200", "transfer-encoding", "chunked") }},
		"two lengths": {exchange.Answered, func(f *framed, id uint32) {
			f.fields(id, true, ":status", "200", "content-length", "0", "content-length", "0")
		}},
		"length with sign": {exchange.Answered, func(f *framed, id uint32) { f.fields(id, true, ":status", "200", "content-length", "+0") }},
		"no data":          {exchange.Answered, func(f *framed, id uint32) { f.fields(id, true, ":status", "200", "content-length", "2") }},
		"less data": {exchange.Answered, func(f *framed, id uint32) {
			f.fields(id, false, ":status", "200", "content-length", "2")
			f.WriteData(id, true, []byte("x"))
		}},
		"more data": {exchange.Answered, func(f *framed, id uint32) {
			f.fields(id, false, ":status", "200", "content-length", "2")
			f.WriteData(id, true, []byte("xyz"))
		}},
		"data for a 204": {exchange.Answered, func(f *framed, id uint32) {
			f.fields(id, false, ":status", "204")
			f.WriteData(id, true, []byte("x"))
		}},
		"trailers that go on": {exchange.Answered, func(f *framed, id uint32) {
			f.fields(id, false, ":status", "200")
			f.fields(id, false, "a", "b")
		}},
		"trailers with a status": {exchange.Answered, func(f *framed, id uint32) {
			f.fields(id, false, ":status", "200")
			f.fields(id, true, ":status", "200")
		}},
		"trailer that frames": {exchange.Answered, func(f *framed, id uint32) {
			f.fields(id, false, ":status", "200")
			f.fields(id, true, "content-length", "0")
		}},
		"beyond the window": {exchange.Answered, func(f *framed, id uint32) {
			f.fields(id, false, ":status", "200")
			for range 20 {
				f.WriteData(id, false, make([]byte, 16<<10))
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			var reset atomic.Bool
			b := frames(t, nil, func(f *framed) {
				if id := f.request(); id != 0 {
					tc.answer(f, id)
					reset.Store(f.reset() != nil)
					f.next()
				}
			})
			tr := newHTTP2(t)
			resp, err := tr.RoundTrip(newRequest(t, b, "GET", "/", nil))
			if err == nil {
				if name == "beyond the window" { // a reader that reads would make room
					eventually(t, "the stream to be refused", reset.Load)
				}
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			wantFault(t, err, exchange.BackendProtocol, tc.stage)
			tr.Close()
		})
	}
}

// overrun reports that all the window has come.
func overrun(resp *http.Response) bool {
	return resp.Body.(interface{ Buffered() int }).Buffered() >= 256<<10
}

func TestHTTP2AnswersTaken(t *testing.T) {
	b := frames(t, nil, func(f *framed) {
		for id := f.request(); id != 0; id = f.request() {
			switch f.asked[id][":path"] {
			case "/trailers":
				f.fields(id, false, ":status", "200", "trailer", "x-a")
				f.WriteDataPadded(id, false, []byte("padded"), make([]byte, 100))
				f.fields(id, true, "x-a", "1", "x-b", "2")
			case "/nothing":
				f.fields(id, true, ":status", "200")
			case "/later": // the end comes alone
				f.fields(id, false, ":status", "200", "content-length", "2")
				f.WriteData(id, false, []byte("ok"))
				f.WriteData(id, true, nil)
			case "/head":
				f.fields(id, true, ":status", "200", "content-length", "100")
			case "/unread": // an answer, and the rest of the request is not wanted
				f.fields(id, false, ":status", "200", "content-length", "2")
				f.WriteData(id, true, []byte("ok"))
				f.WriteRSTStream(id, http2.ErrCodeNo)
			}
		}
	})
	tr := newHTTP2(t)
	for _, tc := range []struct {
		method, path, body, trailer string
		length                      int64
	}{
		{"GET", "/trailers", "padded", "map[X-A:[1] X-B:[2]]", -1}, {"GET", "/nothing", "", "map[]", 0},
		{"GET", "/later", "ok", "map[]", 2}, {"HEAD", "/head", "", "map[]", 100}, {"POST", "/unread", "ok", "map[]", 2},
	} {
		req := newRequest(t, b, tc.method, tc.path, nil)
		if tc.method == "POST" {
			body, feed := io.Pipe()
			req.Body = body
			defer feed.Close()
		}
		resp, body, err := run(tr, req)
		if err != nil || body != tc.body || resp.ContentLength != tc.length || fmt.Sprint(resp.Trailer) != tc.trailer {
			t.Errorf("%s: %q, %v, %v", tc.path, body, resp, err)
		}
	}
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

func TestCancelResetsTheStream(t *testing.T) {
	noLeak(t)
	resets := make(chan http2.ErrCode, 1)
	b := frames(t, nil, func(f *framed) {
		f.request()
		if r := f.reset(); r != nil {
			resets <- r.ErrCode
		}
		f.serveAll()
	})
	tr := newHTTP2(t)
	rep := newReporter(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, _, err := run(tr, newRequest(t, b, "GET", "/", nil).WithContext(rep))
		failed <- err
	}()
	eventually(t, "the request to be sent", func() bool { return strings.Contains(rep.story(), "sent") })
	begun := time.Now()
	rep.cancel()
	if code := <-resets; code != http2.ErrCodeCancel {
		t.Errorf("reset with %v", code)
	}
	if took := time.Since(begun); took > 100*time.Millisecond {
		t.Errorf("after %v", took)
	}
	wantFault(t, <-failed, exchange.ClientGone, exchange.Sent)
	if _, body, err := get(t, tr, b); err != nil || body != "ok" || b.conns.Load() != 1 {
		t.Errorf("%q, %v, %d connections", body, err, b.conns.Load())
	}
}

func TestHTTP2Deadline(t *testing.T) {
	b := frames(t, nil, func(f *framed) { f.request(); f.reset() })
	tr := newHTTP2(t)
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer stop()
	_, err := tr.RoundTrip(newRequest(t, b, "GET", "/", nil).WithContext(ctx))
	e, ok := errors.AsType[*exchange.Error](err)
	if !ok || e.Fault != exchange.BackendTimeout || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// A backend that is gone without a word: no end of the connection, no answer to
// a ping.
func TestLostConnection(t *testing.T) {
	noLeak(t)
	over := make(chan struct{})
	b := frames(t, nil, func(f *framed) {
		f.request()
		<-over
	})
	defer close(over)
	tr := newHTTP2(t)
	tr.ReadIdleTimeout, tr.PingTimeout = 20*time.Millisecond, 20*time.Millisecond
	_, _, err := get(t, tr, b)
	wantFault(t, err, exchange.BackendReset, exchange.Sent)
}

// One that answers pings is slow, not gone.
func TestSlowConnectionLives(t *testing.T) {
	b := frames(t, nil, func(f *framed) {
		id, pings := f.request(), 0
		for pings < 3 {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if p, ok := frame.(*http2.PingFrame); ok {
				f.WritePing(true, p.Data)
				pings++
			}
		}
		f.ok(id)
		f.serveAll()
	})
	tr := newHTTP2(t)
	tr.ReadIdleTimeout, tr.PingTimeout = 10*time.Millisecond, 5*time.Second
	if _, body, err := get(t, tr, b); err != nil || body != "ok" {
		t.Error(body, err)
	}
}

func TestHTTP2BodyFails(t *testing.T) {
	noLeak(t)
	gone := errors.New("the caller's wire broke")
	resets := make(chan *http2.RSTStreamFrame, 1)
	b := frames(t, nil, func(f *framed) {
		f.request()
		resets <- f.reset()
		f.serveAll()
	})
	tr := newHTTP2(t)
	body, feed := io.Pipe()
	go func() {
		io.WriteString(feed, "begun")
		feed.CloseWithError(gone)
	}()
	_, _, err := run(tr, newRequest(t, b, "POST", "/", body))
	wantFault(t, err, exchange.ClientGone, exchange.Sent)
	if !errors.Is(err, gone) {
		t.Error(err)
	}
	if r := <-resets; r == nil {
		t.Error("the backend took half a body for a whole one")
	}
}

func TestHTTP2CloseEndsABodyUnread(t *testing.T) {
	noLeak(t)
	resets := make(chan *http2.RSTStreamFrame, 1)
	b := frames(t, nil, func(f *framed) {
		id := f.request()
		f.fields(id, false, ":status", "200")
		f.WriteData(id, false, []byte("begun"))
		resets <- f.reset()
	})
	resp, err := newHTTP2(t).RoundTrip(newRequest(t, b, "GET", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if r := <-resets; r == nil || r.ErrCode != http2.ErrCodeCancel {
		t.Errorf("got %v", r)
	}
	if _, err := resp.Body.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("read after Close: %v", err)
	}
}

func TestCloseEndsHTTP2(t *testing.T) {
	noLeak(t)
	b := frames(t, nil, func(f *framed) { f.request(); f.next() })
	tr := &backend.Transport{Protocol: backend.HTTP2}
	rep := newReporter(t.Context())
	failed := make(chan error)
	go func() {
		_, err := tr.RoundTrip(newRequest(t, b, "GET", "/", nil).WithContext(rep))
		failed <- err
	}()
	eventually(t, "the request to be sent", func() bool { return strings.Contains(rep.story(), "sent") })
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	wantFault(t, <-failed, exchange.BackendReset, exchange.Sent)
	_, _, err := get(t, tr, b)
	wantFault(t, err, exchange.BackendUnreachable, exchange.Taken)
}

// Frames that ask for an answer are answered while the backend reads, and end the
// connection when it does not.
func TestPingFlood(t *testing.T) {
	noLeak(t)
	b := frames(t, nil, func(f *framed) {
		f.request()
		for range 1 << 20 {
			if f.WritePing(false, [8]byte{}) != nil {
				return
			}
		}
	})
	_, _, err := get(t, newHTTP2(t), b)
	e, ok := errors.AsType[*exchange.Error](err)
	if !ok || e.Stage != exchange.Sent {
		t.Errorf("got %v", err)
	}
}

func BenchmarkHTTP2RoundTrip(b *testing.B) {
	srv := h2c(b, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	tr := newHTTP2(b)
	req, err := http.NewRequest("GET", "http://"+srv.addr+"/", nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		resp, err := tr.RoundTrip(req)
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}
