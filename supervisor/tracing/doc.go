// Package tracing continues the trace of a request and tells a collector of it.
// It is the one home of OpenTelemetry, which it takes for what is not ours to
// invent: the model, the samplers, the batches and OTLP.
//
// # Off
//
// Tracing is off unless the standard variables of the process ask for it, and a
// nil [Tracer], [Trace] and [Exchange] do nothing at no cost: call sites do not
// ask. The fields traceparent and tracestate then pass from client to backend as
// they came, as of a hop that takes no part (W3C Trace Context, section 2.2).
// [TraceID] reads the id for logs all the same.
//
// # On
//
// It is on when OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT
// is set, or OTEL_TRACES_EXPORTER is otlp; unless OTEL_SDK_DISABLED is true or
// OTEL_TRACES_EXPORTER is none. All other variables are those of the SDK and the
// exporter: OTEL_SERVICE_NAME (default coordinator), OTEL_RESOURCE_ATTRIBUTES,
// OTEL_TRACES_SAMPLER and _ARG (default parentbased_always_on),
// OTEL_EXPORTER_OTLP_* (protocol http/protobuf, http/json or grpc), OTEL_BSP_*;
// [Variables] has all. They are read from the environment of the process, once,
// and reach no worker. [Check] finds mistakes in them.
//
// A request that comes from a trusted proxy is sampled as that says, where the
// sampler is one of parentbased_*. For all others a trace is continued, and
// whether it is sampled is decided here, as if it began here.
//
// # Spans
//
//	front     server    arrival to record; the rest are below it
//	queue     internal  waiting for a slot
//	exchange  client    one attempt: hand-over to a worker until its last byte
//	backend   internal  below its exchange: hand-over to head of the answer
//
// An exchange is the parent that worker and backend see in traceparent: its id is
// known before the request leaves, and stands for that attempt alone. The backend
// call is told by the supervisor from what the worker reported, so that a worker
// needs no SDK, and so that a dead one is told of too; there is none when nothing
// was sent. When a worker sends is not reported, only that it does: the span begins
// with the hand-over, some tens of microseconds early. A worker with an SDK of its
// own gets its variables by BULKHEAD_X_ENV_OTEL_*; its spans come below the
// exchange.
//
// A span holds what the access log does: no query, no header field, no address.
//
// # Who owns what
//
// A Trace belongs to its request. Ended spans wait in a queue of
// OTEL_BSP_MAX_QUEUE_SIZE (2048) for one goroutine of the SDK; behind that they
// are dropped and counted, so that no request ever waits for a collector. What
// goes wrong is reported once a minute at most. [Tracer.Close] flushes and ends it.
package tracing
