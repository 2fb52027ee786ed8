package config

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// telemetryOf loads a configuration whose file and environment have these lines
// more.
func telemetryOf(t *testing.T, file string, environ ...string) (*Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "coordinator.env")
	text := "COORDINATOR_BULKHEADS=a\nBULKHEAD_A_ROUTES=/\nBULKHEAD_A_BACKEND=http://127.0.0.1:9\n" + file
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(append([]string{"HOME=/home/op"}, environ...), path)
}

// What the environment of the process has is there already: the file adds the rest.
func TestTelemetryOfFileAndEnvironment(t *testing.T) {
	c, err := telemetryOf(t, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318\nOTEL_SERVICE_NAME=file\nOTEL_EXPORTER_OTLP_HEADERS=a=canary\n",
		"OTEL_SERVICE_NAME=environment", "OTEL_METRICS_EXPORTER=prometheus", "OTEL_TRACES_SAMPLER=always_on")
	if err != nil || len(c.Warnings) > 0 {
		t.Fatal(err, c.Warnings)
	}
	want := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_EXPORTER_OTLP_HEADERS": "a=canary"}
	if got := c.Supervisor.Telemetry; !maps.Equal(got, want) {
		t.Errorf("%v", got)
	}
	var b strings.Builder
	if err := c.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	table := b.String()
	for _, word := range []string{"OTEL_*", "SERVICE_NAME", "environment", "TRACES_SAMPLER"} {
		if !strings.Contains(table, word) {
			t.Errorf("no %s in\n%s", word, table)
		}
	}
	if strings.Contains(table, "canary") || strings.Contains(table, "METRICS_EXPORTER") {
		t.Error(table)
	}
}

// Without any of them there is no section of theirs.
func TestNoTelemetry(t *testing.T) {
	c, err := telemetryOf(t, "OTEL_SERVICE_NAME=\n")
	if err != nil || len(c.Sections) != 2 || len(c.Supervisor.Telemetry) > 0 {
		t.Error(err, c.Sections, c.Supervisor.Telemetry)
	}
}

func TestMistakesOfTelemetry(t *testing.T) {
	_, err := telemetryOf(t, "OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318\nOTEL_TRACES_SAMPLER=half\nOTEL_EXPORTER_OTLP_HEADERS=canary\n", "OTEL_BSP_MAX_QUEUE_SIZE=0")
	problems, _ := err.(Errors)
	var names []string
	for _, p := range problems {
		names = append(names, p.Variable)
		if !strings.Contains(p.Message, "want ") || strings.Contains(p.Error(), "canary") || p.From == "" {
			t.Error(p.Error())
		}
	}
	slices.Sort(names)
	if want := []string{"OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_TRACES_SAMPLER"}; !slices.Equal(names, want) {
		t.Error(err)
	}
	// Nobody asks for traces: there is nothing to be wrong.
	if _, err := telemetryOf(t, "OTEL_TRACES_SAMPLER=half\n"); err != nil {
		t.Error(err)
	}
	c, err := telemetryOf(t, "OTEL_EXPORTER_OTLP_ENDPONT=http://127.0.0.1:4318\nOTEL_METRICS_EXPORTER=none\n")
	if err != nil || len(c.Warnings) != 2 || !strings.Contains(c.Warnings[0].Message, "did you mean OTEL_EXPORTER_OTLP_ENDPOINT?") {
		t.Error(err, c.Warnings)
	}
}

func TestAccessLogFile(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct {
		file, err string
		warns     bool
	}{
		{"COORDINATOR_ACCESS_LOG=all\nCOORDINATOR_ACCESS_LOG_FILE=" + dir + "/new", "", false},
		{"COORDINATOR_ACCESS_LOG=failures\nCOORDINATOR_ACCESS_LOG_FILE=/dev/null", "", false},
		{"COORDINATOR_ACCESS_LOG_FILE=" + dir + "/new", "", true},
		{"COORDINATOR_ACCESS_LOG=all\nCOORDINATOR_ACCESS_LOG_FILE=" + dir, "is a directory; want a file", false},
		{"COORDINATOR_ACCESS_LOG=all\nCOORDINATOR_ACCESS_LOG_FILE=" + dir + "/none/new", "no such file or directory; want a file", false},
		{"COORDINATOR_ACCESS_LOG=sample:0", "want one of off, failures, sample:N", false},
	} {
		c, err := telemetryOf(t, test.file)
		if (err != nil) != (test.err != "") || err != nil && !strings.Contains(err.Error(), test.err) || (len(c.Warnings) > 0) != test.warns {
			t.Errorf("%s: %v, %v", test.file, err, c.Warnings)
		}
		if _, err := os.Stat(dir + "/new"); err == nil {
			t.Error("a check has made the file")
		}
	}
}
