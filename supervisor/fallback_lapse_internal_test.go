package supervisor

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"commerce.example/coordinator/supervisor/fallback"
)

// A lapse is told of when it begins, when it passes a limit and when it is over,
// and never for each answer.
func TestLapseInTheLog(t *testing.T) {
	var text bytes.Buffer
	log := hclog.New(&hclog.LoggerOptions{Output: &text, DisableTime: true})
	said := func() string {
		defer text.Reset()
		return text.String()
	}
	now := time.Now()
	b := &Bulkhead{stats: newBulkheadStats(newMetrics(), "orders", now)}
	b.lapse.init()
	b.settings.Store(newSettings(BulkheadConfig{Name: "orders", Fallback: FallbackConfig{
		Kinds: []fallback.Kind{fallback.Backup}, MaxShare: 0.5, MaxFor: time.Minute,
	}}, nil, nil))
	request := &http.Request{Method: http.MethodGet, Header: http.Header{"X-Request-Id": {"first"}}}
	call := func(kind fallback.Kind, reason Reason) {
		c := &call{bulkhead: b, set: b.settings.Load(), r: request, stoodIn: kind, reason: reason, status: 200}
		c.progress.Begun = kind == "" && reason == ""
		b.lapse.note(c, now)
		b.logFallback(log, now)
	}
	call("", "")
	if s := said(); s != "" {
		t.Errorf("while all is well: %s", s)
	}
	call(fallback.Backup, ReasonBreakerOpen) // half of all
	if s := said(); !strings.Contains(s, "fallback begins: bulkhead=orders kind=backup reason=breaker_open request_id=first") || strings.Count(s, "\n") != 1 {
		t.Errorf("the first: %s", s)
	}
	for range 3 {
		call(fallback.Backup, ReasonBreakerOpen)
	}
	if s := said(); !strings.Contains(s, "over its limit: answers go on: bulkhead=orders limit=max_share for=0s stale=0 backup=2") || strings.Count(s, "\n") != 1 {
		t.Errorf("most: %s", s)
	}
	now = now.Add(time.Hour) // nobody asks
	call("", ReasonBreakerOpen)
	if s := said(); !strings.Contains(s, "limit=max_for for=1h0m0s") || strings.Count(s, "\n") != 1 {
		t.Errorf("long: %s", s)
	}
	call(fallback.Backup, ReasonBreakerOpen)
	call("", "") // answered, but a fallback is of just now
	now = now.Add(lapseQuiet - time.Second)
	b.logFallback(log, now)
	if s := said(); s != "" || !b.lapse.on.Load() {
		t.Errorf("too soon: %s", s)
	}
	now = now.Add(time.Second)
	b.logFallback(log, now)
	if s := said(); !strings.Contains(s, "fallback ended: bulkhead=orders for=1h0m10s stale=0 backup=5") {
		t.Errorf("the end: %s", s)
	}
	if since, _ := b.lapse.present(); !since.IsZero() || b.lapse.passed(b.settings.Load().backed, now) != nil {
		t.Error("it goes on")
	}
	call(fallback.Backup, ReasonQueueFull)
	if s := said(); !strings.Contains(s, "fallback begins") || !strings.Contains(s, "reason=queue_full") {
		t.Errorf("the next: %s", s)
	}
}

func TestWholeSecondsRoundDown(t *testing.T) {
	for d, want := range map[time.Duration]int64{
		0: 0, 1500 * time.Millisecond: 1, -1: -1, -time.Second: -1, -1001 * time.Millisecond: -2,
	} {
		if got := wholeSeconds(d); got != want {
			t.Errorf("%v: %d, want %d", d, got, want)
		}
	}
}
