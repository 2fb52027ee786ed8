package supervisor_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/fallback"
)

// A reload keeps what is remembered, takes new data, and ends both.
func TestReloadFallback(t *testing.T) {
	c, set := legacyOf(t, "a", withBackup(t, "critical", prepared))
	r, next, _ := reloadable(t, c)
	reload := func(change ...func(*supervisor.BulkheadConfig)) {
		t.Helper()
		before := pids(r.bulkhead("a"))
		changed := c
		for _, f := range change {
			f(&changed)
		}
		*next = []supervisor.BulkheadConfig{changed}
		if rep := r.Reload(t.Context()); rep.Error != "" || fmt.Sprint(pids(r.bulkhead("a"))) != fmt.Sprint(before) {
			t.Fatalf("%+v", rep)
		}
	}
	_, was := r.get("/a/legacy/x")
	set("backend_reset")

	anew := withBackup(t, "critical", strings.Replace(prepared, "\n\nprepared", "\n\nprepared anew", 1))
	reload(func(c *supervisor.BulkheadConfig) {
		c.Fallback.Kinds, c.Fallback.Stale.MaxAge = []fallback.Kind{fallback.Stale}, 2*time.Minute
		anew(c)
	})
	if _, is := r.get("/a/legacy/x"); is != was {
		t.Errorf("%q, want %q", is, was)
	}
	if _, is := r.get("/a/legacy/critical"); is != "prepared anew" {
		t.Errorf("%q", is)
	}
	reload(func(c *supervisor.BulkheadConfig) { c.Fallback = supervisor.FallbackConfig{} })
	if got := r.reason("GET", "/a/legacy/x", nil); got != "backend_reset" || r.bulkhead("a").Fallback != nil {
		t.Errorf("none: %s", got)
	}
	eventually(t, 5*time.Second, "not degraded", func() bool { _, degraded, _ := r.Ready(); return len(degraded) == 0 })
	reload()
	if got := r.reason("GET", "/a/legacy/x", nil); got != "backend_reset" {
		t.Errorf("what was forgotten came back: %s", got)
	}
}

// Without a backend there are no workers, and what was prepared is all there is.
func TestFallbackAlways(t *testing.T) {
	r := start(t, one("a", withBackup(t, "critical", prepared), func(c *supervisor.BulkheadConfig) { c.Fallback.Always, c.Workers = true, 0 }))
	resp, body := r.get("/a/legacy/critical")
	if resp.StatusCode != 200 || body != "prepared" {
		t.Fatalf("%d %q", resp.StatusCode, body)
	}
	wantParams(t, resp.Header, "Cache-Status", map[string]any{"hit": true, "detail": httpsfv.Token("backup")})
	if got := r.reason("GET", "/a/other", nil) + " " + r.reason("POST", "/a/legacy/critical", nil); got != "no_worker no_worker" {
		t.Error(got)
	}
	if ok, degraded, why := r.Ready(); !ok || len(degraded) != 1 {
		t.Errorf("%v %v %v", ok, degraded, why)
	}
	two := 2
	if rep := r.Resize(t.Context(), "a", &two, nil); rep.Error == "" {
		t.Errorf("%+v", rep)
	}
	if s := r.bulkhead("a"); !s.Fallback.Always || len(s.Workers) != 0 {
		t.Errorf("%+v", s)
	}
}
