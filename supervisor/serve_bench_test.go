package supervisor_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"
)

// BenchmarkServe is one request after another on one connection, through a worker
// and back. Its allocations are those of the client too.
func BenchmarkServe(b *testing.B) {
	r := start(b, one("a"))
	for name, request := range map[string]string{
		"get":    "GET /a/bytes?n=456 HTTP/1.1\r\nHost: x\r\n\r\n",
		"upload": fmt.Sprintf("POST /a/sum HTTP/1.1\r\nHost: x\r\nContent-Length: 456\r\n\r\n%456d", 0),
	} {
		b.Run(name, func(b *testing.B) {
			nc, br := r.raw("")
			nc.SetDeadline(time.Now().Add(time.Minute))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := io.WriteString(nc, request); err != nil {
					b.Fatal(err)
				}
				resp, err := http.ReadResponse(br, nil)
				if err != nil || resp.StatusCode != 200 {
					b.Fatalf("%v %v", resp, err)
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
