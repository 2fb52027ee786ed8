package tracing

import (
	"context"
	"sync/atomic"

	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// export is the SDK's batches with a count of what they lose, which they keep to
// themselves: it lets in no more spans than their queue holds, so they never drop
// one, and takes notice when the exporter is done with them.
type export struct {
	sdk.SpanProcessor // the batches
	client            sdk.SpanExporter
	report            func(error)

	room     int64        // of the queue
	waiting  atomic.Int64 // in it, or on their way
	exported atomic.Uint64
	failed   atomic.Uint64
	dropped  atomic.Uint64
}

func newExport(client sdk.SpanExporter, room int, report func(error)) *export {
	e := &export{client: client, report: report, room: int64(room)}
	e.SpanProcessor = sdk.NewBatchSpanProcessor((*counted)(e), sdk.WithMaxQueueSize(room))
	return e
}

func (e *export) stats() Stats {
	return Stats{Exported: e.exported.Load(), Failed: e.failed.Load(), Dropped: e.dropped.Load()}
}

// OnEnd takes a span, or drops it. It does not wait.
func (e *export) OnEnd(s sdk.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return // recorded for nobody: the batches would leave it out too
	}
	if e.waiting.Add(1) > e.room {
		e.waiting.Add(-1)
		e.dropped.Add(1)
		return
	}
	e.SpanProcessor.OnEnd(s)
}

// counted is the exporter that the batches see.
type counted export

// ExportSpans keeps the error from the batches: they can do nothing about it, and
// would report each.
func (c *counted) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := c.client.ExportSpans(ctx, spans)
	c.waiting.Add(-int64(len(spans)))
	if err != nil {
		c.failed.Add(uint64(len(spans)))
		c.report(err)
		return nil
	}
	c.exported.Add(uint64(len(spans)))
	return nil
}

func (c *counted) Shutdown(ctx context.Context) error { return c.client.Shutdown(ctx) }
