package tracing

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// variables are those that have an effect here.
var variables = slices.Concat(
	[]string{
		"OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES",
		"OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG",
	},
	// Each of the exporter is there for all signals, and for traces alone.
	exporterVariables("OTEL_EXPORTER_OTLP_"), exporterVariables("OTEL_EXPORTER_OTLP_TRACES_"),
	[]string{
		"OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT", "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
		"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
	},
)

func exporterVariables(prefix string) []string {
	names := []string{"ENDPOINT", "PROTOCOL", "HEADERS", "TIMEOUT", "COMPRESSION", "INSECURE", "CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"}
	for i, name := range names {
		names[i] = prefix + name
	}
	return names
}

// Variables are the names of all variables that have an effect here; a new slice
// each time.
func Variables() []string { return slices.Clone(variables) }

// A Mistake is a variable whose value nobody can work with.
type Mistake struct {
	Variable string
	Want     string // what is accepted; it never holds the value
}

// Check finds what keeps tracing from being what value, by the name of a variable,
// asks for. When it is not asked for there is no mistake. OpenTelemetry would have
// most of them replaced by a default in silence.
func Check(value func(name string) string) []Mistake {
	c := checking{value: value}
	if !c.asked() {
		return c.found
	}
	for _, scope := range []string{"OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_TRACES_"} {
		c.want(scope+"PROTOCOL", "want one of http/protobuf, http/json, grpc", oneOf("http/protobuf", "http/json", "grpc"))
		c.want(scope+"ENDPOINT", "want an http or https URL, such as http://127.0.0.1:4318", isURL)
		c.want(scope+"COMPRESSION", "want gzip or none", oneOf("gzip", "none"))
		c.want(scope+"TIMEOUT", "want milliseconds, a whole number above 0", isPositive)
		c.want(scope+"HEADERS", "want NAME=VALUE, comma-separated, the values percent-encoded", isList)
		for _, file := range []string{"CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"} {
			c.want(scope+file, "want a file that can be read", isReadable)
		}
	}
	c.want("OTEL_RESOURCE_ATTRIBUTES", "want NAME=VALUE, comma-separated, the values percent-encoded", isList)
	c.want("OTEL_TRACES_SAMPLER", "want one of "+strings.Join(samplers, ", "), oneOf(samplers...))
	if strings.Contains(c.get("OTEL_TRACES_SAMPLER"), "ratio") {
		c.want("OTEL_TRACES_SAMPLER_ARG", "want a ratio from 0 to 1, such as 0.01", isRatio)
	}
	for _, name := range variables {
		if strings.HasPrefix(name, "OTEL_BSP_") {
			c.want(name, "want a whole number above 0", isPositive)
		}
	}
	return c.found
}

// checking is one Check.
type checking struct {
	value func(name string) string
	found []Mistake
}

// get is the value of a variable; empty is unset, as OpenTelemetry has it.
func (c *checking) get(name string) string { return strings.TrimSpace(c.value(name)) }

func (c *checking) want(name, want string, ok func(value string) bool) {
	if value := c.get(name); value != "" && !ok(value) {
		c.found = append(c.found, Mistake{name, want})
	}
}

// asked reports whether tracing is asked for. The SDK leaves that to the program.
// OpenTelemetry's default for the exporter is otlp; here something has to be said,
// so that nobody exports to localhost without knowing.
func (c *checking) asked() bool {
	if strings.EqualFold(c.get("OTEL_SDK_DISABLED"), "true") {
		return false
	}
	switch c.get("OTEL_TRACES_EXPORTER") {
	case "otlp":
		return true
	case "none":
		return false
	case "":
		return cmp.Or(c.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), c.get("OTEL_EXPORTER_OTLP_ENDPOINT")) != ""
	}
	c.found = append(c.found, Mistake{"OTEL_TRACES_EXPORTER", "want otlp or none"})
	return false
}

func oneOf(words ...string) func(string) bool {
	return func(value string) bool { return slices.Contains(words, value) }
}

func isURL(value string) bool {
	u, err := url.Parse(value)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

func isPositive(value string) bool {
	n, err := strconv.Atoi(value)
	return err == nil && n > 0
}

func isRatio(value string) bool {
	f, err := strconv.ParseFloat(value, 64)
	return err == nil && f >= 0 && f <= 1
}

// isList reports whether each member has a name and a value that can be decoded
// (W3C Baggage, section 3.3, whose form OpenTelemetry took).
func isList(value string) bool {
	for member := range strings.SplitSeq(value, ",") {
		name, encoded, found := strings.Cut(member, "=")
		_, err := url.PathUnescape(strings.TrimSpace(encoded))
		if !found || strings.TrimSpace(name) == "" || err != nil {
			return false
		}
	}
	return true
}

func isReadable(path string) bool {
	info, err := os.Stat(path) // first: opening a pipe would wait for its other end
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	f, err := os.Open(path)
	if err == nil {
		f.Close()
	}
	return err == nil
}

// asked reports whether the environment of the process asks for tracing.
func asked() (bool, error) {
	if found := Check(os.Getenv); len(found) > 0 {
		return false, fmt.Errorf("tracing: %s: %s", found[0].Variable, found[0].Want)
	}
	c := checking{value: os.Getenv}
	return c.asked(), nil
}

// newExporter is one of OTLP, which reads the rest of its variables itself.
func newExporter(ctx context.Context) (sdk.SpanExporter, error) {
	if cmp.Or(variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), variable("OTEL_EXPORTER_OTLP_PROTOCOL")) == "grpc" {
		return otlptracegrpc.New(ctx)
	}
	return otlptracehttp.New(ctx)
}

// queueSize is OTEL_BSP_MAX_QUEUE_SIZE, as the SDK reads it.
func queueSize() int {
	if n, err := strconv.Atoi(variable("OTEL_BSP_MAX_QUEUE_SIZE")); err == nil {
		return n
	}
	return sdk.DefaultMaxQueueSize
}

func variable(name string) string { return strings.TrimSpace(os.Getenv(name)) }
