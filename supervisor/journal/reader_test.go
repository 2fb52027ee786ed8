package journal_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/journal"
)

// die leaves dir as a process does that was killed: a copy of a journal that is
// still written has no lock.
func die(t *testing.T, dir string) (dead string) {
	t.Helper()
	dead = t.TempDir()
	if err := os.CopyFS(dead, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return dead
}

func TestRecoveryClosesWhatIsOpenOnce(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, journal.Options{})
	defer mustClose(t, j)
	for _, id := range []string{"unsent", "sent", "closed"} {
		e := mustBegin(t, j, order(id))
		if id == "closed" {
			e.Close(closed(order(id), "done"))
		} else {
			defer e.Close(closed(order(id), "done"))
		}
	}
	waitFor(t, func() bool { return j.Stats().Closes == 1 })
	dead := die(t, dir)
	if s := only(t, dead, "sent"); s.State != journal.Unrecorded || s.Outcome != journal.OutcomeSentUnknown {
		t.Errorf("before recovery: %+v", s)
	}
	recovered := 0
	o := journal.Options{
		Notify: func(e journal.Event) { recovered += e.Count },
		Prove: func(r *journal.Record) string {
			if r.RequestID == "unsent" {
				return journal.OutcomeNeverSent
			}
			return "done" // which nobody can prove: it is not believed
		},
	}
	for range 3 {
		mustClose(t, mustOpen(t, dead, o))
	}
	if recovered != 2 {
		t.Errorf("%d entries recovered in three starts", recovered)
	}
	for id, want := range map[string]string{"unsent": journal.OutcomeNeverSent, "sent": journal.OutcomeSentUnknown, "closed": "done"} {
		s := only(t, dead, id)
		if s.Outcome != want || (s.By == journal.ByRecovery) != (id != "closed") || s.RetrySafe != (id == "unsent") || s.Path == "" {
			t.Errorf("%s: %+v", id, s)
		}
	}
	x := explain(t, dead, "nobody")
	if len(x.Spans.Up) != 4 || x.Spans.Up[0].End != "died" || x.Spans.Up[3].End != "stopped" || len(x.Spans.Down) != 3 || len(x.Spans.Gaps) != 0 {
		t.Errorf("%+v", x.Spans)
	}
	if c := x.Spans.Complete(); len(c) != 1 || !c[0].From.Equal(x.Spans.Since) || !c[0].To.Equal(x.Spans.Up[3].To) {
		t.Errorf("complete: %+v", c)
	}
}

// During an upgrade two write. Neither recovers what the other has open.
func TestTwoWritersAtATime(t *testing.T) {
	dir := t.TempDir()
	old := mustOpen(t, dir, journal.Options{SegmentBytes: 4 << 10})
	e := mustBegin(t, old, order("of-old"))
	next := mustOpen(t, dir, journal.Options{SegmentBytes: 4 << 10})
	for i, id := range ids("r", 60) {
		j := []*journal.Journal{old, next}[i%2]
		mustBegin(t, j, order(id)).Close(closed(order(id), "done"))
	}
	if s := only(t, dir, "of-old"); s.State != journal.InFlight {
		t.Errorf("%+v", s)
	}
	e.Close(closed(order("of-old"), "done"))
	mustClose(t, old)
	mustClose(t, next)
	if s := only(t, dir, "of-old"); s.Outcome != "done" || s.By != "" {
		t.Errorf("%+v", s)
	}
	if n := len(find(t, dir, journal.Filter{Outcome: "done"})); n != 61 {
		t.Errorf("%d stories", n)
	}
	if v := verify(t, dir); !v.OK() || v.Torn+v.Unrecorded != 0 {
		t.Errorf("%+v", v)
	}
	if down := explain(t, dir, "").Spans.Down; len(down) != 0 {
		t.Errorf("down: %+v", down)
	}
}

func TestQuestions(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, journal.Options{})
	for i, id := range ids("r", 10) {
		r := order(id)
		r.Bulkhead = []string{"orders", "catalog"}[i%2]
		r.IdempotencyDigest = "digest-" + id
		mustBegin(t, j, r).Close(closed(r, []string{"done", "done", "partial"}[i%3]))
	}
	mustClose(t, j)
	for _, c := range []struct {
		f    journal.Filter
		want int
	}{
		{journal.Filter{}, 10}, {journal.Filter{Bulkhead: "orders"}, 5}, {journal.Filter{Outcome: "partial"}, 3},
		{journal.Filter{Bulkhead: "order"}, 0}, {journal.Filter{IdempotencyDigest: "digest-r-3"}, 1},
		{journal.Filter{Since: time.Now().Add(time.Hour)}, 0}, {journal.Filter{Since: time.Now().Add(-time.Hour)}, 10},
		{journal.Filter{Until: time.Now().Add(-time.Hour)}, 0}, {journal.Filter{State: journal.InFlight}, 0},
	} {
		if got := len(find(t, dir, c.f)); got != c.want {
			t.Errorf("%+v: %d, want %d", c.f, got, c.want)
		}
	}
	r := journal.NewReader(dir)
	last, err := r.Tail(context.Background(), journal.Filter{}, 3)
	if err != nil || len(last) != 3 || last[0].RequestID != "r-7" || last[2].RequestID != "r-9" {
		t.Errorf("%v, %v", last, err)
	}
	sum, err := r.Stats(context.Background(), journal.Filter{})
	if err != nil || sum.Stories != 10 || sum.Outcomes["orders"]["done"]+sum.Outcomes["catalog"]["done"] != 7 {
		t.Errorf("%+v, %v", sum, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.Verify(ctx); err != context.Canceled {
		t.Error(err)
	}
	if v := verify(t, filepath.Join(dir, "nothing")); !v.OK() || v.Segments != 0 {
		t.Errorf("%+v", v)
	}
}

func TestReconcile(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, journal.Options{})
	for _, id := range ids("r", 4) {
		mustBegin(t, j, order(id)).Close(closed(order(id), "done"))
	}
	mustClose(t, j)
	for name, list := range map[string]string{
		"csv":          "r-1\nlost\n\nr-3\n",
		"csv, header":  "\ufeffamount,Request_ID\n5,r-1\n6,lost\n7\n8, r-3 \n",
		"JSON lines":   `{"request_id":"r-1"}` + "\n" + `{"id":"lost"}` + "\n{}\n" + `{"request_id":"r-3","id":"x"}`,
		"JSON, spaced": " \n{\"id\":\"r-1\"} {\"id\":\"lost\"} {\"id\":\"r-3\"}",
	} {
		var got []string
		for m, err := range journal.NewReader(dir).Reconcile(context.Background(), journal.ReadIDs(strings.NewReader(list)), journal.Filter{Bulkhead: "orders"}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%s %s %v", m.Side, m.RequestID, m.Story != nil))
		}
		if want := "[ours r-0 true both r-1 true ours r-2 true both r-3 true theirs lost false]"; fmt.Sprint(got) != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	for _, bad := range []string{"{\"id\":1}", "\"a\nb"} {
		failed := false
		for _, err := range journal.ReadIDs(strings.NewReader(bad)) {
			failed = failed || err != nil
		}
		if !failed {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestAllowList(t *testing.T) {
	l, err := journal.NewAllowList([]string{"user-agent", "X-Tenant", "X-Tenant"})
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{"User-Agent": {"a", "b"}, "Authorization": {"secret"}, "X-Other": {"x"}}
	if got := l.Of(h); len(got) != 1 || got["User-Agent"] != "a" {
		t.Errorf("%v", got)
	}
	for _, name := range []string{"authorization", "COOKIE", "idempotency-key"} {
		if _, err := journal.NewAllowList([]string{name}); err == nil {
			t.Errorf("%s is allowed", name)
		}
	}
}
