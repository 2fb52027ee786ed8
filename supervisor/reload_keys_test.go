package supervisor_test

import (
	"path/filepath"
	"strings"
	"testing"

	"commerce.example/coordinator/supervisor"
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
