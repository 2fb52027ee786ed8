package main

import (
	"errors"
	"io"
	"strings"
	"testing"

	"commerce.example/coordinator/supervisor"
)

// What a machine cannot do is a mistake of its configuration: a service manager
// need not try again.
func TestSettingThatCannotBeFollowedIsAUsageError(t *testing.T) {
	var stderr strings.Builder
	err := &supervisor.SettingError{Variable: "BULKHEAD_ORDERS_MEMORY_ENFORCE", Err: errors.New("required, and there is none")}
	if code := exitOf(err, &stderr); code != exitUsage || !strings.Contains(stderr.String(), "BULKHEAD_ORDERS_MEMORY_ENFORCE: required") {
		t.Errorf("exit code %d, stderr %q", code, stderr.String())
	}
}

func TestCheckSaysWhoEnforcesMemory(t *testing.T) {
	by, _ := supervisor.FindEnforcement()
	const text = "run enforces MEMORY by "
	_, stdout, _ := coordinator(t, append(environ, "BULKHEAD_ORDERS_MEMORY=1GiB"), "check", "--env-file", "testdata/coordinator.env")
	if !strings.Contains(stdout, text+string(by)) || !strings.HasSuffix(stdout, "\nthe configuration is valid\n") {
		t.Errorf("enforced by %s:\n%s", by, stdout)
	}
	for line := range strings.Lines(stdout) {
		if len(line) > 81 {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
	}
	if _, stdout, _ = coordinator(t, environ, "check", "--env-file", "testdata/coordinator.env"); strings.Contains(stdout, text) {
		t.Errorf("without a limit:\n%s", stdout)
	}
	if err := writeEnforcement(io.Discard, supervisor.Config{}); err != nil {
		t.Error(err)
	}
}
