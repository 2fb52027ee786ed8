package supervisor

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"commerce.example/coordinator/supervisor/idempotency"
)

// IdempotencyStatus is the keys of a bulkhead.
type IdempotencyStatus struct {
	Mode          IdempotencyMode `json:"mode"`
	Keys          int             `json:"keys"`        // remembered in all
	KeysLimit     int             `json:"keys_limit"`  //
	InProgress    int             `json:"in_progress"` // of them
	Answers       int             `json:"answers"`     // that are kept
	Bytes         int64           `json:"bytes"`       // that these take, with those that are being recorded
	BytesLimit    int64           `json:"bytes_limit"`
	OldestSeconds float64         `json:"oldest_seconds,omitempty"` // since the request ended whose key is the next to be forgotten
}

// idempotencyStatus is nil for a bulkhead without keys.
func idempotencyStatus(set *settings, now time.Time) *IdempotencyStatus {
	if set.keys == nil {
		return nil
	}
	s, limits := set.keys.Stats(), set.keys.Settings()
	return &IdempotencyStatus{
		Mode: set.Idempotency.Mode, Keys: s.Keys, KeysLimit: limits.Keys, InProgress: s.InProgress, Answers: s.Answers,
		Bytes: s.Bytes + s.Recording, BytesLimit: limits.Bytes, OldestSeconds: ageAt(s.Oldest, now),
	}
}

// keyGauges are those of bulkheads that take idempotency keys.
type keyGauges struct {
	keys, inProgress, answers, bytes *prometheus.Desc
	evictions, dropped               *prometheus.Desc
}

func newKeyGauges(desc func(name, help string, labels ...string) *prometheus.Desc) keyGauges {
	return keyGauges{
		keys:       desc("coordinator_idempotency_keys", "Idempotency keys that are remembered."),
		inProgress: desc("coordinator_idempotency_in_progress", "Of them those whose first request is not over."),
		answers:    desc("coordinator_idempotency_answers", "First answers that are kept for repeats."),
		bytes:      desc("coordinator_idempotency_bytes", "Memory that they take, with those that are being recorded."),
		evictions:  desc("coordinator_idempotency_evictions_total", "First answers that made room for others. Their keys stay."),
		dropped:    desc("coordinator_idempotency_dropped_total", "First answers that came whole and were not kept: too large, or no room. Their keys stay."),
	}
}

func (g *keyGauges) all() []*prometheus.Desc {
	return []*prometheus.Desc{g.keys, g.inProgress, g.answers, g.bytes, g.evictions, g.dropped}
}

func (g *keyGauges) collect(keys *idempotency.Store, gauge, count sample) {
	if keys == nil {
		return
	}
	s := keys.Stats()
	gauge(g.keys, float64(s.Keys))
	gauge(g.inProgress, float64(s.InProgress))
	gauge(g.answers, float64(s.Answers))
	gauge(g.bytes, float64(s.Bytes+s.Recording))
	count(g.evictions, float64(s.Evicted))
	count(g.dropped, float64(s.Dropped))
}
