package journal_test

import (
	"context"
	"maps"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/journal"
)

// keyedOrder is an order with an idempotency key.
func keyedOrder(id string) *journal.Record {
	r := order(id)
	r.IdempotencyDigest = "0123456789abcdef0123456789abcdef"
	return r
}

// What had a key and ended since then, or has not ended, and nothing else.
func TestKeyed(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, journal.Options{})
	mustBegin(t, j, keyedOrder("early")).Close(closed(keyedOrder("early"), "done"))
	open := mustBegin(t, j, keyedOrder("open"))
	since := time.Now()
	mustBegin(t, j, order("plain")).Close(closed(order("plain"), "done"))
	quoting := order("quoting")
	quoting.Path = `/api/,"idempotency_digest":`
	mustBegin(t, j, quoting).Close(closed(quoting, "done"))
	mustBegin(t, j, keyedOrder("late")).Close(closed(keyedOrder("late"), "undelivered"))
	waitFor(t, func() bool { return j.Stats().Closes == 4 })

	keyed := func(since time.Time) map[string]string {
		found := make(map[string]string)
		for s, err := range journal.NewReader(dir).Keyed(context.Background(), since) {
			if err != nil {
				t.Fatal(err)
			}
			found[s.RequestID] = string(s.State) + " " + s.Outcome
		}
		return found
	}
	if got, want := keyed(since), map[string]string{"open": "in_flight ", "late": "closed undelivered"}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	open.Close(closed(keyedOrder("open"), "partial"))
	mustClose(t, j)
	if got, want := keyed(since), map[string]string{"open": "closed partial", "late": "closed undelivered"}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := keyed(since.Add(-time.Hour)); len(got) != 3 {
		t.Errorf("%v", got)
	}
	for range journal.NewReader(dir).Keyed(context.Background(), time.Time{}) {
		break // ends it
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var last error
	for _, last = range journal.NewReader(dir).Keyed(ctx, time.Time{}) {
	}
	if last == nil {
		t.Error("it was not given up")
	}
	for s, err := range journal.NewReader(t.TempDir()+"/none").Keyed(context.Background(), time.Time{}) {
		t.Errorf("%v %v", s, err)
	}
}

func TestAdviceOnRepeats(t *testing.T) {
	for _, c := range []struct {
		record journal.Record
		safe   bool
		why    string
	}{
		{journal.Record{Fallback: journal.FallbackReplay, RetrySafe: true}, true, "the same answer again"},
		{journal.Record{Reason: journal.ReasonConflict}, false, "may have been done"},
		{journal.Record{Reason: journal.ReasonConflict, RetrySafe: true}, true, "never left"}, // the first was in progress
		{journal.Record{Reason: "poison_request"}, false, "workers died"},
	} {
		c.record.Outcome = journal.OutcomeRefused
		safe, why := (&journal.Story{Record: c.record, State: journal.Closed}).RetryAdvice()
		if safe != c.safe || !strings.Contains(why, c.why) {
			t.Errorf("%+v: %v, %s", c.record, safe, why)
		}
	}
}

func TestReach(t *testing.T) {
	dir := t.TempDir()
	reach := func() (time.Time, bool) {
		since, trimmed, err := journal.NewReader(dir).Reach()
		if err != nil {
			t.Fatal(err)
		}
		return since, trimmed
	}
	if since, trimmed := reach(); !since.IsZero() || trimmed {
		t.Errorf("of nothing: %v %v", since, trimmed)
	}
	o := journal.Options{SegmentBytes: 1, TotalBytes: 4 << 10}
	j := mustOpen(t, dir, o)
	if since, trimmed := reach(); time.Since(since) > time.Minute || time.Since(since) < -time.Minute || trimmed {
		t.Errorf("at first: %v %v", since, trimmed)
	}
	for _, id := range ids("x", 20) {
		mustBegin(t, j, order(id)).Close(closed(order(id), "done"))
	}
	mustClose(t, j)
	if since, trimmed := reach(); since.IsZero() || !trimmed {
		t.Errorf("then: %v %v, %d segments", since, trimmed, len(segments(t, dir)))
	}
}
