package supervisor_test

import (
	"reflect"
	"strings"
	"testing"

	"commerce.example/coordinator/supervisor"
)

// The limit may be resized up to what the workers that run were started with, however
// often; beyond, a reload starts others.
func TestResizeKeepsToTheConnectionsOfTheWorkers(t *testing.T) {
	const configured = 1024 - 2 // besides the upgrades
	r, next, _ := reloadable(t, bulkhead("a"))
	resize := func(limit int) string {
		t.Helper()
		return r.Resize(t.Context(), "a", nil, &limit).Error
	}
	if err := resize(configured); err != "" {
		t.Fatal(err)
	}
	if err := resize(2 * configured); !strings.Contains(err, "1024 connections each") {
		t.Errorf("beyond them: %q", err)
	}
	before := pids(r.bulkhead("a"))
	*next = []supervisor.BulkheadConfig{bulkhead("a", func(c *supervisor.BulkheadConfig) { c.Limit = configured })}
	if rep := r.Reload(t.Context()); rep.Error != "" {
		t.Fatalf("%+v", rep)
	}
	if after := pids(r.bulkhead("a")); reflect.DeepEqual(before, after) {
		t.Error("a reload for which they have too few connections kept the workers")
	}
	if err := resize(2 * configured); err != "" {
		t.Errorf("the new workers: %s", err)
	}
}
