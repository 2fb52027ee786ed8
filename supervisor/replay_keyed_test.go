package supervisor_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

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
	set(t, well, "backend_reset")
	second := r.replay(state, "first", true)
	if second.Outcome != "sent_unknown" {
		t.Fatalf("%+v", second)
	}
	repeat("client-again", 409)
	set(t, well, "")
	if got := r.replay(state, second.ReplayID, true); got.Why != "" || got.Outcome != "done" || got.Status != 200 {
		t.Fatalf("%+v", got)
	}
	repeat("again", 200)
	if s := stories(t, state, "again")[0]; s.Fallback != "replay" {
		t.Errorf("sent again: %+v", s)
	}
	nothingKept(t, state)
}

// What a client has repeated itself, with its key, is not sent again, and that is no
// failure; also not when its key is remembered no more.
func TestReplayOfWhatWasRepeated(t *testing.T) {
	for name, forget := range map[string]func(*supervisor.BulkheadConfig){
		"remembered": nil,
		"expired":    func(c *supervisor.BulkheadConfig) { c.Idempotency.MaxAge = time.Nanosecond },
		"off":        func(c *supervisor.BulkheadConfig) { c.Idempotency.Mode = supervisor.IdempotencyOff },
	} {
		t.Run(name, func(t *testing.T) {
			state, well := t.TempDir(), filepath.Join(t.TempDir(), "legacy")
			var config supervisor.Config
			r := start(t, []supervisor.BulkheadConfig{keeping("a", backed(well), keysOn)}, keep(state), withKeys(keysOf(t, "1")),
				func(o *supervisor.Options) {
					config = o.Config
					o.Load = func() (supervisor.Config, error) { return config, nil }
				})
			r.unpaid(well, "backend_refused", "first")
			r.unpaid(well, "backend_refused", "other")
			if got := r.replay(state, "first", false); got.Why != "" {
				t.Fatalf("before it was repeated: %+v", got)
			}
			r.unpaid(well, "", "repeat")
			stories(t, state, "repeat")
			if forget != nil {
				config.Listen, config.AdminListen = []string{"127.0.0.1:0"}, ""
				config.Bulkheads = []supervisor.BulkheadConfig{keeping("a", backed(well), keysOn, forget)}
				if report := r.Reload(t.Context()); report.Error != "" {
					t.Fatalf("%+v", report)
				}
			}
			for _, id := range []string{"first", "other", "first"} {
				got := r.replay(state, id, true)
				if got.Why != supervisor.NoReplayRepeated && got.Why != supervisor.NoReplayGone || got.Detail == "" || got.ReplayID != "" || got.Outcome != "" {
					t.Errorf("%s: %+v", id, got)
				}
			}
		})
	}
}

// Of two requests with one key one is sent again, whether or not keys are still on.
func TestReplayOfTwoWithOneKey(t *testing.T) {
	for _, on := range []bool{true, false} {
		state, well := t.TempDir(), filepath.Join(t.TempDir(), "legacy")
		with := []option{keep(state), withKeys(keysOf(t, "1"))}
		r := start(t, []supervisor.BulkheadConfig{keeping("a", backed(well), keysOn)}, with...)
		for _, id := range []string{"first", "second"} {
			r.unpaid(well, "backend_refused", id)
			stories(t, state, id)
		}
		if !on {
			r.stop()
			r = start(t, []supervisor.BulkheadConfig{keeping("a", backed(well))}, with...)
			set(t, well, "")
		}
		for _, id := range []string{"first", "second"} {
			if got := r.replay(state, id, false); got.Why != "" {
				t.Errorf("%s would not be sent: %+v", id, got)
			}
		}
		if got := r.replay(state, "second", true); got.Outcome != "done" {
			t.Fatalf("%+v", got)
		}
		for range 2 {
			if got := r.replay(state, "first", true); got.Why != supervisor.NoReplayRepeated || got.ReplayID != "" {
				t.Errorf("keys %t: %+v", on, got)
			}
		}
	}
}
