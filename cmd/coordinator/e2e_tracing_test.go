//go:build linux

package main_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/tracing"
)

// otlpSpan is a span of OTLP, as JSON has it.
type otlpSpan struct {
	TraceID    string `json:"traceId"`
	SpanID     string `json:"spanId"`
	ParentID   string `json:"parentSpanId"`
	State      string `json:"traceState"`
	Name       string
	Start      json.Number `json:"startTimeUnixNano"`
	End        json.Number `json:"endTimeUnixNano"`
	Attributes []struct {
		Key   string
		Value struct{ StringValue string }
	}
	Status struct{ Code int }
}

func (s otlpSpan) text(key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.StringValue
		}
	}
	return ""
}

// collector takes OTLP over HTTP, as JSON.
type collector struct {
	*httptest.Server
	mu    sync.Mutex
	spans []otlpSpan
	raw   strings.Builder
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var request struct {
			ResourceSpans []struct {
				ScopeSpans []struct{ Spans []otlpSpan }
			}
		}
		if err == nil {
			err = json.Unmarshal(body, &request)
		}
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Error(r.URL.Path, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.raw.Write(body)
		for _, of := range request.ResourceSpans {
			for _, scope := range of.ScopeSpans {
				for _, s := range scope.Spans { // ids may be in either case: OTLP, JSON Protobuf encoding
					s.TraceID, s.SpanID, s.ParentID = strings.ToLower(s.TraceID), strings.ToLower(s.SpanID), strings.ToLower(s.ParentID)
					c.spans = append(c.spans, s)
				}
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{}")
	}))
	t.Cleanup(c.Close)
	return c
}

// settings are those of the file.
func (c *collector) settings() []string {
	return []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL, "OTEL_EXPORTER_OTLP_PROTOCOL=http/json", "OTEL_BSP_SCHEDULE_DELAY=20",
		"OTEL_EXPORTER_OTLP_HEADERS=Authorization=canary-collector",
	}
}

// of waits for so many spans of a trace, and returns them by name.
func (c *collector) of(t *testing.T, trace string, n int) map[string]otlpSpan {
	t.Helper()
	byName := make(map[string]otlpSpan)
	eventually(t, 10*time.Second, "its spans", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		found := 0
		for _, s := range c.spans {
			if s.TraceID == trace {
				byName[s.Name] = s
				found++
			}
		}
		return found >= n
	})
	return byName
}

const (
	clientTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	clientSpan  = "00f067aa0ba902b7"
)

// traced is a site whose backend keeps the fields that it was asked with.
func traced(t *testing.T, settings ...string) (s *site, seen func() http.Header) {
	t.Helper()
	last := make(chan http.Header, 100)
	backend := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { last <- r.Header }))
	t.Cleanup(backend.Close)
	s = newSite(t, append([]string{"COORDINATOR_BULKHEADS=a", "BULKHEAD_A_ROUTES=/a/", "BULKHEAD_A_BACKEND=" + backend.URL}, settings...)...)
	return s, func() http.Header {
		t.Helper()
		select {
		case h := <-last:
			return h
		case <-time.After(10 * time.Second):
			t.Fatal("the backend was not asked")
			return nil
		}
	}
}

// The trace of a client that is trusted goes on through the coordinator to the
// backend, and the collector has the four spans of its part.
func TestE2ETraceOfARequest(t *testing.T) {
	beside(t)
	c := newCollector(t)
	s, seen := traced(t, append(c.settings(), "COORDINATOR_TRUSTED_PROXIES=127.0.0.1", "COORDINATOR_ACCESS_LOG=all")...)
	s.set("COORDINATOR_ACCESS_LOG_FILE=" + s.dir + "/access.log")
	s.start()
	p := get("/a/x?token=canary-query").with("Traceparent", "00-"+clientTrace+"-"+clientSpan+"-01").with("Tracestate", "vendor=1").
		with("Authorization", "canary-authorization").with("Cookie", "canary-cookie").with("X-Request-Id", "id-1")
	if a, err := p.ask(newClient(t), s.url); err != nil || a.status != "200 OK" {
		t.Fatal(a.status, err)
	}
	spans := c.of(t, clientTrace, 4)
	front, queue, exchange, backend := spans["GET a"], spans["queue"], spans["exchange"], spans["backend"]
	if front.ParentID != clientSpan || queue.ParentID != front.SpanID || exchange.ParentID != front.SpanID || backend.ParentID != exchange.SpanID {
		t.Errorf("%+v", spans)
	}
	if front.text("coordinator.outcome") != "done" || front.text("coordinator.request_id") != "id-1" || front.text("url.path") != "/a/x" ||
		exchange.text("coordinator.stage") != "answered" || front.State != "vendor=1" {
		t.Errorf("%+v", spans)
	}
	for name, s := range spans {
		if s.Start > s.End || s.Start < front.Start || s.End > front.End || s.Status.Code != 0 {
			t.Errorf("%s: %+v within %+v", name, s, front)
		}
	}
	h := seen()
	if h.Get("Traceparent") != "00-"+clientTrace+"-"+exchange.SpanID+"-01" || h.Get("Tracestate") != "vendor=1" {
		t.Errorf("the backend has %v, the exchange is %s", h, exchange.SpanID)
	}
	if l := logged(t, s.dir+"/access.log", "id-1"); l.TraceID != clientTrace {
		t.Errorf("%+v", l)
	}

	// A refusal has its own; a failure says so.
	for target, want := range map[string]struct {
		id, name, reason string
		code             int
	}{
		"/none":    {strings.Repeat("a", 32), "GET", "no_route", 0},
		"/a/%00/x": {strings.Repeat("b", 32), "GET", "bad_request", 0},
	} {
		if _, err := get(target).with("Traceparent", "00-"+want.id+"-"+clientSpan+"-01").ask(newClient(t), s.url); err != nil {
			t.Fatal(err)
		}
		if got := c.of(t, want.id, 1)[want.name]; got.text("coordinator.reason") != want.reason || got.Status.Code != want.code {
			t.Errorf("%s: %+v", target, got)
		}
	}

	// The histograms point to it, where the format has room for that.
	r, err := http.NewRequest("GET", "http://localhost/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	resp, err := s.admin.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"coordinator_request_duration_seconds_bucket{bulkhead=\"a\"", "coordinator_backend_duration_seconds_bucket{bulkhead=\"a\""} {
		found := false
		for line := range strings.Lines(string(text)) {
			found = found || strings.HasPrefix(line, name) && strings.Contains(line, `# {trace_id="`+clientTrace+`"}`)
		}
		if !found {
			t.Errorf("no exemplar of %s", name)
		}
	}
	eventually(t, 5*time.Second, "the spans are counted", func() bool { return s.metric("coordinator_trace_spans_total", "result", "exported") == 6 })

	// Whoever asks what is in effect sees no credential of the collector.
	if code, output := s.cli("check"); code != 0 || strings.Contains(output, "canary") || !strings.Contains(output, "EXPORTER_OTLP_HEADERS") {
		t.Errorf("exit code %d: %s", code, output)
	}
	s.set("OTEL_SERVICE_NAME=other")
	if output := s.must("reload"); !strings.Contains(output, "OTEL_*") {
		t.Error(output)
	}
	for _, canary := range []string{"canary-query", "canary-authorization", "canary-cookie"} {
		c.mu.Lock()
		if strings.Contains(c.raw.String(), canary) {
			t.Errorf("the collector was told %s", canary)
		}
		c.mu.Unlock()
	}
}

// Who is not trusted can neither have its requests recorded nor hidden; its trace
// goes on all the same.
func TestE2ETraceOfAStranger(t *testing.T) {
	beside(t)
	c := newCollector(t)
	s, seen := traced(t, append(c.settings(), "OTEL_TRACES_SAMPLER=parentbased_always_off")...)
	s.start()
	ask := func(flags string) {
		t.Helper()
		if _, err := get("/a/x").with("Traceparent", "00-"+clientTrace+"-"+clientSpan+"-"+flags).ask(newClient(t), s.url); err != nil {
			t.Fatal(err)
		}
		p, ok := tracing.ParseParent(seen().Get("Traceparent"))
		if !ok || !strings.Contains(p.String(), clientTrace) || strings.Contains(p.String(), clientSpan) {
			t.Errorf("the backend has %v", p)
		}
		if sampled := p.Flags&1 == 1; sampled != (s.vars["OTEL_TRACES_SAMPLER"] == "parentbased_always_on") {
			t.Errorf("%s: sampled %v", flags, sampled)
		}
	}
	ask("01")
	s.signal(syscall.SIGTERM)
	s.exit(20 * time.Second)
	c.mu.Lock()
	if len(c.spans) > 0 {
		t.Error(c.spans)
	}
	c.mu.Unlock()
	s.set("OTEL_TRACES_SAMPLER=parentbased_always_on")
	s.start()
	ask("00")
	c.of(t, clientTrace, 4)
}

// A collector that is not there, or that never answers, costs spans alone.
func TestE2EDeadCollector(t *testing.T) {
	hold := make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hold }))
	t.Cleanup(hangs.Close)
	t.Cleanup(func() { close(hold) })
	gone := httptest.NewServer(nil)
	gone.Close()
	for name, url := range map[string]string{"gone": gone.URL, "hangs": hangs.URL} {
		t.Run(name, func(t *testing.T) {
			beside(t)
			s := plain(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+url, "OTEL_BSP_SCHEDULE_DELAY=20", "OTEL_BSP_MAX_QUEUE_SIZE=64")
			s.start()
			result := s.generate("/a/x", 200, span(2*time.Second, 10*time.Second)).Wait()
			noErrors(t, result)
			if p99 := result.All.Quantile(.99); p99 > 500*time.Millisecond {
				t.Errorf("p99 %v", p99)
			}
			m := s.metrics()
			lost := m.sum("coordinator_trace_spans_total", "result", "dropped") + m.sum("coordinator_trace_spans_total", "result", "failed")
			if exported := m.sum("coordinator_trace_spans_total", "result", "exported"); lost == 0 || exported > 0 {
				t.Errorf("%v spans lost, %v exported", lost, exported)
			}
			begun := time.Now()
			s.signal(syscall.SIGTERM)
			if code := s.exit(20 * time.Second); code != 0 || time.Since(begun) > 10*time.Second {
				t.Errorf("exit code %d after %v", code, time.Since(begun))
			}
		})
	}
}

// Off, whatever the client sends passes as it came.
func TestE2EUntraced(t *testing.T) {
	beside(t)
	s, seen := traced(t)
	s.start()
	for _, parent := range []string{"00-" + clientTrace + "-" + clientSpan + "-01", "nonsense", "00-" + strings.Repeat("0", 32) + "-" + clientSpan + "-01"} {
		if _, err := get("/a/x").with("Traceparent", parent).with("Tracestate", "vendor=1").ask(newClient(t), s.url); err != nil {
			t.Fatal(err)
		}
		if h := seen(); h.Get("Traceparent") != parent || h.Get("Tracestate") != "vendor=1" {
			t.Errorf("%q became %q", parent, h.Get("Traceparent"))
		}
	}
	if s.metrics()["coordinator_trace_spans_total"] != nil {
		t.Error("there is a metric of spans")
	}
}

// A worker gets no variable of the collector's.
func TestE2EWorkersHaveNoCollector(t *testing.T) {
	beside(t)
	c := newCollector(t)
	s := faultSite(t, c.settings()...)
	s.start()
	if got := (&proband{t, s}).well("variable?name=OTEL_EXPORTER_OTLP_HEADERS"); got != "" {
		t.Errorf("it has %q", got)
	}
}
