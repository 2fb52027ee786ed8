package journal_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/journal"
)

func TestARequestIsRecordedAndExplained(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j := mustOpen(t, dir, journal.Options{Scope: map[string]string{"orders": "unsafe"}})
	r := order("r-1")
	e := mustBegin(t, j, r)

	s := only(t, dir, "r-1") // the intent is on disk before anything leaves
	if s.State != journal.InFlight || s.Outcome != "" || s.Entry != e.ID() {
		t.Fatalf("before its close: %+v", s)
	}
	e.Close(closed(r, "done"))
	mustClose(t, j)

	s = only(t, dir, "r-1")
	if s.State != journal.Closed || s.Outcome != "done" || s.Status != 200 || s.By != "" || s.Client != r.Client ||
		len(s.Attempts) != 1 || s.Attempts[0].Stage != "answered" || !s.Arrived.Equal(r.Arrived) || s.Headers["User-Agent"] != "test" {
		t.Errorf("after its close: %+v", s)
	}
	if safe, why := s.RetryAdvice(); safe || !strings.Contains(why, "has done the work") {
		t.Errorf("%t, %s", safe, why)
	}
	if info, err := os.Stat(segments(t, dir)[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestJQReadsEverySegment(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, journal.Options{})
	mustBegin(t, j, order("é\"\\\x01\xff\u2028")).Close(order("x"))
	mustClose(t, j)
	b, err := os.ReadFile(segments(t, dir)[0])
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines:\n%s", len(lines), b)
	}
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
	if jq, err := exec.LookPath("jq"); err == nil {
		if out, err := exec.Command(jq, "-c", ".kind", segments(t, dir)[0]).CombinedOutput(); err != nil || strings.Count(string(out), "\n") != 4 {
			t.Errorf("jq: %v: %s", err, out)
		}
	}
}

func TestClientsRepeatIDs(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, journal.Options{})
	a, b := mustBegin(t, j, order("same")), mustBegin(t, j, order("same"))
	b.Close(closed(order("same"), "done"))
	a.Close(closed(order("same"), "partial"))
	mustClose(t, j)
	x := explain(t, dir, "same")
	if len(x.Stories) != 2 || x.Stories[0].Entry != b.ID() || x.Stories[0].Outcome != "done" || x.Stories[1].Outcome != "partial" {
		t.Errorf("%+v", x.Stories)
	}
}

func TestEntryClosedTwicePanics(t *testing.T) {
	j := mustOpen(t, t.TempDir(), journal.Options{})
	defer mustClose(t, j)
	e := mustBegin(t, j, order("x"))
	e.Close(order("x"))
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	e.Close(order("x"))
}

// Many at once: every record arrives, once, and intents stay before closes.
func TestConcurrentWriters(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, journal.Options{SegmentBytes: 64 << 10})
	const clients, each = 16, 100
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			for _, id := range ids(fmt.Sprint(c), each) {
				e, err := j.Begin(context.Background(), order(id))
				if err != nil {
					t.Error(err)
					return
				}
				e.Close(closed(order(id), "done"))
				j.Write(&journal.Record{RequestID: "get-" + id, Bulkhead: "catalog", Method: "GET", Outcome: "done"})
			}
		})
	}
	all.Wait()
	mustClose(t, j)
	count := make(map[string]int)
	for _, s := range find(t, dir, journal.Filter{Outcome: "done"}) {
		count[s.RequestID]++
	}
	if len(count) != 2*clients*each {
		t.Errorf("%d of %d stories", len(count), 2*clients*each)
	}
	for id, n := range count {
		if n != 1 {
			t.Errorf("%s: %d times", id, n)
		}
	}
	if s := j.Stats(); s.Intents != clients*each || s.Closes != 2*clients*each || s.Open != 0 || s.Dropped+s.Refused != 0 {
		t.Errorf("%+v", s)
	}
	if v := verify(t, dir); !v.OK() || v.Torn+v.Unrecorded != 0 || v.Segments < 3 {
		t.Errorf("%+v", v)
	}
}

// Old segments go; what is open is carried along, so it is not forgotten.
func TestRotationIsBoundedAndForgetsNothingOpen(t *testing.T) {
	dir := t.TempDir()
	trimmed := 0
	j := mustOpen(t, dir, journal.Options{SegmentBytes: 8 << 10, TotalBytes: 32 << 10, Notify: func(e journal.Event) {
		if e.Kind == journal.EventTrimmed {
			trimmed++
		}
	}})
	long := order("long")
	e := mustBegin(t, j, long)
	for _, id := range ids("short", 300) {
		mustBegin(t, j, order(id)).Close(closed(order(id), "done"))
	}
	var size int64
	for _, name := range segments(t, dir) {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if size > 36<<10 {
		t.Errorf("%d bytes on disk", size)
	}
	if s := only(t, dir, "long"); s.State != journal.InFlight {
		t.Errorf("the long one is %s", s.State)
	}
	if len(explain(t, dir, "short-0").Stories) != 0 {
		t.Error("the oldest is still there")
	}
	e.Close(closed(long, "done"))
	mustClose(t, j)
	if s := only(t, dir, "long"); s.Outcome != "done" {
		t.Errorf("the long one is %+v", s)
	}
	if v := verify(t, dir); !v.OK() || v.Unrecorded != 0 {
		t.Errorf("%+v", v)
	}
	if trimmed == 0 {
		t.Error("nothing was trimmed")
	}
}

func TestBeginObeysItsContext(t *testing.T) {
	j := mustOpen(t, t.TempDir(), journal.Options{})
	defer mustClose(t, j)
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(gone)
	for range 50 { // the disk may be faster
		if _, err := j.Begin(ctx, order("x")); err != nil {
			if !errors.Is(err, gone) {
				t.Error(err)
			}
			return
		}
	}
}

func TestAfterCloseNothingIsAccepted(t *testing.T) {
	j := mustOpen(t, t.TempDir(), journal.Options{})
	mustClose(t, j)
	mustClose(t, j)
	if _, err := j.Begin(context.Background(), order("x")); !errors.Is(err, journal.ErrUnavailable) {
		t.Error(err)
	}
	j.Write(order("y"))
	if s := j.Stats(); s.Dropped != 1 || s.Refused != 1 {
		t.Errorf("%+v", s)
	}
}

func TestOpenRefusesWhatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := journal.Open(file, journal.Options{}); err == nil {
		t.Error("a file is no folder")
	}
	if _, err := journal.Open(t.TempDir(), journal.Options{Sync: "sometimes"}); err == nil {
		t.Error("sync=sometimes")
	}
}

func BenchmarkIntentAndClose(b *testing.B) {
	j := mustOpen(b, b.TempDir(), journal.Options{})
	defer mustClose(b, j)
	r := order("019a3c5e-7d0b-7c4e-9f0a-1b2c3d4e5f60")
	c := closed(r, "done")
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		e, err := j.Begin(ctx, r)
		if err != nil {
			b.Fatal(err)
		}
		e.Close(c)
	}
}

func BenchmarkIntentAndCloseParallel(b *testing.B) {
	j := mustOpen(b, b.TempDir(), journal.Options{})
	defer mustClose(b, j)
	r := order("019a3c5e-7d0b-7c4e-9f0a-1b2c3d4e5f60")
	c := closed(r, "done")
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			e, err := j.Begin(context.Background(), r)
			if err != nil {
				b.Error(err)
				return
			}
			e.Close(c)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	r := closed(order("019a3c5e-7d0b-7c4e-9f0a-1b2c3d4e5f60"), "done")
	b.ReportAllocs()
	for b.Loop() {
		journal.AppendRecord(journal.KindClose, "0123456789ab.17", time.Time{}, r)
	}
}

// Who turns a segment looks at the head of each other, while requests wait: it reads
// no more of them than that.
func TestTurningReadsHeadsOnly(t *testing.T) {
	dir := t.TempDir()
	for range 100 {
		mustClose(t, mustOpen(t, dir, journal.Options{}))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	mustClose(t, mustOpen(t, dir, journal.Options{}))
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 4<<20 {
		t.Errorf("%d KiB for 100 segments", took>>10)
	}
}
