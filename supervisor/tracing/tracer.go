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
	report := rarely(o.Report)
	otel.SetErrorHandler(otel.ErrorHandlerFunc(report))
	described, err := describe(ctx, o.Version)
	if err != nil {
		report(err) // it is a part all the same
	}
	export := newExport(client, queueSize(), report)
	provider := sdk.NewTracerProvider(sdk.WithResource(described), sdk.WithSampler(newSampler()), sdk.WithSpanProcessor(export))
	return &Tracer{tracer: provider.Tracer("commerce.example/coordinator/supervisor/tracing"), provider: provider, export: export}, nil
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
// and it returns the error of ctx. Spans that end later are lost.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	err := t.provider.Shutdown(ctx)
	if err != nil {
		// Only this ends a request to a collector that does not answer. It waits
		// for nothing when ctx has ended.
		err = errors.Join(err, t.export.client.Shutdown(ctx))
	}
	return err
}

const reportEvery = time.Minute

// rarely passes on one error in reportEvery. A response of the collector can be
// long; what is passed on is not.
func rarely(report func(error)) func(error) {
	if report == nil {
		return func(error) {}
	}
	var mu sync.Mutex
	var last time.Time
	return func(err error) {
		now := time.Now()
		mu.Lock()
		soon := !last.IsZero() && now.Sub(last) < reportEvery
		if !soon {
			last = now
		}
		mu.Unlock()
		if !soon {
			report(shortened{err})
		}
	}
}

type shortened struct{ error }

func (s shortened) Error() string { return "tracing: " + text(s.error.Error()) }
func (s shortened) Unwrap() error { return s.error }
