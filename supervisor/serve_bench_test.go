package supervisor_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/fallback"
	"commerce.example/coordinator/supervisor/tracing"
)

// BenchmarkServe is one request after another on one connection, through a worker
// and back. Its allocations are those of the client too. With stale each answer is
// recorded; what that costs is the difference.
func BenchmarkServe(b *testing.B) {
	r := start(b, []supervisor.BulkheadConfig{
		bulkhead("a"),
		bulkhead("b", func(c *supervisor.BulkheadConfig) { c.Fallback.Kinds = []fallback.Kind{fallback.Stale} }),
	})
	const upload = " HTTP/1.1\r\nHost: x\r\nContent-Length: 456\r\n\r\n%456d"
	for _, request := range []struct{ name, text string }{
		{"get", "GET /a/bytes?n=456 HTTP/1.1\r\nHost: x\r\n\r\n"},
		{"get-stale", "GET /b/bytes?n=456 HTTP/1.1\r\nHost: x\r\n\r\n"},
		{"upload", fmt.Sprintf("POST /a/sum"+upload, 0)},
		{"upload-stale", fmt.Sprintf("POST /b/sum"+upload, 0)},
	} {
		b.Run(request.name, func(b *testing.B) { repeatOne(b, r, request.text) })
	}
}

// BenchmarkServeLogged is get of BenchmarkServe with a line of the access log for
// each.
func BenchmarkServeLogged(b *testing.B) {
	r := start(b, []supervisor.BulkheadConfig{bulkhead("a")}, accessLogged(b, "all", filepath.Join(b.TempDir(), "access.log")))
	repeatOne(b, r, "GET /a/bytes?n=456 HTTP/1.1\r\nHost: x\r\n\r\n")
}

// BenchmarkServeTraced is get of BenchmarkServe in traces of which a collector hears,
// or would hear of one in none.
func BenchmarkServeTraced(b *testing.B) {
	for _, sampler := range []string{"always_on", "always_off"} {
		b.Run(sampler, func(b *testing.B) {
			collector := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			defer collector.Close()
			b.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
			b.Setenv("OTEL_TRACES_SAMPLER", sampler)
			tracer, err := tracing.New(b.Context(), tracing.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer tracer.Close(context.Background())
			r := start(b, []supervisor.BulkheadConfig{bulkhead("a")}, func(o *supervisor.Options) { o.Tracer = tracer })
			repeatOne(b, r, "GET /a/bytes?n=456 HTTP/1.1\r\nHost: x\r\n\r\n")
		})
	}
}

// BenchmarkFallback is the same with a breaker that is open: what an answer costs
// that never leaves the supervisor.
func BenchmarkFallback(b *testing.B) {
	c, set := legacyOf(b, "a")
	r := start(b, []supervisor.BulkheadConfig{c})
	r.get("/a/legacy/x?n=456")
	set("backend_reset")
	r.Drain(b.Context(), "a")
	repeatOne(b, r, "GET /a/legacy/x?n=456 HTTP/1.1\r\nHost: "+r.addr+"\r\n\r\n")
}

// repeatOne sends one request over and over, on one connection.
func repeatOne(b *testing.B, r *running, request string) {
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
}
