package supervisor_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"commerce.example/coordinator/ipc/credential"
	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/idempotency"
	"commerce.example/coordinator/supervisor/journal/kept"
)

// A reload that is refused leaves the keys of kept requests as they are; one that is
// not changes them.
func TestRefusedReloadKeepsTheJournalsKeys(t *testing.T) {
	state, well := t.TempDir(), filepath.Join(t.TempDir(), "legacy")
	set(t, well, "backend_refused")
	var config supervisor.Config
	var next []supervisor.BulkheadConfig
	var keys *kept.Keys
	r := start(t, []supervisor.BulkheadConfig{keeping("a", backed(well))}, keep(state), withKeys(keysOf(t, "1")), func(o *supervisor.Options) {
		config = o.Config
		o.Load = func() (supervisor.Config, error) {
			c := config
			c.Bulkheads, c.JournalKeys = next, keys
			return c, nil
		}
	})
	r.do("POST", "/a/legacy/pay", strings.NewReader("amount=1"), "X-Request-Id", "first")

	keys = keysOf(t, "2")
	next = []supervisor.BulkheadConfig{keeping("a", backed(well)), bulkhead("b", func(c *supervisor.BulkheadConfig) {
		c.Routes = []supervisor.Route{{Prefix: "/a"}}
	})}
	if rep := r.Reload(t.Context()); !strings.Contains(rep.Error, "claimed by two") {
		t.Fatalf("%+v", rep)
	}
	if got := r.replay(state, "first", false); got.Why != "" {
		t.Errorf("after a refused reload: %+v", got)
	}
	next = next[:1]
	if rep := r.Reload(t.Context()); rep.Error != "" {
		t.Fatalf("%+v", rep)
	}
	if got := r.replay(state, "first", false); got.Why == "" {
		t.Errorf("after a reload with another key: %+v", got)
	}
}

// A bulkhead that keeps its IDEMPOTENCY_* settings keeps the mode too.
func TestReloadThatKeepsIdempotencySettingsKeepsAllOfThem(t *testing.T) {
	scoped := func(mode supervisor.IdempotencyMode, field string) []supervisor.BulkheadConfig {
		return []supervisor.BulkheadConfig{bulkhead("a", func(c *supervisor.BulkheadConfig) {
			c.Idempotency = supervisor.IdempotencyConfig{Mode: mode, Settings: idempotency.Settings{Scope: []credential.Name{{Field: field}}}}
			c.Owner = field
		})}
	}
	r, next, _ := reloadable(t, scoped(supervisor.IdempotencyOptional, "A")...)
	for i, field := range []string{"B", "C", "D", "E"} { // each era has a key that is remembered
		resp, _ := r.do("POST", "/a", nil, "Idempotency-Key", fmt.Sprintf("key-%d", i))
		if resp.StatusCode != 200 {
			t.Fatal(resp.Status)
		}
		mode := supervisor.IdempotencyOptional
		if field == "E" {
			mode = supervisor.IdempotencyRequired
		}
		*next = scoped(mode, field)
		rep := r.Reload(t.Context())
		if rep.Error != "" || (len(rep.Details) == 1) != (field == "E") {
			t.Fatalf("%s: %+v", field, rep)
		}
	}
	if s := r.bulkhead("a"); s.Owner != "E" || s.Idempotency == nil || s.Idempotency.Mode != supervisor.IdempotencyOptional {
		t.Errorf("%+v", s)
	}
	if resp, body := r.do("POST", "/a", nil); resp.StatusCode != 200 {
		t.Errorf("without a key: %s %s", resp.Status, body)
	}
}
