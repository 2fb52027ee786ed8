package tracing_test

import (
	"compress/gzip"
	"context"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"commerce.example/coordinator/supervisor/tracing"
)

// receiver is an OTLP/HTTP collector.
type receiver struct {
	*httptest.Server

	mu       sync.Mutex
	token    string
	resource map[string]string
	spans    []*otlp.Span
}

// newReceiver answers with status, after hold when it is not nil.
func newReceiver(t *testing.T, status int, hold <-chan struct{}) *receiver {
	c := &receiver{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			unpacked, err := gzip.NewReader(body)
			if err != nil {
				t.Error(err)
				return
			}
			body = unpacked
		}
		b, err := io.ReadAll(body)
		if err != nil {
			return
		}
		if hold != nil {
			select {
			case <-hold:
			case <-r.Context().Done():
			}
		}
		if status != http.StatusOK {
			w.WriteHeader(status)
			return
		}
		var request collector.ExportTraceServiceRequest
		if err := proto.Unmarshal(b, &request); err != nil || r.URL.Path != "/v1/traces" {
			t.Error(r.URL.Path, err)
		}
		c.take(r.Header.Get("Authorization"), &request)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
	return c
}

func (c *receiver) take(token string, request *collector.ExportTraceServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = token
	for _, of := range request.ResourceSpans {
		c.resource = texts(of.Resource.Attributes)
		for _, scope := range of.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
}

// named is the one span of a name.
func (c *receiver) named(t *testing.T, name string) *otlp.Span {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var found *otlp.Span
	for _, s := range c.spans {
		if s.Name == name {
			if found != nil {
				t.Fatalf("two spans are %q", name)
			}
			found = s
		}
	}
	if found == nil {
		t.Fatalf("of %d spans none is %q", len(c.spans), name)
	}
	return found
}

func texts(attributes []*common.KeyValue) map[string]string {
	m := make(map[string]string)
	for _, a := range attributes {
		m[a.Key] = a.Value.GetStringValue()
	}
	return m
}

func number(s *otlp.Span, key string) int64 {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.GetIntValue()
		}
	}
	return -1
}

func id(b []byte) string { return hex.EncodeToString(b) }

func start(t testing.TB, report func(error)) *tracing.Tracer {
	t.Helper()
	tracer, err := tracing.New(t.Context(), tracing.Options{Version: "1.2.3", Report: report})
	if err != nil {
		t.Fatal(err)
	}
	return tracer
}

func shut(t testing.TB, tracer *tracing.Tracer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := tracer.Close(ctx); err != nil {
		t.Fatal(err)
	}
}
