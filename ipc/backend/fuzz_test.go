package backend_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/ipc/backend"
	"commerce.example/coordinator/ipc/exchange"
)

// FuzzAnswer: whatever a backend says, the client does not panic, fails with a
// fault, or gives the very answer that net/http reads; and then its framing was
// not ambiguous.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		ok,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
		"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
		"HTTP/1.0 302 F\r\nLocation: /\r\nX: 1\r\nx: 2\r\n\r\nuntil close",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n1",
		"HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	answers := make(chan []byte, 1)
	b := serveOn(f, l, func(p *peer) {
		if p.head() != "" {
			p.Write(<-answers)
		}
	})
	tr := &backend.Transport{MaxResponseHead: 64 << 10}
	f.Cleanup(func() { tr.Close() })
	f.Fuzz(func(t *testing.T, raw []byte, head bool) {
		method := map[bool]string{false: "GET", true: "HEAD"}[head]
		tr.CloseIdleConnections()
		answers <- raw
		resp, body, err := run(tr, newRequest(t, b, method, "/", nil))
		if err != nil {
			if e := exchange.FaultOf(err); e != exchange.BackendProtocol && e != exchange.BackendReset {
				t.Fatalf("fault %q: %v", e, err)
			}
			return
		}
		r := bufio.NewReader(bytes.NewReader(raw))
		var want *http.Response
		for want == nil || want.StatusCode < 200 {
			if want, err = http.ReadResponse(r, &http.Request{Method: method}); err != nil {
				t.Fatalf("net/http refuses %q: %v", raw, err)
			}
		}
		wantBody, err := io.ReadAll(want.Body)
		if err != nil || string(wantBody) != body {
			t.Fatalf("body %q, net/http has %q, %v", body, wantBody, err)
		}
		if resp.StatusCode == http.StatusNoContent {
			delete(want.Header, "Content-Length")
			want.ContentLength = 0
		}
		if resp.StatusCode == http.StatusNotModified {
			want.ContentLength = resp.ContentLength // net/http has 0 or -1, by version
		}
		delete(want.Header, "Trailer") // net/http leaves it where nothing is chunked
		delete(resp.Header, "Trailer")
		delete(want.Header, "Transfer-Encoding")
		if resp.StatusCode != want.StatusCode || resp.ContentLength != want.ContentLength ||
			!reflect.DeepEqual(resp.Header, want.Header) {
			t.Fatalf("%q:\ngot  %d %d %v\nwant %d %d %v", raw, resp.StatusCode, resp.ContentLength, resp.Header,
				want.StatusCode, want.ContentLength, want.Header)
		}
		if len(resp.Header["Content-Length"]) > 1 {
			t.Fatal("two lengths got through")
		}
	})
}

// The benchmarks call the same minimal server, which costs the same for both.
func benchServer(b *testing.B) *rawBackend {
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Fri, 20 Nov 2026 23:00:00 GMT\r\n" +
		"Server: legacy\r\nVary: Accept\r\nContent-Length: 456\r\n\r\n" + strings.Repeat("x", 456))
	return serve(b, func(p *peer) {
		p.SetDeadline(time.Time{})
		buf := make([]byte, 4096)
		for {
			if n, err := p.Read(buf); err != nil || !bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
				return
			}
			p.Write(answer)
		}
	})
}

func benchmark(b *testing.B, rt http.RoundTripper) {
	srv := benchServer(b)
	req, err := http.NewRequest("GET", "http://"+srv.addr+"/api/v2/orders/?page=1", nil)
	if err != nil {
		b.Fatal(err)
	}
	req.Header = header("Accept", "application/json", "User-Agent", "bench", "Cookie", "a=b")
	buf := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		resp, err := rt.RoundTrip(req)
		if err != nil {
			b.Fatal(err)
		}
		for err == nil {
			_, err = resp.Body.Read(buf)
		}
		resp.Body.Close()
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	b.Run("backend", func(b *testing.B) {
		tr := newTransport(b)
		benchmark(b, tr)
	})
	b.Run("net/http", func(b *testing.B) {
		tr := &http.Transport{DisableCompression: true}
		b.Cleanup(tr.CloseIdleConnections)
		benchmark(b, tr)
	})
}
