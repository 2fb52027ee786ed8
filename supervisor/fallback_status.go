package supervisor

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"commerce.example/coordinator/supervisor/fallback"
)

// FallbackStatus is what a bulkhead answers in its backend's place, and what it
// could.
type FallbackStatus struct {
	Kinds  []fallback.Kind `json:"kinds"` // in the order in which they are tried
	Always bool            `json:"always,omitempty"`
	Share  float64         `json:"share"` // of the last minute's requests

	// Of the present lapse, in which fallbacks are given; nothing when there is none.
	Since *time.Time            `json:"since,omitempty"`
	Given map[fallback.Kind]int `json:"given,omitempty"`
	Over  []string              `json:"over,omitempty"` // its limits that are passed: max_share, max_for

	Stale  *StaleStatus  `json:"stale,omitempty"`
	Backup *BackupStatus `json:"backup,omitempty"`
}

// StaleStatus is what is remembered.
type StaleStatus struct {
	Answers       int     `json:"answers"`
	Bytes         int64   `json:"bytes"`
	BytesLimit    int64   `json:"bytes_limit"`
	OldestSeconds float64 `json:"oldest_seconds,omitempty"`
}

// BackupStatus is what was prepared.
type BackupStatus struct {
	Answers       int     `json:"answers"`
	OldestSeconds float64 `json:"oldest_seconds,omitempty"`
}

// fallbackStatus is nil for a bulkhead without any.
func (b *Bulkhead) fallbackStatus(f *fallbacks, now time.Time) *FallbackStatus {
	if f == nil {
		return nil
	}
	out := &FallbackStatus{Kinds: f.Kinds, Always: f.Always, Share: b.lapse.share(now), Over: b.lapse.passed(f, now)}
	if since, given := b.lapse.present(); !since.IsZero() {
		out.Since, out.Given = &since, make(map[fallback.Kind]int)
		for _, kind := range f.Kinds {
			out.Given[kind] = given[kindIndex(kind)]
		}
	}
	if f.stale != nil {
		s := f.stale.Stats()
		out.Stale = &StaleStatus{Answers: s.Entries, Bytes: s.Bytes, BytesLimit: f.Stale.Bytes, OldestSeconds: ageAt(s.Oldest, now)}
	}
	if f.Backup != nil {
		out.Backup = &BackupStatus{Answers: f.Backup.Len(), OldestSeconds: ageAt(f.Backup.Oldest(), now)}
	}
	return out
}

// ageAt is 0 where there is nothing.
func ageAt(made, now time.Time) float64 {
	if made.IsZero() {
		return 0
	}
	return max(0, now.Sub(made).Seconds())
}

// fallbackGauges are those of bulkheads that have fallbacks.
type fallbackGauges struct {
	active, share, over         *prometheus.Desc
	staleAnswers, staleBytes    *prometheus.Desc
	staleOldest, staleEvictions *prometheus.Desc
	backupAnswers, backupOldest *prometheus.Desc
}

func newFallbackGauges(desc func(name, help string, labels ...string) *prometheus.Desc) fallbackGauges {
	return fallbackGauges{
		active:         desc("coordinator_fallback_active_seconds", "How long fallbacks have been given; 0: none are."),
		share:          desc("coordinator_fallback_share", "Share of the last minute's requests that were given a fallback."),
		over:           desc("coordinator_fallback_over_limit", "1 when fallbacks are given to more requests, or for longer, than the configuration has in mind.", "limit"),
		staleAnswers:   desc("coordinator_fallback_stale_answers", "Answers of the backend that are remembered."),
		staleBytes:     desc("coordinator_fallback_stale_bytes", "Memory that they take."),
		staleOldest:    desc("coordinator_fallback_stale_oldest_seconds", "Age of the oldest of them."),
		staleEvictions: desc("coordinator_fallback_stale_evictions_total", "Answers that were forgotten for want of room."),
		backupAnswers:  desc("coordinator_fallback_backup_answers", "Answers that are prepared."),
		backupOldest:   desc("coordinator_fallback_backup_oldest_seconds", "Age of the oldest of them."),
	}
}

func (g *fallbackGauges) all() []*prometheus.Desc {
	return []*prometheus.Desc{
		g.active, g.share, g.over, g.staleAnswers, g.staleBytes, g.staleOldest, g.staleEvictions, g.backupAnswers, g.backupOldest,
	}
}

// sample hands out one value of a bulkhead.
type sample func(d *prometheus.Desc, v float64, labels ...string)

func (g *fallbackGauges) collect(b *Bulkhead, f *fallbacks, now time.Time, gauge, count sample) {
	if f == nil {
		return
	}
	active := 0.0
	if since, _ := b.lapse.present(); !since.IsZero() {
		active = now.Sub(since).Seconds()
	}
	gauge(g.active, active)
	gauge(g.share, b.lapse.share(now))
	is := map[string]float64{limitShare: 0, limitFor: 0}
	for _, limit := range b.lapse.passed(f, now) {
		is[limit] = 1
	}
	for limit, passed := range is {
		gauge(g.over, passed, limit)
	}
	if f.stale != nil {
		s := f.stale.Stats()
		gauge(g.staleAnswers, float64(s.Entries))
		gauge(g.staleBytes, float64(s.Bytes))
		gauge(g.staleOldest, ageAt(s.Oldest, now))
		count(g.staleEvictions, float64(s.Evicted))
	}
	if f.Backup != nil {
		gauge(g.backupAnswers, float64(f.Backup.Len()))
		gauge(g.backupOldest, ageAt(f.Backup.Oldest(), now))
	}
}
