package load

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
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
