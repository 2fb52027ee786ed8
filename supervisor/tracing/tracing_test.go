package tracing_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	otlp "go.opentelemetry.io/proto/otlp/trace/v1"

	"commerce.example/coordinator/supervisor/tracing"
)

const (
	caller    = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	unsampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
)

var begun = time.Date(2026, 11, 21, 6, 30, 0, 0, time.UTC)

func after(d time.Duration) time.Time { return begun.Add(d * time.Millisecond) }

func request(parents ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://shop.example/api/orders/?token=secret", nil)
	r.Header["Traceparent"] = parents
	r.Header["Tracestate"] = []string{"vendor=a", "other=b"}
	r.Header.Set("Authorization", "Bearer secret")
	return r
}

// A request with two attempts, as a collector sees it.
func TestSpansOfARequest(t *testing.T) {
	c := newReceiver(t, http.StatusOK, nil)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20collector")
	t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
	tracer := start(t, func(err error) { t.Error(err) })
	r := request(caller)
	tr := tracer.Start(r, begun, true)
	front := parse(t, r)
	tr.Queue(after(1), after(3))
	x := tr.Exchange(after(3), 0)
	first := parse(t, r)
	x.Backend(after(4), after(5), 0)
	x.End(after(5), "sent", "worker_died")
	x = tr.Exchange(after(6), 1)
	second := parse(t, r)
	x.Backend(after(7), after(9), 200)
	x.End(after(10), "answered", "")
	if tr.Exemplar() != "4bf92f3577b34da6a3ce929d0e0e4736" || tr.ID() != tr.Exemplar() {
		t.Error(tr.ID(), tr.Exemplar())
	}
	tr.End(tracing.Result{At: after(11), RequestID: "id-1", Bulkhead: "orders", Status: 200, Outcome: "done", Attempts: 2})
	shut(t, tracer)

	if got := tracer.Stats(); got != (tracing.Stats{Exported: 6}) || len(c.spans) != 6 {
		t.Fatalf("%+v, %d spans", got, len(c.spans))
	}
	if c.token != "Bearer collector" || c.resource["service.name"] != "coordinator" ||
		c.resource["service.version"] != "1.2.3" || c.resource["deployment.environment"] != "test" {
		t.Error(c.token, c.resource)
	}
	server := c.named(t, "GET orders")
	for _, span := range []struct {
		got        *otlp.Span
		id, parent string
		kind       otlp.Span_SpanKind
		from, to   time.Duration
	}{
		{server, front, "00f067aa0ba902b7", otlp.Span_SPAN_KIND_SERVER, 0, 11},
		{c.named(t, "queue"), "", front, otlp.Span_SPAN_KIND_INTERNAL, 1, 3},
		{c.spans[2], first, front, otlp.Span_SPAN_KIND_CLIENT, 3, 5},
		{c.spans[1], "", first, otlp.Span_SPAN_KIND_INTERNAL, 4, 5},
		{c.spans[4], second, front, otlp.Span_SPAN_KIND_CLIENT, 6, 10},
		{c.spans[3], "", second, otlp.Span_SPAN_KIND_INTERNAL, 7, 9},
	} {
		s := span.got
		if span.id != "" && id(s.SpanId) != span.id || id(s.ParentSpanId) != span.parent || s.Kind != span.kind {
			t.Errorf("%s: %x below %x, %v; want %s below %s, %v", s.Name, s.SpanId, s.ParentSpanId, s.Kind, span.id, span.parent, span.kind)
		}
		if id(s.TraceId) != "4bf92f3577b34da6a3ce929d0e0e4736" || s.TraceState != "vendor=a,other=b" {
			t.Errorf("%s: trace %x, state %q", s.Name, s.TraceId, s.TraceState)
		}
		if from, to := wall(s.StartTimeUnixNano), wall(s.EndTimeUnixNano); !from.Equal(after(span.from)) || !to.Equal(after(span.to)) {
			t.Errorf("%s: %v to %v", s.Name, from, to)
		}
	}
	facts := texts(server.Attributes)
	if facts["coordinator.request_id"] != "id-1" || facts["coordinator.outcome"] != "done" || facts["url.path"] != "/api/orders/" ||
		number(server, "http.response.status_code") != 200 || number(server, "coordinator.attempts") != 2 {
		t.Error(server.Attributes)
	}
	if s := c.spans[2]; s.Status.GetCode() != otlp.Status_STATUS_CODE_ERROR || texts(s.Attributes)["error.type"] != "worker_died" || texts(s.Attributes)["coordinator.stage"] != "sent" {
		t.Error(s)
	}
	for _, s := range c.spans {
		if strings.Contains(s.String(), "secret") {
			t.Error("a secret in", s)
		}
	}
}

func wall(ns uint64) time.Time { return time.Unix(0, int64(ns)) }

// parse is the span that r's fields name as the parent.
func parse(t *testing.T, r *http.Request) string {
	t.Helper()
	sent := r.Header["Traceparent"]
	if len(sent) != 1 {
		t.Fatal(sent)
	}
	p, ok := tracing.ParseParent(sent[0])
	if !ok {
		t.Fatalf("sent %q", sent[0])
	}
	return id(p.SpanID[:])
}

func TestErrorIsTheServersAlone(t *testing.T) {
	c := newReceiver(t, http.StatusOK, nil)
	tracer := start(t, func(err error) { t.Error(err) })
	tracer.Start(request(), begun, true).End(tracing.Result{Bulkhead: "a", Status: 503, Reason: "queue_full"})
	tracer.Start(request(), begun, true).End(tracing.Result{Bulkhead: "b", Status: 404, Reason: "no_route"})
	odd := request()
	odd.Method, odd.URL = "SECRETS", &url.URL{Path: "/\xff" + strings.Repeat("x", 1000)}
	tracer.Start(odd, begun, true).End(tracing.Result{Bulkhead: "c", RequestID: "\xfe"})
	shut(t, tracer)
	if s := c.named(t, "GET a"); s.Status.GetCode() != otlp.Status_STATUS_CODE_ERROR || s.Status.Message != "queue_full" || len(s.ParentSpanId) != 0 || s.TraceState != "" {
		t.Error(s)
	}
	if s := c.named(t, "GET b"); s.Status.GetCode() == otlp.Status_STATUS_CODE_ERROR {
		t.Error(s)
	}
	// What is not UTF-8 must not cost the batch.
	if s := c.named(t, "_OTHER c"); len(texts(s.Attributes)["url.path"]) > 300 {
		t.Error(s)
	}
}

// Nobody hears of a trace that is not sampled, and who comes next is told so.
func TestUnsampled(t *testing.T) {
	for _, c := range []struct{ sampler, sent string }{
		{"", unsampled},
		{"always_off", caller},
		{"parentbased_always_off", unsampled},
	} {
		collector := newReceiver(t, http.StatusOK, nil)
		t.Setenv("OTEL_TRACES_SAMPLER", c.sampler)
		tracer := start(t, func(err error) { t.Error(err) })
		r := request(c.sent)
		tr := tracer.Start(r, begun, true)
		front := r.Header.Get("Traceparent")
		tr.Queue(begun, begun)
		x := tr.Exchange(begun, 0)
		x.Backend(begun, begun, 200)
		x.End(begun, "answered", "")
		if tr.Exemplar() != "" || tr.ID() != "4bf92f3577b34da6a3ce929d0e0e4736" {
			t.Error(tr.ID(), tr.Exemplar())
		}
		tr.End(tracing.Result{Status: 200})
		shut(t, tracer)
		got := r.Header.Get("Traceparent")
		if got != front || !strings.HasPrefix(got, "00-4bf92f3577b34da6a3ce929d0e0e4736-") || !strings.HasSuffix(got, "-00") || strings.Contains(got, "00f067aa0ba902b7") {
			t.Errorf("%s: %q", c.sampler, got)
		}
		if len(collector.spans) != 0 {
			t.Error(collector.spans)
		}
	}
}

func TestWhatTheEnvironmentAsksFor(t *testing.T) {
	const here = "http://127.0.0.1:9"
	for _, c := range []struct {
		environment map[string]string
		on          bool
		err         string
	}{
		{nil, false, ""},
		{map[string]string{"OTEL_SERVICE_NAME": "x", "OTEL_TRACES_SAMPLER": "always_on"}, false, ""},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": here}, true, ""},
		{map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": here + "/v1/traces"}, true, ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, true, ""},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": here, "OTEL_TRACES_EXPORTER": "none"}, false, ""},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": here, "OTEL_SDK_DISABLED": "TRUE"}, false, ""},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": here, "OTEL_SDK_DISABLED": "false"}, true, ""},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": here, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, true, ""},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": here, "OTEL_EXPORTER_OTLP_PROTOCOL": "http"}, false, "http/protobuf"},
		{map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, false, "OTEL_TRACES_EXPORTER: want otlp or none"},
	} {
		t.Run("", func(t *testing.T) {
			for name, value := range c.environment {
				t.Setenv(name, value)
			}
			tracer, err := tracing.New(t.Context(), tracing.Options{})
			if tracer != nil {
				defer shut(t, tracer)
			}
			if (tracer != nil) != c.on || (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%v: on %v, %v", c.environment, tracer != nil, err)
			}
		})
	}
}

// Off: nothing is touched, nothing is allocated.
func TestOff(t *testing.T) {
	var tracer *tracing.Tracer
	r := request("any", "thing")
	allocated := testing.AllocsPerRun(100, func() { whole(tracer, r) })
	if got := r.Header["Traceparent"]; len(got) != 2 || allocated != 0 {
		t.Errorf("%v, %v allocations", got, allocated)
	}
	if tr := tracer.Start(r, begun, true); tr.ID() != "" || tr.Exemplar() != "" {
		t.Error(tr.ID())
	}
	if tracer.Stats() != (tracing.Stats{}) {
		t.Error(tracer.Stats())
	}
	shut(t, tracer)
}

// whole is every call of a request with one attempt.
func whole(tracer *tracing.Tracer, r *http.Request) {
	tr := tracer.Start(r, begun, true)
	tr.Queue(begun, begun)
	x := tr.Exchange(begun, 1)
	x.Backend(begun, begun, 200)
	x.End(begun, "answered", "")
	tr.End(tracing.Result{At: begun, RequestID: "id", Bulkhead: "orders", Status: 200, Outcome: "done", Attempts: 1})
}

// A collector that refuses, or is not there, costs what is dropped and a report.
func TestDeadCollector(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for name, url := range map[string]string{"gone": gone.URL, "refuses": newReceiver(t, http.StatusBadRequest, nil).URL} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
			t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
			reports := make(chan error, 100)
			tracer := start(t, func(err error) { reports <- err })
			for range 20 {
				tracer.Start(request(), begun, true).End(tracing.Result{})
			}
			shut(t, tracer)
			if got := tracer.Stats(); got != (tracing.Stats{Failed: 20}) {
				t.Errorf("%+v", got)
			}
			if len(reports) != 1 || len((<-reports).Error()) > 300 {
				t.Errorf("%d reports", len(reports))
			}
		})
	}
}

// A collector that hangs holds up no request, and Close for no longer than it may.
func TestCollectorThatHangs(t *testing.T) {
	hold := make(chan struct{})
	newReceiver(t, http.StatusOK, hold)
	defer close(hold)
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
	t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
	tracer := start(t, nil)
	for range 100 {
		tracer.Start(request(), begun, true).End(tracing.Result{})
	}
	if got := tracer.Stats(); got != (tracing.Stats{Dropped: 92}) {
		t.Errorf("%+v", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := tracer.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	for deadline := time.Now().Add(10 * time.Second); tracer.Stats().Failed != 8; {
		if time.Now().After(deadline) {
			t.Fatalf("what was under way was not given up: %+v", tracer.Stats())
		}
		<-time.After(time.Millisecond)
	}
}

func BenchmarkOff(b *testing.B) {
	b.ReportAllocs()
	var tracer *tracing.Tracer
	r := request(caller)
	for b.Loop() {
		whole(tracer, r)
	}
}

func BenchmarkOn(b *testing.B) {
	for name, sent := range map[string]string{"sampled": caller, "unsampled": unsampled} {
		b.Run(name, func(b *testing.B) {
			b.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
			b.Setenv("OTEL_BSP_SCHEDULE_DELAY", "600000") // the spans' cost, not the collector's
			b.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")
			b.ReportAllocs()
			tracer := start(b, nil)
			r := request(sent)
			for b.Loop() {
				r.Header["Traceparent"] = []string{sent}
				whole(tracer, r)
			}
			shut(b, tracer)
		})
	}
}
