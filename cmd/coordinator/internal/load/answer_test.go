package load

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// FuzzAnswer: the parser never panics, and what it takes for a whole answer the
// standard library takes for the same one. (The reverse does not hold: the
// standard library is more lenient.)
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
		"HTTP/1.0 503 No\r\nContent-Type: application/problem+json\r\n\r\n{\"reason\":\"queue_full\"}",
		"HTTP/1.1 204 No Content\r\nProxy-Status: coordinator; details=\"x\"\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		var a answer
		r := bufio.NewReaderSize(bytes.NewReader(wire), 4096)
		if a.read(r) != nil {
			return
		}
		a.reason()
		if strings.Contains(string(wire), "HTTP/1.1 1") {
			return // http.ReadResponse stops at an interim answer
		}
		std, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(wire)), nil)
		if err != nil {
			// Its check of names and values is not part of the framing.
			if strings.Contains(err.Error(), "malformed MIME header") {
				return
			}
			t.Fatalf("taken as %d, refused by net/http: %v", a.status, err)
		}
		if std.StatusCode != a.status {
			t.Fatalf("status %d, net/http says %d", a.status, std.StatusCode)
		}
		if a.chunked || a.close {
			return // it reads to another end: trailers, or a close that is an HTTP/1.0 matter
		}
		body, err := io.ReadAll(std.Body)
		if err != nil || a.length > 0 && a.status != 204 && a.status != 304 && int64(len(body)) != a.length {
			t.Fatalf("length %d, net/http read %d, %v", a.length, len(body), err)
		}
	})
}

// What the generator itself costs for a request, without system calls.
func BenchmarkRequestAndAnswer(b *testing.B) {
	wire := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 456\r\n" +
		"X-Request-Id: 0190f0c2-7d6c-7cc3-98c4\r\nDate: Fri, 20 Nov 2026 23:00:00 GMT\r\n\r\n" + strings.Repeat("x", 456))
	req, _, err := render(Target{URL: "http://127.0.0.1/", Header: http.Header{"Idempotency-Key": {"{n}"}}})
	if err != nil {
		b.Fatal(err)
	}
	var a answer
	src := bytes.NewReader(wire)
	r := bufio.NewReaderSize(src, 16<<10)
	b.ReportAllocs()
	n := uint64(0)
	for b.Loop() {
		src.Reset(wire)
		n++
		req.numbered(n)
		if err := a.read(r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRecord(b *testing.B) {
	g := &Generator{phases: []*Result{newResult("", 0)}}
	b.ReportAllocs()
	for b.Loop() {
		g.sent(place{at: time.Millisecond}, 2*time.Millisecond)
		g.record(Sample{At: time.Millisecond, Latency: 3 * time.Millisecond, Status: 200})
	}
}
