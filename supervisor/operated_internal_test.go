package supervisor

import (
	"encoding/json"
	"testing"

	"commerce.example/coordinator/supervisor/adaptive"
	"commerce.example/coordinator/supervisor/breaker"
)

// What another version hands down, or none, is taken as far as it is known.
func TestOperatedOfOtherVersions(t *testing.T) {
	c := BulkheadConfig{Workers: 2, Limit: 8, BreakerMode: breaker.Observe, Adaptive: adaptive.Settings{Mode: adaptive.Auto, Least: 1, Most: 8}}
	of := func(handed string, c BulkheadConfig) (Operated, BulkheadConfig) {
		t.Helper()
		var h Handover
		if err := json.Unmarshal([]byte(handed), &h); err != nil {
			t.Fatal(err)
		}
		o := h.operated("a")
		return o, o.of(c)
	}
	if o, got := of(`{"files": {"in": 3}, "sick": []}`, c); o != (Operated{}) || got.Workers != 2 || got.Limit != 8 || got.Adaptive != c.Adaptive || got.BreakerMode != breaker.Observe {
		t.Errorf("an earlier one: %+v %+v", o, got)
	}
	if _, got := of(`{"operated": {"a": {"breaker": "ajar", "later": 1}}}`, c); got.BreakerMode != breaker.Observe {
		t.Errorf("a later one: breaker %s", got.BreakerMode)
	}
	handed := `{"operated": {"a": {"drained": true, "breaker": "open", "workers": 3, "limit": 5}}}`
	if o, got := of(handed, c); !o.Drained || got.Workers != 3 || got.Limit != 5 || got.Adaptive.Mode != adaptive.Fixed || got.BreakerMode != breaker.Open {
		t.Errorf("%+v %+v", o, got)
	}
	if _, got := of(handed, BulkheadConfig{Fallback: FallbackConfig{Always: true}}); got.Workers != 0 {
		t.Errorf("without a backend: %d workers", got.Workers)
	}
	if (*Handover)(nil).operated("a") != (Operated{}) {
		t.Error("nobody handed anything down")
	}
}
