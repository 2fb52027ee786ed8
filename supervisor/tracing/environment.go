package tracing

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// asked reports whether the environment asks for tracing. The SDK leaves that to
// the program. OpenTelemetry's default for the exporter is otlp; here something
// has to be said, so that nobody exports to localhost without knowing.
func asked() (bool, error) {
	if strings.EqualFold(variable("OTEL_SDK_DISABLED"), "true") {
		return false, nil
	}
	switch exporter := variable("OTEL_TRACES_EXPORTER"); exporter {
	case "otlp":
		return true, nil
	case "none":
		return false, nil
	case "":
		return cmp.Or(variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), variable("OTEL_EXPORTER_OTLP_ENDPOINT")) != "", nil
	default:
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER=%q is neither otlp nor none", text(exporter))
	}
}

// newExporter is one of OTLP, which reads the rest of its variables itself.
func newExporter(ctx context.Context) (sdk.SpanExporter, error) {
	protocol := cmp.Or(variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), variable("OTEL_EXPORTER_OTLP_PROTOCOL"), "http/protobuf")
	switch protocol {
	case "http/protobuf", "http/json":
		return otlptracehttp.New(ctx)
	case "grpc":
		return otlptracegrpc.New(ctx)
	}
	return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL=%q is none of http/protobuf, http/json, grpc", text(protocol))
}

// queueSize is OTEL_BSP_MAX_QUEUE_SIZE, as the SDK reads it: what is no positive
// number is the default.
func queueSize() int {
	if n, err := strconv.Atoi(variable("OTEL_BSP_MAX_QUEUE_SIZE")); err == nil && n > 0 {
		return n
	}
	return sdk.DefaultMaxQueueSize
}

// variable is one of the environment; empty is unset, as OpenTelemetry has it.
func variable(name string) string { return strings.TrimSpace(os.Getenv(name)) }
