package supervisor_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"

	"commerce.example/coordinator/ipc/credential"
	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/fallback"
	"commerce.example/coordinator/supervisor/fallback/backup"
	"commerce.example/coordinator/supervisor/fallback/stale"
)

// legacyOf is a bulkhead with fallbacks whose backend does as set says: "" is
// well, a status is what it answers, and a fault how it fails.
func legacyOf(t testing.TB, name string, change ...func(*supervisor.BulkheadConfig)) (c supervisor.BulkheadConfig, set func(state string)) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "legacy")
	set = func(state string) {
		t.Helper()
		err := os.WriteFile(file+".new", []byte(state), 0o600)
		if err == nil {
			err = os.Rename(file+".new", file)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	set("")
	c = bulkhead(name, func(c *supervisor.BulkheadConfig) {
		c.Worker.Env["LEGACY"] = file
		c.Breaker.MinCalls = 1000 // closed, unless the test is about it
		c.Fallback.Kinds = []fallback.Kind{fallback.Stale}
		c.Fallback.Stale = stale.Settings{Bytes: 16 << 20, MaxAge: time.Minute, PerCredential: []credential.Name{{Field: "Authorization"}}}
	})
	for _, f := range change {
		f(&c)
	}
	return c, set
}

// withBackup reads answers, written as name and text in turn.
func withBackup(t testing.TB, files ...string) func(*supervisor.BulkheadConfig) {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, files[i]+backup.Suffix), []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set, err := backup.Load(dir, backup.Bounds{})
	if err != nil {
		t.Fatal(err)
	}
	return func(c *supervisor.BulkheadConfig) {
		c.Fallback.Kinds = append(c.Fallback.Kinds, fallback.Backup)
		c.Fallback.Backup = set
	}
}

const prepared = "GET /a/legacy/critical?{...}\nmade 2026-01-02T03:04:05Z\nstatus 200\nContent-Type: text/plain\n\nprepared"

// sample is the value of a series; 0 when there is none.
func (r *running) sample(series string) float64 {
	r.t.Helper()
	text := r.metric(series)
	if text == "" {
		return 0
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		r.t.Fatal(err)
	}
	return v
}

// member is the parameters of the last one of a list of intermediaries.
func member(t *testing.T, h http.Header, field string) map[string]any {
	t.Helper()
	list, err := httpsfv.UnmarshalList(h.Values(field))
	if err != nil || len(list) == 0 {
		t.Fatalf("%s: %q: %v", field, h.Values(field), err)
	}
	item := list[len(list)-1].(httpsfv.Item)
	if item.Value != httpsfv.Token("coordinator") {
		t.Errorf("%s is of %v", field, item.Value)
	}
	params := map[string]any{}
	for _, name := range item.Params.Names() {
		params[name], _ = item.Params.Get(name)
	}
	return params
}

func wantParams(t *testing.T, h http.Header, field string, want map[string]any) {
	t.Helper()
	got := member(t, h, field)
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s %q: %s is %v, want %v", field, h.Values(field), name, got[name], value)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s %q: has %s", field, h.Values(field), name)
		}
	}
}
