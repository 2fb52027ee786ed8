package journal_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/journal"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDirVariable); dir != "" {
		crashWriter(dir)
		return
	}
	os.Exit(m.Run())
}

func mustOpen(t testing.TB, dir string, o journal.Options) *journal.Journal {
	t.Helper()
	j, err := journal.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func mustClose(t testing.TB, j *journal.Journal) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := j.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

func mustBegin(t testing.TB, j *journal.Journal, r *journal.Record) *journal.Entry {
	t.Helper()
	e, err := j.Begin(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// order is an intent as a supervisor writes it.
func order(id string) *journal.Record {
	return &journal.Record{
		RequestID: id, Bulkhead: "orders", Method: "POST", Path: "/api/orders/17", Route: "/api/orders/", Arrived: time.Now(), QueueUS: 12,
		Attempts: []journal.Attempt{{Slot: 1, Pid: 4711, Generation: 3, HandedUS: 40}},
		Client:   "0123456789abcdef", Headers: map[string]string{"User-Agent": "test"},
	}
}

// closed is what r becomes.
func closed(r *journal.Record, outcome string) *journal.Record {
	c := *r
	c.Outcome, c.Status, c.TookUS, c.BytesOut = outcome, 200, 5000, 456
	c.Attempts = []journal.Attempt{{Slot: 1, Pid: 4711, Generation: 3, HandedUS: 40, Stage: "answered", TookUS: 4900}}
	return &c
}

func explain(t testing.TB, dir, id string) *journal.Explanation {
	t.Helper()
	x, err := journal.NewReader(dir).Explain(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// only is the one story of an id.
func only(t testing.TB, dir, id string) *journal.Story {
	t.Helper()
	x := explain(t, dir, id)
	if len(x.Stories) != 1 {
		t.Fatalf("%s has %d stories", id, len(x.Stories))
	}
	return x.Stories[0]
}

func find(t testing.TB, dir string, f journal.Filter) []*journal.Story {
	t.Helper()
	var found []*journal.Story
	for s, err := range journal.NewReader(dir).Find(context.Background(), f) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, s)
	}
	return found
}

func verify(t testing.TB, dir string) *journal.Verification {
	t.Helper()
	v, err := journal.NewReader(dir).Verify(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func segments(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "journal-*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func ids(prefix string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("%s-%d", prefix, i)
	}
	return all
}
