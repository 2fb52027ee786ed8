package journal_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/journal"
)

// keptOrder is an intent whose request is kept under that name.
func keptOrder(id, name string) *journal.Record {
	r := order(id)
	r.Body, r.Sealed = journal.BodyKept, name
	return r
}

// replayOf is the intent of a replay of first.
func replayOf(id string, first *journal.Story) *journal.Record {
	r := keptOrder(id, "second")
	r.ReplayOf, r.ReplayOfEntry = first.RequestID, first.Entry
	return r
}

func TestReplaysAreLinked(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, journal.Options{})
	unsent := keptOrder("first", "sealed-1")
	mustBegin(t, j, unsent).Close(closed(unsent, "never_sent"))
	done := keptOrder("other", "")
	mustBegin(t, j, done).Close(closed(done, "done"))
	mustClose(t, j)

	first := only(t, dir, "first")
	if first.Sealed != "sealed-1" || first.Body != "kept" || first.ReplayOf != "" {
		t.Errorf("%+v", first)
	}
	if found := find(t, dir, journal.Filter{Sealed: true}); len(found) != 1 || found[0].RequestID != "first" {
		t.Errorf("kept: %+v", found)
	}
	r := journal.NewReader(dir)
	replays := func(want ...string) {
		t.Helper()
		got, err := r.Replays(context.Background())
		if err != nil || len(got) != len(want) || len(want) > 0 && got[first.Entry].RequestID != want[0] {
			t.Errorf("%v, %v, want %v", got, err, want)
		}
	}
	replays()

	j = mustOpen(t, dir, journal.Options{})
	refused := replayOf("refused", first)
	mustBegin(t, j, refused).Close(closed(refused, "refused")) // it never left: nothing was sent
	awaitStory(t, dir, "refused", journal.Closed)
	replays()
	second := replayOf("second", first)
	e := mustBegin(t, j, second)
	replays("second") // its intent alone says so
	e.Close(closed(second, "sent_unknown"))
	mustClose(t, j)
	replays("second")

	x := explain(t, dir, "first")
	if len(x.Stories) != 1 || len(x.Replays) != 2 || x.Replays[1].RequestID != "second" || x.Replays[1].Outcome != "sent_unknown" {
		t.Errorf("%+v %+v", x.Stories, x.Replays)
	}
	if x := explain(t, dir, "second"); len(x.Stories) != 1 || x.Stories[0].ReplayOf != "first" || len(x.Replays) != 0 {
		t.Errorf("%+v", x)
	}
}

func awaitStory(t *testing.T, dir, id string, state journal.State) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); only(t, dir, id).State != state; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s is not %s", id, state)
		}
	}
}

// A crash leaves the intent of a replay open: the first was sent again all the same.
func TestReplayOfACrash(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, journal.Options{})
	r := keptOrder("first", "sealed-1")
	mustBegin(t, j, r).Close(closed(r, "never_sent"))
	awaitStory(t, dir, "first", journal.Closed)
	mustBegin(t, j, replayOf("second", only(t, dir, "first")))
	dead := t.TempDir()
	if err := os.CopyFS(dead, os.DirFS(dir)); err != nil { // a copy has no lock
		t.Fatal(err)
	}
	mustClose(t, j)
	check := func() {
		t.Helper()
		got, err := journal.NewReader(dead).Replays(context.Background())
		if s := got[only(t, dead, "first").Entry]; err != nil || s == nil || s.Outcome != "sent_unknown" || s.Sealed != "second" {
			t.Errorf("%+v, %v", s, err)
		}
	}
	check()
	mustClose(t, mustOpen(t, dead, journal.Options{})) // recovers
	check()
}

func TestAt(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, journal.Options{})
	r := keptOrder("first", "sealed-1")
	e := mustBegin(t, j, r)
	e.Close(closed(r, "never_sent"))
	mustClose(t, j)
	s, reader := only(t, dir, "first"), journal.NewReader(dir)
	got, err := reader.At(s.Segment, s.Offset)
	if err != nil || got.Entry != e.ID() || got.Outcome != "never_sent" || got.Sealed != "sealed-1" || got.State != journal.Closed {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []struct {
		name   string
		offset int64
	}{{s.Segment, 0}, {s.Segment, s.Offset + 1}, {s.Segment, -1}, {s.Segment, 1 << 40}, {"../" + s.Segment, s.Offset}, {"clients.key", 0}, {"", 0}} {
		if got, err := reader.At(bad.name, bad.offset); !errors.Is(err, journal.ErrNoClose) {
			t.Errorf("%v: %+v, %v", bad, got, err)
		}
	}
	path := filepath.Join(dir, s.Segment)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[s.Offset+100] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := reader.At(s.Segment, s.Offset); !errors.Is(err, journal.ErrNoClose) {
		t.Errorf("damaged: %+v, %v", got, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.At(s.Segment, s.Offset); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("trimmed: %v", err)
	}
}

func TestWrittenBeside(t *testing.T) {
	dir := t.TempDir()
	r := journal.NewReader(dir)
	check := func(run string, want bool) {
		t.Helper()
		if got, err := r.WrittenBeside(run, "another"); err != nil || got != want {
			t.Errorf("%t, %v, want %t", got, err, want)
		}
	}
	a := mustOpen(t, dir, journal.Options{})
	check(a.Run(), false)
	b := mustOpen(t, dir, journal.Options{})
	check(a.Run(), true)
	check(b.Run(), true)
	mustClose(t, a)
	check(b.Run(), false)
	check("", true)
	mustClose(t, b)
	check("", false)
}

func TestOldest(t *testing.T) {
	dir := t.TempDir()
	if at, err := journal.Oldest(dir); err != nil || !at.IsZero() {
		t.Errorf("of none: %v, %v", at, err)
	}
	begun := time.Now()
	mustClose(t, mustOpen(t, dir, journal.Options{}))
	if at, err := journal.Oldest(dir); err != nil || at.Sub(begun).Abs() > time.Minute {
		t.Errorf("%v, %v, begun at %v", at, err, begun)
	}
}
