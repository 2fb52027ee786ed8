package supervisor_test

import (
	"path/filepath"
	"strings"
	"testing"

	"commerce.example/coordinator/supervisor"
)

func keysOn(c *supervisor.BulkheadConfig) { c.Idempotency.Mode = supervisor.IdempotencyOptional }

// unpaid is a request with that id and the key k, which ends as its backend does.
func (r *running) unpaid(well, ends, id string) {
	r.t.Helper()
	set(r.t.(*testing.T), well, ends)
	r.do("POST", "/a/legacy/pay", strings.NewReader("amount=1"), "X-Request-Id", id, key, "k")
	set(r.t.(*testing.T), well, "")
}

// What may have been done is sent again to a backend that knows repeats, though its
// key is taken: by itself. Its client's repeats are not.
func TestReplayOfItsOwnKey(t *testing.T) {
	state, well := t.TempDir(), filepath.Join(t.TempDir(), "legacy")
	r := start(t, []supervisor.BulkheadConfig{keeping("a", backed(well), idempotent, keysOn)}, keep(state), withKeys(keysOf(t, "1")))
	r.unpaid(well, "backend_reset", "first")
	repeat := func(id string, want int) {
		t.Helper()
		resp, body := r.do("POST", "/a/legacy/pay", strings.NewReader("amount=1"), "X-Request-Id", id, key, "k")
		if resp.StatusCode != want {
			t.Errorf("%s: %d %s", id, resp.StatusCode, body)
		}
	}
	repeat("client", 409)
	if got := r.replay(state, "first", true); got.Why != "" || got.Outcome != "done" || got.Status != 200 {
		t.Fatalf("%+v", got)
	}
	repeat("again", 200)
	if s := stories(t, state, "again")[0]; s.Fallback != "replay" {
		t.Errorf("sent again: %+v", s)
	}
	nothingKept(t, state)
}
