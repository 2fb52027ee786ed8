package config_test

import (
	"testing"

	"commerce.example/coordinator/supervisor/adaptive"
)

// What depends on LIMIT depends on the bound that is safe.
func TestAdaptiveLimit(t *testing.T) {
	for _, test := range []struct {
		value                     string
		limit                     int
		adaptive                  adaptive.Settings
		queue, upgrades, minCalls int
	}{
		{"64", 64, adaptive.Settings{}, 32, 64, 20},
		{"auto:8-64", 64, adaptive.Settings{Mode: adaptive.Auto, Least: 8, Most: 64}, 32, 64, 8},
		{"auto:30-40", 40, adaptive.Settings{Mode: adaptive.Auto, Least: 30, Most: 40}, 20, 40, 20},
		{"advise:8-64", 64, adaptive.Settings{Mode: adaptive.Advise, Least: 8, Most: 64}, 32, 64, 20},
	} {
		b := load(t, map[string]string{"BULKHEAD_ORDERS_LIMIT": test.value}).Supervisor.Bulkheads[0]
		if b.Limit != test.limit || b.Adaptive != test.adaptive {
			t.Errorf("%s: limit %d, %+v", test.value, b.Limit, b.Adaptive)
		}
		if b.Queue != test.queue || b.UpgradeLimit != test.upgrades || b.Breaker.MinCalls != test.minCalls {
			t.Errorf("%s: queue %d, upgrades %d, min calls %d", test.value, b.Queue, b.UpgradeLimit, b.Breaker.MinCalls)
		}
		if b.Adaptive.Mode != adaptive.Fixed && b.Adaptive.String() != test.value {
			t.Errorf("%s: called %s", test.value, b.Adaptive)
		}
	}
}
