package tracing_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"commerce.example/coordinator/supervisor/tracing"
)

// flagged is whether a request with that traceparent is sampled, of each of n.
func flagged(t *testing.T, tracer *tracing.Tracer, n int, trusted bool, parent func(int) string) (sampled int) {
	t.Helper()
	for i := range n {
		r := request(parent(i))
		tr := tracer.Start(r, begun, trusted)
		got, ok := tracing.ParseParent(r.Header.Get("Traceparent"))
		if !ok || tr.ID() != parent(i)[3:35] || r.Header.Get("Tracestate") == "" {
			t.Fatalf("%q became %v", parent(i), r.Header)
		}
		if got.Flags&1 == 1 {
			sampled++
		}
		// What is below it follows.
		x := tr.Exchange(begun, 0)
		below, _ := tracing.ParseParent(r.Header.Get("Traceparent"))
		if below.Flags != got.Flags || (tr.Exemplar() != "") != (got.Flags&1 == 1) {
			t.Errorf("front %v, exchange %v", got, below)
		}
		x.End(begun, "answered", "")
		tr.End(tracing.Result{Status: 200})
	}
	return sampled
}

// Only who is trusted decides for its requests.
func TestWhoMaySample(t *testing.T) {
	always := func(parent string) func(int) string { return func(int) string { return parent } }
	// Trace ids that any ratio takes, as their choice is free.
	low := func(i int) string {
		return fmt.Sprintf("00-4bf92f3577b34da6%016x-00f067aa0ba902b7-01", i+1)
	}
	for _, c := range []struct {
		sampler, ratio string
		trusted        bool
		parent         func(int) string
		least, most    int // of 1000
	}{
		{"", "", true, always(caller), 1000, 1000},
		{"", "", true, always(unsampled), 0, 0},
		{"", "", false, always(unsampled), 1000, 1000},
		{"parentbased_always_off", "", true, always(caller), 1000, 1000},
		{"parentbased_always_off", "", false, always(caller), 0, 0},
		{"parentbased_traceidratio", "0.1", true, always(caller), 1000, 1000},
		{"parentbased_traceidratio", "0.1", false, low, 30, 250}, // seven standard deviations
		{"traceidratio", "0.1", false, low, 30, 250},
		{"traceidratio", "0.1", true, low, 1000, 1000},
		{"parentbased_traceidratio", "", false, low, 1000, 1000},
		{"always_on", "", true, always(unsampled), 1000, 1000},
		{"always_off", "", true, always(caller), 0, 0},
	} {
		t.Run("", func(t *testing.T) {
			newReceiver(t, http.StatusOK, nil)
			t.Setenv("OTEL_TRACES_SAMPLER", c.sampler)
			t.Setenv("OTEL_TRACES_SAMPLER_ARG", c.ratio)
			tracer := start(t, nil)
			if n := flagged(t, tracer, 1000, c.trusted, c.parent); n < c.least || n > c.most {
				t.Errorf("%+v: %d of 1000", c, n)
			}
			shut(t, tracer)
		})
	}
}

func TestCheck(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318"
	for _, c := range []struct {
		set  string // by spaces
		want string // the variables that are wrong
	}{
		{"", ""},
		{endpoint, ""},
		{endpoint + " OTEL_EXPORTER_OTLP_PROTOCOL=grpc OTEL_TRACES_SAMPLER=traceidratio OTEL_TRACES_SAMPLER_ARG=0.5", ""},
		{endpoint + " OTEL_EXPORTER_OTLP_HEADERS=a=b,c=%20d OTEL_EXPORTER_OTLP_TIMEOUT=500 OTEL_EXPORTER_OTLP_COMPRESSION=gzip", ""},
		{endpoint + " OTEL_EXPORTER_OTLP_CERTIFICATE=" + file, ""},
		{endpoint + " OTEL_EXPORTER_OTLP_CERTIFICATE=" + file + ".none", "OTEL_EXPORTER_OTLP_CERTIFICATE"},
		{endpoint + " OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY=/", "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=127.0.0.1:4318", "OTEL_EXPORTER_OTLP_ENDPOINT"},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=ftp://x", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"},
		{endpoint + " OTEL_EXPORTER_OTLP_PROTOCOL=http OTEL_EXPORTER_OTLP_TIMEOUT=10s", "OTEL_EXPORTER_OTLP_PROTOCOL OTEL_EXPORTER_OTLP_TIMEOUT"},
		{endpoint + " OTEL_EXPORTER_OTLP_HEADERS=secret", "OTEL_EXPORTER_OTLP_HEADERS"},
		{endpoint + " OTEL_EXPORTER_OTLP_HEADERS=a=%zz", "OTEL_EXPORTER_OTLP_HEADERS"},
		{endpoint + " OTEL_EXPORTER_OTLP_COMPRESSION=zstd", "OTEL_EXPORTER_OTLP_COMPRESSION"},
		{endpoint + " OTEL_TRACES_SAMPLER=jaeger_remote", "OTEL_TRACES_SAMPLER"},
		{endpoint + " OTEL_TRACES_SAMPLER=parentbased_traceidratio OTEL_TRACES_SAMPLER_ARG=2", "OTEL_TRACES_SAMPLER_ARG"},
		{endpoint + " OTEL_TRACES_SAMPLER=always_on OTEL_TRACES_SAMPLER_ARG=2", ""},
		{endpoint + " OTEL_BSP_MAX_QUEUE_SIZE=0", "OTEL_BSP_MAX_QUEUE_SIZE"},
		{"OTEL_TRACES_EXPORTER=console", "OTEL_TRACES_EXPORTER"},
		{"OTEL_TRACES_EXPORTER=otlp OTEL_BSP_SCHEDULE_DELAY=often", "OTEL_BSP_SCHEDULE_DELAY"},
		// Off, nothing is wrong.
		{"OTEL_BSP_SCHEDULE_DELAY=often", ""},
		{endpoint + " OTEL_BSP_SCHEDULE_DELAY=often OTEL_SDK_DISABLED=true", ""},
		{endpoint + " OTEL_TRACES_SAMPLER=x OTEL_TRACES_EXPORTER=none", ""},
	} {
		set := make(map[string]string)
		for setting := range strings.FieldsSeq(c.set) {
			name, value, _ := strings.Cut(setting, "=")
			set[name] = value
		}
		var got []string
		for _, m := range tracing.Check(func(name string) string { return set[name] }) {
			got = append(got, m.Variable)
			if !strings.HasPrefix(m.Want, "want ") || !slices.Contains(tracing.Variables(), m.Variable) {
				t.Errorf("%+v", m)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v", c.set, got)
		}
	}
}
