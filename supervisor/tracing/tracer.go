package tracing

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Tracer begins the traces of requests. A nil *Tracer is tracing that is off. It
// is safe for concurrent use.
type Tracer struct {
	tracer   trace.Tracer
	provider *sdk.TracerProvider
	export   *export
	reports  *reports
}

// Options are those of New.
type Options struct {
	Version string // of the program, for service.version
	// Report hears what goes wrong with the exporter, once a minute at most, from
	// one of its goroutines. The text may name the collector, and quote what it
	// answered. nil: nobody does; Stats count all the same.
	Report func(error)
}

// New returns a Tracer when the environment of the process asks for one, else
// nil. It fails for what Check finds; that a collector is not there is no failure.
// It waits for nothing.
//
// OpenTelemetry has one handler of errors for the process: New makes it o.Report.
func New(ctx context.Context, o Options) (*Tracer, error) {
	on, err := asked()
	if err != nil || !on {
		return nil, err
	}
	client, err := newExporter(ctx)
	if err != nil {
		return nil, err
	}
	reports := &reports{to: o.Report}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(reports.tell))
	described, err := describe(ctx, o.Version)
	if err != nil {
		reports.tell(err) // it is a part all the same
	}
	export := newExport(client, queueSize(), reports.tell)
	provider := sdk.NewTracerProvider(sdk.WithResource(described), sdk.WithSampler(newSampler()), sdk.WithSpanProcessor(export))
	return &Tracer{tracer: provider.Tracer("commerce.example/coordinator/supervisor/tracing"), provider: provider, export: export, reports: reports}, nil
}

// describe says who sends the spans. What the environment says wins.
func describe(ctx context.Context, version string) (*resource.Resource, error) {
	return resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "coordinator"), attribute.String("service.version", version)),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
}

// Stats count spans since New.
type Stats struct {
	Exported uint64 // taken by the collector
	Failed   uint64 // given to it in vain
	Dropped  uint64 // the queue was full
}

// Stats are the counts of now; zero when tracing is off.
func (t *Tracer) Stats() Stats {
	if t == nil {
		return Stats{}
	}
	return t.export.stats()
}

// Close exports what waits, until ctx ends; then what is under way is given up,
// and it returns the error of ctx. Spans that end later are lost, and nothing is
// reported any more, although what was given up may still be about to end.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	defer t.reports.end()
	err := t.provider.Shutdown(ctx)
	if err != nil {
		// Only this ends a request to a collector that does not answer. It waits
		// for nothing when ctx has ended.
		err = errors.Join(err, t.export.client.Shutdown(ctx))
	}
	return err
}

const reportEvery = time.Minute

// reports passes on one error in reportEvery, until it is ended. A response of the
// collector can be long; what is passed on is not.
type reports struct {
	to func(error) // nil: nobody

	mu    sync.Mutex // also while to is told, so that nothing is told after end
	last  time.Time
	ended bool
}

func (r *reports) tell(err error) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended || r.to == nil || !r.last.IsZero() && now.Sub(r.last) < reportEvery {
		return
	}
	r.last = now
	r.to(shortened{err})
}

func (r *reports) end() {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
}

type shortened struct{ error }

func (s shortened) Error() string { return "tracing: " + text(s.error.Error()) }
func (s shortened) Unwrap() error { return s.error }
