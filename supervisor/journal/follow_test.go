package journal_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/journal"
)

// follow tells what Follow tells. The channel is closed when it has ended.
func follow(t *testing.T, ctx context.Context, dir string, f journal.Filter, n int) <-chan *journal.Story {
	t.Helper()
	told := make(chan *journal.Story)
	go func() {
		defer close(told)
		for s, err := range journal.NewReader(dir).Follow(ctx, f, n) {
			if err != nil {
				t.Error(err)
				return
			}
			select {
			case told <- s:
			case <-ctx.Done():
			}
		}
	}()
	return told
}

// told is the next story, which must come.
func told(t *testing.T, stories <-chan *journal.Story, id string) {
	t.Helper()
	select {
	case s, ok := <-stories:
		if !ok || s.RequestID != id || s.State != journal.Closed {
			t.Fatalf("%+v, want %s", s, id)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("%s is not told", id)
	}
}

// Each request is told once, in the order of the ends, over segments and over runs.
func TestFollow(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, journal.Options{SegmentBytes: 2 << 10})
	for _, id := range ids("before", 20) {
		mustBegin(t, j, order(id)).Close(closed(order(id), "done"))
	}
	waitFor(t, func() bool { return j.Stats().Closes == 20 })
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stories := follow(t, ctx, dir, journal.Filter{Bulkhead: "orders"}, 2)
	told(t, stories, "before-18")
	told(t, stories, "before-19")
	open := mustBegin(t, j, order("open"))
	for _, id := range ids("after", 20) {
		other := order("other")
		other.Bulkhead = "catalog"
		j.Write(other)
		mustBegin(t, j, order(id)).Close(closed(order(id), "done"))
		told(t, stories, id)
	}
	next := mustOpen(t, dir, journal.Options{})
	mustBegin(t, next, order("of-next")).Close(closed(order("of-next"), "done"))
	told(t, stories, "of-next")
	open.Close(closed(order("open"), "done"))
	told(t, stories, "open")
	mustClose(t, j)
	mustClose(t, next)
	cancel()
	for s := range stories {
		t.Errorf("also told: %s", s.RequestID)
	}
}

// A line that is being written is told when it is whole, and what stands in two
// segments once.
func TestFollowHalfALineAndARepeat(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stories := follow(t, ctx, dir, journal.Filter{}, 10) // what is there when it begins, too
	line := func(entry, id string) []byte {
		return journal.AppendRecord(journal.KindClose, entry, time.Now(), &journal.Record{RequestID: id, Outcome: "done"})
	}
	one, half := line("run.1", "one"), line("run.2", "half")
	name := filepath.Join(dir, "journal-00000001-x.jsonl")
	add := func(name string, text []byte) {
		t.Helper()
		f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = f.Write(text)
		}
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	add(name, append(one, half[:len(half)/2]...))
	told(t, stories, "one")
	add(name, half[len(half)/2:])
	told(t, stories, "half")
	add(filepath.Join(dir, "journal-00000002-x.jsonl"), append(half, line("run.3", "three")...))
	told(t, stories, "three")
	if err := os.Remove(name); err != nil { // trimmed
		t.Fatal(err)
	}
	add(filepath.Join(dir, "journal-00000002-x.jsonl"), []byte(strings.Repeat("junk", 100)+"\n"+string(line("run.4", "four"))))
	told(t, stories, "four")
}

func TestComplete(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 11, 21, 6, minute, 0, 0, time.UTC) }
	s := journal.Spans{
		Since: at(10),
		Up:    []journal.Up{{From: at(10), To: at(20)}, {From: at(30), To: at(50)}},
		Down:  []journal.Down{{From: at(20), To: at(30)}},
		Gaps:  []journal.Gap{{From: at(40), To: at(42)}, {From: at(15), To: at(17)}, {From: at(41), To: at(41)}, {From: at(48)}},
	}
	want := []journal.Span{{From: at(10), To: at(15)}, {From: at(17), To: at(40)}, {From: at(42), To: at(48)}}
	got := s.Complete()
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%d: %+v, want %+v", i, got[i], want[i])
		}
	}
	if got := new(journal.Spans).Complete(); len(got) != 0 {
		t.Errorf("of nothing: %+v", got)
	}
}
