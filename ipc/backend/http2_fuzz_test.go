package backend_test

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"commerce.example/coordinator/ipc/backend"
	"commerce.example/coordinator/ipc/exchange"
)

// FuzzHTTP2Answer: whatever frames a backend sends behind its SETTINGS, the one
// request ends once and in time, its exchange is told what its result says, it was
// sent once, and nothing of the connection remains.
func FuzzHTTP2Answer(f *testing.F) {
	for _, seed := range framesOf() {
		f.Add(seed, false)
	}
	f.Add(framesOf()[0], true)
	answers := make(chan []byte, 1)
	var asked atomic.Int64
	b := frames(f, nil, func(p *framed) {
		if p.request() == 0 {
			return
		}
		asked.Add(1)
		p.Write(<-answers)
		p.Conn.(*net.TCPConn).CloseWrite()
		for p.request() != 0 {
			asked.Add(1)
		}
		io.Copy(io.Discard, p)
	})
	f.Fuzz(func(t *testing.T, raw []byte, head bool) {
		method := map[bool]string{false: "GET", true: "HEAD"}[head]
		tr := &backend.Transport{Protocol: backend.HTTP2, MaxResponseHead: 64 << 10}
		before := asked.Load()
		rep := newReporter(t.Context())
		req := newRequest(t, b, method, "/", nil).WithContext(rep)
		answers <- raw
		ended := make(chan error, 1)
		go func() {
			_, body, err := run(tr, req)
			if head && body != "" {
				t.Errorf("a body of %d bytes for HEAD", len(body))
			}
			ended <- err
		}()
		var err error
		select {
		case err = <-ended:
		case <-time.After(patience):
			t.Fatal("no end")
		}
		if err := tr.Close(); err != nil {
			t.Fatal(err)
		}
		want := "attach sent answered detach"
		if e, ok := err.(*exchange.Error); ok {
			want = map[exchange.Stage]string{
				exchange.Taken: "attach sent unsent detach", exchange.Sent: "attach sent detach", exchange.Answered: want,
			}[e.Stage]
			if e.Fault != exchange.BackendProtocol && e.Fault != exchange.BackendReset {
				t.Errorf("fault %q: %v", e.Fault, err)
			}
		} else if err != nil {
			t.Errorf("%T %v", err, err)
		}
		if got := rep.story(); got != want {
			t.Errorf("%v: the exchange was told %q, want %q", err, got, want)
		}
		if n := asked.Load() - before; n != 1 {
			t.Errorf("%d requests", n)
		}
	})
}

// framesOf are answers to stream 1, and what is none.
func framesOf() [][]byte {
	write := func(script func(f *framed)) []byte {
		var out bytes.Buffer
		f := &framed{Framer: http2.NewFramer(&out, nil)}
		f.enc = hpack.NewEncoder(&f.block)
		f.AllowIllegalWrites = true
		script(f)
		return out.Bytes()
	}
	return [][]byte{
		write(func(f *framed) { f.ok(1) }),
		write(func(f *framed) {
			f.fields(1, false, ":status", "103", "link", "x")
			f.fields(1, false, ":status", "200", "trailer", "x-a")
			f.WriteDataPadded(1, false, []byte("padded"), make([]byte, 9))
			f.fields(1, true, "x-a", "1")
		}),
		write(func(f *framed) { f.fields(1, true, ":status", "200", "a", strings.Repeat("~", 20<<10)) }), // CONTINUATION
		write(func(f *framed) { f.fields(1, true, ":status", "204") }),
		write(func(f *framed) {
			f.fields(1, false, ":status", "200", "content-length", "9")
			f.WriteData(1, true, []byte("short"))
		}),
		write(func(f *framed) { f.WriteRSTStream(1, http2.ErrCodeRefusedStream) }),
		write(func(f *framed) { f.WriteGoAway(0, http2.ErrCodeNo, nil) }),
		write(func(f *framed) { f.WriteGoAway(1, http2.ErrCodeNo, nil); f.ok(1) }),
		write(func(f *framed) {
			f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
			f.WritePing(false, [8]byte{})
			f.WriteWindowUpdate(0, 1<<31-1)
			f.WriteWindowUpdate(1, 1)
			f.ok(1)
		}),
		write(func(f *framed) { f.WriteData(1, true, []byte("first")) }),
		write(func(f *framed) { f.WriteRawFrame(http2.FramePushPromise, 4, 1, []byte{0, 0, 0, 2}) }),
		[]byte("HTTP/1.1 400 Bad Request\r\n\r\n"),
	}
}
