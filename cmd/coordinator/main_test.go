package main

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// coordinator runs the program and returns what it printed.
func coordinator(t *testing.T, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	code = run(args, environ, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it anew):\n%s", path, got)
	}
}

var environ = []string{"HOME=/home/op", "XDG_RUNTIME_DIR=/run/user/7", "BULKHEAD_ORDERS_WORKERS=4", "COORDINATOR_CONNS=5000"}

func TestCheck(t *testing.T) {
	code, stdout, stderr := coordinator(t, environ, "check", "--env-file", "testdata/coordinator.env")
	if code != exitDone || stderr != "" {
		t.Errorf("exit code %d, stderr:\n%s", code, stderr)
	}
	golden(t, "check.golden", stdout)
	for line := range strings.Lines(stdout) {
		if len(line) > 81 {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
	}
	if strings.Contains(stdout, "s3cret") {
		t.Error("a secret is shown")
	}
}

func TestTenMistakesAreTenLines(t *testing.T) {
	code, _, stderr := coordinator(t, nil, "check", "--env-file", "testdata/mistakes.env")
	if code != exitUsage {
		t.Errorf("exit code %d, want %d", code, exitUsage)
	}
	if n := strings.Count(stderr, "\n"); n != 10 {
		t.Errorf("%d lines, want 10", n)
	}
	golden(t, "mistakes.golden", stderr)
}

func TestCheckJSON(t *testing.T) {
	var report struct {
		OK       bool
		Sections []struct {
			Bulkhead, Prefix string
			Settings         []struct{ Variable, Value, From string }
		}
		Errors, Warnings []struct{ Variable, Value, From, Message string }
	}
	code, stdout, _ := coordinator(t, environ, "check", "--json", "--env-file", "testdata/coordinator.env")
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != exitDone || !report.OK {
		t.Fatalf("exit code %d, %v:\n%s", code, err, stdout)
	}
	if report.Errors == nil || report.Warnings == nil || len(report.Sections) != 3 || report.Sections[1].Bulkhead != "orders" {
		t.Errorf("got %+v", report)
	}
	limit := report.Sections[1].Settings[6]
	if limit.Variable != "BULKHEAD_ORDERS_LIMIT" || limit.Value != "9" || limit.From != "testdata/coordinator.env:8" {
		t.Errorf("got %+v", limit)
	}

	code, stdout, stderr := coordinator(t, nil, "check", "--json", "--env-file", "testdata/mistakes.env")
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != exitUsage || stderr != "" {
		t.Fatalf("exit code %d, %v, stderr %q:\n%s", code, err, stderr, stdout)
	}
	if report.OK || len(report.Errors) != 10 {
		t.Errorf("ok %v with %d errors, want 10", report.OK, len(report.Errors))
	}
	if strings.Contains(stdout, "s3cret") {
		t.Error("a secret is shown")
	}
}

func TestWarningsDoNotFail(t *testing.T) {
	code, stdout, stderr := coordinator(t, append(environ, "BULKHEAD_ORDERS_SERVICE_HOST=10.0.0.1"), "check", "--env-file", "testdata/coordinator.env")
	if code != exitDone || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "warning: environment: BULKHEAD_ORDERS_SERVICE_HOST: ignored") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	if !strings.HasSuffix(stdout, "\nthe configuration is valid\n") {
		t.Error("it does not say that the configuration is valid")
	}
}

func TestCheckVariables(t *testing.T) {
	code, stdout, _ := coordinator(t, nil, "check", "--variables")
	if code != exitDone || !strings.Contains(stdout, "BULKHEAD_X_QUEUE_TIMEOUT  [1s]\n    how long one may wait\n") {
		t.Errorf("exit code %d:\n%s", code, stdout)
	}
	var variables []struct{ Name, Default, Meaning string }
	code, stdout, _ = coordinator(t, nil, "check", "--variables", "--json")
	if err := json.Unmarshal([]byte(stdout), &variables); err != nil || code != exitDone || len(variables) < 50 {
		t.Errorf("exit code %d, %v, %d variables", code, err, len(variables))
	}
}

func TestVersion(t *testing.T) {
	code, stdout, _ := coordinator(t, nil, "version")
	if code != exitDone || !strings.HasPrefix(stdout, "coordinator ") || strings.Count(stdout, "\n") != 1 {
		t.Errorf("exit code %d: %q", code, stdout)
	}
	var b build
	if _, stdout, _ = coordinator(t, nil, "version", "--json"); json.Unmarshal([]byte(stdout), &b) != nil || b.Go == "" || b.Version == "" {
		t.Errorf("got %q", stdout)
	}
}

func TestUsage(t *testing.T) {
	for _, test := range []struct {
		args   []string
		code   int
		stdout bool // and not stderr
	}{
		{[]string{"--help"}, exitDone, true},
		{[]string{"check", "--help"}, exitDone, true},
		{nil, exitUsage, false},
		{[]string{"chekc"}, exitUsage, false},
		{[]string{"check", "--no-such-flag"}, exitUsage, false},
		{[]string{"check", "surplus"}, exitUsage, false},
		{[]string{"check", "--env-file"}, exitUsage, false},
		{[]string{"check", "--env-file", "testdata/none"}, exitUsage, false},
		{[]string{"check", "--env-file", "testdata/coordinator.env", "--env-file", "testdata/coordinator.env"}, exitUsage, false},
	} {
		code, stdout, stderr := coordinator(t, nil, test.args...)
		if code != test.code || (stdout != "") != test.stdout || (stderr != "") == test.stdout {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q", test.args, code, stdout, stderr)
		}
		for line := range strings.Lines(stdout) {
			if len(line) > 81 {
				t.Errorf("%q: %d columns: %s", test.args, len(line)-1, line)
			}
		}
	}
}

// A closed pipe behind check must not look like success.
func TestCheckReportsWriteErrors(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	read.Close()
	defer write.Close()
	var stderr strings.Builder
	for _, args := range [][]string{{"check", "--variables"}, {"version"}} {
		if code := run(args, nil, strings.NewReader(""), write, &stderr); code != exitFailed {
			t.Errorf("%q: exit code %d, want %d", args, code, exitFailed)
		}
	}
}
