package tracing

import (
	"context"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// maxText bounds a text in a span.
const maxText = 256

// Trace is one request in its trace, from Start to End. It belongs to the
// request's goroutine. A nil *Trace is that of tracing that is off.
type Trace struct {
	tracer trace.Tracer
	ctx    context.Context // of the front span
	span   trace.Span
	method string
}

// Start begins the front span of r, at its arrival. It continues the trace that
// the client sent, or begins one, and puts itself into r's fields as the parent.
// The fields are r's own: nobody else reads them meanwhile.
func (t *Tracer) Start(r *http.Request, at time.Time) *Trace {
	if t == nil {
		return nil
	}
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), remoteOf(r.Header))
	method := methodOf(r)
	ctx, span := t.tracer.Start(ctx, method, trace.WithTimestamp(at), trace.WithSpanKind(trace.SpanKindServer))
	sendParent(r.Header, span.SpanContext())
	if span.IsRecording() {
		span.SetAttributes(
			attribute.String("http.request.method", method),
			attribute.String("server.address", text(r.Host)),
			attribute.String("url.path", text(r.URL.Path)),
			attribute.String("network.protocol.version", strings.TrimPrefix(r.Proto, "HTTP/")),
		)
	}
	return &Trace{tracer: t.tracer, ctx: ctx, span: span, method: method}
}

// methodOf is r's method, or what the semantic conventions have for one that is
// not known: a client must not make up names of spans.
func methodOf(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete,
		http.MethodPatch, http.MethodOptions, http.MethodTrace, http.MethodConnect:
		return r.Method
	}
	return "_OTHER"
}

// text is s, short enough, and UTF-8: Protocol Buffers refuse a whole batch for
// one byte that is not.
func text(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.ToValidUTF8(s, "\ufffd")
}

// recording reports that somebody will hear of t.
func (t *Trace) recording() bool { return t != nil && t.span.IsRecording() }

// ID is the trace's id, 32 hexadecimal digits; "" when tracing is off.
func (t *Trace) ID() string {
	if t == nil {
		return ""
	}
	return t.span.SpanContext().TraceID().String()
}

// Exemplar is the trace's id when the collector gets it, for a measurement to
// point to; else "".
func (t *Trace) Exemplar() string {
	if !t.recording() || !t.span.SpanContext().IsSampled() {
		return ""
	}
	return t.ID()
}

// Queue tells of a wait for a slot that is over, with or without one.
func (t *Trace) Queue(from, to time.Time) {
	if !t.recording() {
		return
	}
	_, span := t.tracer.Start(t.ctx, "queue", trace.WithTimestamp(from))
	span.End(trace.WithTimestamp(to))
}

// Result is what became of a request. Empty texts are left out.
type Result struct {
	At        time.Time // now, or zero for that
	RequestID string
	Bulkhead  string
	Status    int // 0: none was told
	Reason    string
	Outcome   string
	Fallback  string
	Attempts  int
}

// End ends the front span. A status of 500 or more is an error of it; what a
// client does wrong is not (OpenTelemetry semantic conventions for HTTP servers).
func (t *Trace) End(r Result) {
	if !t.recording() {
		return
	}
	if r.Bulkhead != "" {
		t.span.SetName(t.method + " " + r.Bulkhead)
	}
	facts := make([]attribute.KeyValue, 0, 8)
	facts = appendText(facts, "coordinator.request_id", r.RequestID)
	facts = appendText(facts, "coordinator.bulkhead", r.Bulkhead)
	facts = appendText(facts, "coordinator.reason", r.Reason)
	facts = appendText(facts, "coordinator.outcome", r.Outcome)
	facts = appendText(facts, "coordinator.fallback", r.Fallback)
	if r.Attempts > 0 {
		facts = append(facts, attribute.Int("coordinator.attempts", r.Attempts))
	}
	if r.Status > 0 {
		facts = append(facts, attribute.Int("http.response.status_code", r.Status))
	}
	if r.Status >= 500 {
		t.span.SetStatus(codes.Error, text(r.Reason))
	}
	t.span.SetAttributes(facts...)
	t.span.End(trace.WithTimestamp(r.At))
}

func appendText(facts []attribute.KeyValue, name, value string) []attribute.KeyValue {
	if value == "" {
		return facts
	}
	return append(facts, attribute.String(name, text(value)))
}

// Exchange is one attempt with a worker. It belongs to the request's goroutine. A
// nil *Exchange is one that nobody will hear of.
type Exchange struct {
	tracer trace.Tracer
	ctx    context.Context
	span   trace.Span
}

// Exchange begins an attempt and puts it into h, the fields that the worker in
// slot is about to get, as the parent.
func (t *Trace) Exchange(h http.Header, at time.Time, slot int) *Exchange {
	if !t.recording() {
		return nil
	}
	ctx, span := t.tracer.Start(t.ctx, "exchange", trace.WithTimestamp(at), trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.Int("coordinator.slot", slot)))
	sendParent(h, span.SpanContext())
	return &Exchange{tracer: t.tracer, ctx: ctx, span: span}
}

// Backend tells of the call that the worker made: the first byte sent, and the
// head of the answer, or when it was given up. A zero sent is a call that was not
// made; of it there is nothing to tell.
func (x *Exchange) Backend(sent, answered time.Time, status int) {
	if x == nil || sent.IsZero() {
		return
	}
	_, span := x.tracer.Start(x.ctx, "backend", trace.WithTimestamp(sent))
	if status > 0 {
		span.SetAttributes(attribute.Int("http.response.status_code", status))
	}
	span.End(trace.WithTimestamp(answered))
}

// End ends the attempt: with how far it got, in the words of exchange.Stage, and
// with its fault, "" when it answered.
func (x *Exchange) End(at time.Time, stage, fault string) {
	if x == nil {
		return
	}
	x.span.SetAttributes(attribute.String("coordinator.stage", stage))
	if fault != "" {
		x.span.SetAttributes(attribute.String("error.type", fault))
		x.span.SetStatus(codes.Error, fault)
	}
	x.span.End(trace.WithTimestamp(at))
}
