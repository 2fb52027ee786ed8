package journal_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"commerce.example/coordinator/supervisor/journal"
)

// While nobody else writes, a request costs one write: its own, which takes along
// the end of the one before. An end that no intent follows is not left lying.
func TestOneWriteARequest(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		j := openOn(t, &journal.TestDisk{}, dir, journal.Options{})
		synctest.Wait()
		before := j.Stats().Commits
		for _, id := range ids("r", 100) {
			mustBegin(t, j, order(id)).Close(closed(order(id), "done"))
		}
		if s := j.Stats(); s.Commits-before != 100 || s.Intents != 100 || s.Closes != 99 || s.Open != 1 {
			t.Errorf("%d writes: %+v", s.Commits-before, s)
		}
		time.Sleep(journal.CloseWithin)
		synctest.Wait()
		if s := j.Stats(); s.Commits-before != 101 || s.Closes != 100 || s.Open != 0 {
			t.Errorf("%d writes: %+v", s.Commits-before, s)
		}
		mustClose(t, j)
	})
}

// What comes while somebody writes is written together, by him.
func TestWhoWritesTakesTheOthersAlong(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		writes, slow := 0, false
		j := openOn(t, &journal.TestDisk{Write: func(string, []byte) (int, error) {
			if slow {
				writes++
				time.Sleep(time.Millisecond)
			}
			return 0, nil
		}}, dir, journal.Options{})
		synctest.Wait()
		slow = true
		begun := time.Now()
		var all sync.WaitGroup
		for _, id := range ids("r", 50) {
			all.Go(func() {
				if _, err := j.Begin(context.Background(), order(id)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if took := time.Since(begun); writes != 2 || took != 2*time.Millisecond {
			t.Errorf("%d writes in %v", writes, took)
		}
		slow = false
		mustClose(t, j)
	})
}

// In one folder a writer for each sync: an intent that the death of the process
// must not lose waits for no fdatasync of another, however slow.
func TestNobodyWaitsForTheSyncOfAnother(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d := &journal.TestDisk{Sync: func(string) error { time.Sleep(50 * time.Millisecond); return nil }}
		always := openOn(t, d, dir, journal.Options{Sync: journal.Always})
		process := openOn(t, d, dir, journal.Options{Sync: journal.Process})
		done := make(chan struct{})
		var all sync.WaitGroup
		synced := 0
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				id := fmt.Sprint("always-", n)
				mustBegin(t, always, order(id)).Close(closed(order(id), "done"))
				synced++
			}
		})
		var took []time.Duration
		for _, id := range ids("process", 1000) {
			begun := time.Now()
			mustBegin(t, process, order(id)).Close(closed(order(id), "done"))
			took = append(took, time.Since(begun))
			time.Sleep(time.Millisecond)
		}
		close(done)
		all.Wait()
		slices.Sort(took)
		if p99 := took[990]; p99 != 0 || synced < 15 {
			t.Errorf("p99 %v beside %d syncs", p99, synced)
		}
		mustClose(t, process)
		mustClose(t, always)
		if n := len(find(t, dir, journal.Filter{Outcome: "done"})); n != 1000+synced {
			t.Errorf("%d of %d stories", n, 1000+synced)
		}
		x := explain(t, dir, "nobody").Spans
		if v := verify(t, dir); !v.OK() || v.Unrecorded != 0 || len(x.Up) != 2 || len(x.Down)+len(x.Gaps) != 0 {
			t.Errorf("%+v %+v", v, x)
		}
	})
}

// Both turn their segments at the same time, in one bound.
func TestTwoRunsShareTheBound(t *testing.T) {
	dir := t.TempDir()
	o := journal.Options{SegmentBytes: 8 << 10, TotalBytes: 64 << 10}
	process := mustOpen(t, dir, o)
	o.Sync = journal.Always
	always := mustOpen(t, dir, o)
	var all sync.WaitGroup
	for _, j := range []*journal.Journal{process, always} {
		all.Go(func() {
			for _, id := range ids(j.Run(), 200) {
				e, err := j.Begin(context.Background(), order(id))
				if err != nil {
					t.Error(err)
					return
				}
				e.Close(closed(order(id), "done"))
			}
		})
	}
	all.Wait()
	var size int64
	for _, name := range segments(t, dir) {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if size > 68<<10 { // a batch more than a segment's
		t.Errorf("%d bytes on disk", size)
	}
	mustClose(t, process)
	mustClose(t, always)
	if v := verify(t, dir); !v.OK() {
		t.Errorf("%+v", v)
	}
	if s := always.Stats(); s.Syncs == 0 || process.Stats().Syncs != 0 || s.Segments < 3 {
		t.Errorf("%+v", s)
	}
}

// A name that another run took at the same moment is not tried again.
func TestNamesThatAreTaken(t *testing.T) {
	taken := 3
	dir := t.TempDir()
	j := openOn(t, &journal.TestDisk{Create: func(path string) error {
		if taken--; taken >= 0 {
			return &fs.PathError{Op: "open", Path: path, Err: fs.ErrExist}
		}
		return nil
	}}, dir, journal.Options{})
	mustBegin(t, j, order("x")).Close(closed(order("x"), "done"))
	mustClose(t, j)
	if all := segments(t, dir); len(all) != 1 || !strings.HasPrefix(filepath.Base(all[0]), "journal-00000004-") {
		t.Errorf("%v", all)
	}
}

// A machine that dies takes along what only processes should survive, though a run
// that survived it wrote last.
func TestTheMachineDied(t *testing.T) {
	dir := t.TempDir()
	write := func(seq int, lines ...string) {
		var text []byte
		for _, line := range lines {
			text = append(text, journal.Seal(line)...)
		}
		name := filepath.Join(dir, fmt.Sprintf("journal-%08d-20261121T000000.000Z.jsonl", seq))
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mark := func(kind, run, minute, boot, sync string) string {
		return fmt.Sprintf(`{"v":1,"kind":%q,"run":%q,"at":"2026-11-21T06:%s:00Z","boot":%q,"sync":%q`, kind, run, minute, boot, sync)
	}
	write(1, mark("start", "killed", "00", "one", "process"), mark("alive", "killed", "05", "one", "process"))
	write(2, mark("start", "p", "10", "one", "process"), mark("alive", "p", "20", "one", "process"))
	write(3, mark("start", "a", "10", "one", "always"), mark("alive", "a", "25", "one", "always"))
	write(4, mark("start", "next", "30", "two", "process"), mark("stop", "next", "40", "two", "process"))
	x := explain(t, dir, "nobody").Spans
	at := func(minute int) time.Time { return time.Date(2026, 11, 21, 6, minute, 0, 0, time.UTC) }
	want := journal.Gap{From: at(10), To: at(30), Why: "machine_died"}
	if len(x.Gaps) != 1 || x.Gaps[0] != want || len(x.Down) != 2 || x.Down[1] != (journal.Down{From: at(25), To: at(30)}) {
		t.Errorf("%+v %+v", x.Gaps, x.Down)
	}
}
