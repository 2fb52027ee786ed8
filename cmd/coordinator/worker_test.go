package main

import (
	"maps"
	"slices"
	"testing"

	"commerce.example/coordinator/cmd/coordinator/internal/config"
)

// What the configuration accepts is what the binary can be.
func TestBuiltInWorkers(t *testing.T) {
	want := slices.Sorted(slices.Values(config.BuiltIn()))
	if got := slices.Sorted(maps.Keys(kinds)); !slices.Equal(got, want) {
		t.Errorf("the binary has %v, the configuration accepts %v", got, want)
	}
	for _, kind := range want {
		if _, args, ok := builtIn(kind, "x", 1); !ok || !slices.Contains(args, kind) {
			t.Errorf("%s: %v %v", kind, args, ok)
		}
	}
	if _, _, ok := builtIn("nosuch", "x", 1); ok {
		t.Error("a kind that there is not")
	}
}
