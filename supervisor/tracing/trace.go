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
	parent []string // the value of r's traceparent
	method string
}

// Start begins the front span of r, at its arrival. It continues the trace that
// the client sent, or begins one, and puts itself into r's fields as the parent.
// trusted is whether the sender may say that the request is sampled, or is not.
// Nobody else may use the fields meanwhile.
func (t *Tracer) Start(r *http.Request, at time.Time, trusted bool) *Trace {
	if t == nil {
		return nil
	}
	ctx := context.Background()
	if !trusted {
		ctx = context.WithValue(ctx, stranger{}, true)
	}
	ctx = trace.ContextWithRemoteSpanContext(ctx, remoteOf(r.Header))
	method := methodOf(r)
	ctx, span := t.tracer.Start(ctx, method, trace.WithTimestamp(at), trace.WithSpanKind(trace.SpanKindServer))
	parent := []string{parentOf(span.SpanContext())}
	r.Header[traceparent] = parent
	if span.IsRecording() {
		span.SetAttributes(
			attribute.String("http.request.method", method),
			attribute.String("server.address", text(plainHost(r.Host))),
			attribute.String("url.path", text(r.URL.Path)),
			attribute.String("network.protocol.version", strings.TrimPrefix(r.Proto, "HTTP/")),
		)
	}
	return &Trace{tracer: t.tracer, ctx: ctx, span: span, parent: parent, method: method}
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

// plainHost is host without the user and password that a client may have put
// before it.
func plainHost(host string) string { return host[strings.LastIndexByte(host, '@')+1:] }

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
	Cut       bool // the answer broke off: an error, whatever its status was
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
	if r.Status >= 500 || r.Cut {
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

// Exchange begins an attempt and makes it the parent in the fields of the request,
// which the worker in slot is about to get. It changes no more than the one value:
// others may look up fields meanwhile.
func (t *Trace) Exchange(at time.Time, slot int) *Exchange {
	if !t.recording() {
		return nil
	}
	ctx, span := t.tracer.Start(t.ctx, "exchange", trace.WithTimestamp(at), trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.Int("coordinator.slot", slot)))
	t.parent[0] = parentOf(span.SpanContext())
	return &Exchange{tracer: t.tracer, ctx: ctx, span: span}
}

// Backend tells of the call that the worker made: from its hand-over to the head
// of the answer, or until it was given up, with status 0. It is not to be called
// for one that was not made.
func (x *Exchange) Backend(from, to time.Time, status int) {
	if x == nil {
		return
	}
	_, span := x.tracer.Start(x.ctx, "backend", trace.WithTimestamp(from))
	if status > 0 {
		span.SetAttributes(attribute.Int("http.response.status_code", status))
	}
	if status == 0 || status >= 500 {
		span.SetStatus(codes.Error, "")
	}
	span.End(trace.WithTimestamp(to))
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
