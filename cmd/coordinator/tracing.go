package main

import (
	"context"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"

	"commerce.example/coordinator/supervisor/tracing"
)

// openTracer makes the tracer that the variables of OpenTelemetry ask for; nil: they
// ask for none. Those of the file go into the environment of this process, from
// which OpenTelemetry takes them. No other process gets them: the environment of a
// worker is built from nothing, that of a successor is the one that this process
// was started with.
func openTracer(ofFile map[string]string, log hclog.Logger) (*tracing.Tracer, error) {
	for name, value := range ofFile {
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
	}
	t, err := tracing.New(context.Background(), tracing.Options{
		Version: version(), Report: func(err error) { log.Warn("traces not exported", "error", err) },
	})
	if t != nil {
		log.Info("traces are exported")
	}
	return t, err
}

// tracePatience is how long a stop waits for a collector.
const tracePatience = time.Second

// closeTracer exports what is left.
func closeTracer(t *tracing.Tracer, log hclog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), tracePatience)
	defer cancel()
	if err := t.Close(ctx); err != nil {
		log.Warn("traces not exported", "error", err)
	}
}
