package journal_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"commerce.example/coordinator/supervisor/journal"
)

func openOn(t *testing.T, d *journal.TestDisk, dir string, o journal.Options) *journal.Journal {
	t.Helper()
	j, err := journal.OpenOn(d, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// 64 clients on a disk with 1,000 fsync a second: one fsync serves all that wait.
func TestGroupCommit(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		syncs := 0
		j := openOn(t, &journal.TestDisk{Sync: func(string) error { syncs++; time.Sleep(time.Millisecond); return nil }}, dir,
			journal.Options{Sync: journal.Always})
		begun := time.Now()
		var all sync.WaitGroup
		var appended atomic.Int64
		for c := range 64 {
			all.Go(func() {
				for n := 0; time.Since(begun) < time.Second; n++ {
					id := fmt.Sprintf("%d-%d", c, n)
					e, err := j.Begin(context.Background(), order(id))
					if err != nil {
						t.Error(err)
						return
					}
					appended.Add(1)
					e.Close(closed(order(id), "done"))
				}
			})
		}
		all.Wait()
		perSecond := float64(appended.Load()) / time.Since(begun).Seconds()
		if perSecond < 2000 {
			t.Errorf("%.0f intents/s", perSecond)
		}
		if syncs > 1100 {
			t.Errorf("%d fsyncs in a second", syncs)
		}
		t.Logf("%.0f intents/s with %d fsyncs", perSecond, syncs)
		mustClose(t, j)
	})
}

// Always means that Begin returns behind the fsync, and that closes cause none.
func TestAlwaysSyncsBeforeBeginReturns(t *testing.T) {
	synced := 0
	j := openOn(t, &journal.TestDisk{Sync: func(string) error { synced++; return nil }}, t.TempDir(), journal.Options{Sync: journal.Always})
	before := synced
	e := mustBegin(t, j, order("x"))
	if synced != before+1 {
		t.Errorf("%d fsyncs for an intent", synced-before)
	}
	e.Close(closed(order("x"), "done"))
	j.Write(order("y"))
	waitFor(t, func() bool { return j.Stats().Closes == 2 })
	if synced != before+1 {
		t.Error("a close was synced")
	}
	mustClose(t, j)
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not in time")
		}
	}
}

// After a failed fsync its segment is never written nor synced again, everything
// that was promised stands, and nobody notices.
func TestFailedSyncAbandonsItsSegment(t *testing.T) {
	dir := t.TempDir()
	broken := ""
	n := 0
	var events []journal.Event
	d := &journal.TestDisk{
		Sync: func(path string) error {
			if path == broken {
				t.Error("synced again")
			}
			if n++; n == 4 { // the head, then intents
				broken = path
				return syscall.EIO
			}
			return nil
		},
		Write: func(path string, p []byte) (int, error) {
			if path == broken {
				t.Error("written again")
			}
			return 0, nil
		},
	}
	j := openOn(t, d, dir, journal.Options{Sync: journal.Always, Notify: func(e journal.Event) { events = append(events, e) }})
	var entries []*journal.Entry
	for _, id := range ids("r", 5) {
		entries = append(entries, mustBegin(t, j, order(id)))
	}
	for i, id := range ids("r", 5) {
		if s := only(t, dir, id); s.State != journal.InFlight {
			t.Errorf("%s is %s", id, s.State)
		}
		entries[i].Close(closed(order(id), "done"))
	}
	mustClose(t, j)
	for _, id := range ids("r", 5) {
		if s := only(t, dir, id); s.Outcome != "done" {
			t.Errorf("%s: %+v", id, s)
		}
	}
	if v := verify(t, dir); !v.OK() || v.Segments != 2 || v.Unrecorded != 0 {
		t.Errorf("%+v", v)
	}
	if len(events) != 1 || events[0].Kind != journal.EventAbandoned || events[0].Segment != filepath.Base(broken) || !errors.Is(events[0].Err, syscall.EIO) {
		t.Errorf("%+v", events)
	}
}

// FAULTS 35. A write that the disk takes half of is made good in the next segment;
// when that fails too, intents are refused, closes wait, and all of it is recorded
// when there is room again.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		d := &journal.TestDisk{Write: func(_ string, p []byte) (int, error) {
			if full.Load() {
				return len(p) / 2, syscall.ENOSPC
			}
			return 0, nil
		}}
		var kinds []journal.EventKind
		j := openOn(t, d, dir, journal.Options{Notify: func(e journal.Event) { kinds = append(kinds, e.Kind) }})
		before := mustBegin(t, j, order("before"))
		still := mustBegin(t, j, order("still-open"))
		full.Store(true)
		for _, id := range ids("refused", 3) {
			_, err := j.Begin(context.Background(), order(id))
			if !errors.Is(err, journal.ErrUnavailable) || strings.Contains(err.Error(), dir) {
				t.Errorf("with a full disk: %v", err)
			}
		}
		before.Close(closed(order("before"), "done"))
		j.Write(&journal.Record{RequestID: "get", Method: "GET", Outcome: "done"})
		if s := j.Stats(); s.Available || s.Refused != 3 || s.Dropped != 1 || s.Open != 3 {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Minute) // of retries
		if n := len(segments(t, dir)); n != 1 {
			t.Errorf("retries left %d segments", n)
		}
		full.Store(false)
		time.Sleep(10 * time.Second)
		if !j.Stats().Available {
			t.Fatal("it did not come back")
		}
		mustBegin(t, j, order("after")).Close(closed(order("after"), "done"))
		still.Close(closed(order("still-open"), "done"))
		mustClose(t, j)

		for _, id := range []string{"before", "still-open", "after"} {
			if s := only(t, dir, id); s.Outcome != "done" {
				t.Errorf("%s: %+v", id, s)
			}
		}
		if s := only(t, dir, "refused-0"); s.Outcome != journal.OutcomeRefused || s.Reason != journal.ReasonUnavailable || !s.RetrySafe {
			t.Errorf("the one whose intent could not be written: %+v", s)
		}
		if v := verify(t, dir); !v.OK() || v.Unrecorded != 0 {
			t.Errorf("%+v", v)
		}
		x := explain(t, dir, "refused-1")
		var why []string
		for _, g := range x.Spans.Gaps {
			why = append(why, fmt.Sprint(g.Why, " ", g.Lost))
		}
		if got := strings.Join(why, ", "); got != "dropped 1, refused 2" {
			t.Errorf("gaps: %s", got)
		}
		if got := fmt.Sprint(kinds); got != "[abandoned unavailable available]" {
			t.Errorf("events: %s", got)
		}
	})
}

// A run that can write nothing lives: what it has in flight is not said to have died
// with it, and no other run closes it.
func TestARunThatCannotWriteIsNotDead(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		d := &journal.TestDisk{Write: func(_ string, p []byte) (int, error) {
			if full.Load() {
				return len(p) / 2, syscall.ENOSPC
			}
			return 0, nil
		}}
		j := openOn(t, d, dir, journal.Options{})
		first := mustBegin(t, j, order("first"))
		full.Store(true)
		if _, err := j.Begin(context.Background(), order("refused")); !errors.Is(err, journal.ErrUnavailable) {
			t.Fatal(err)
		}
		if s := only(t, dir, "first"); s.State != journal.InFlight {
			t.Errorf("while nothing can be written: %s", s.State)
		}
		if up := explain(t, dir, "first").Spans.Up; len(up) != 1 || up[0].End != "running" {
			t.Errorf("%+v", up)
		}
		mustClose(t, openOn(t, &journal.TestDisk{}, dir, journal.Options{Notify: func(e journal.Event) { t.Errorf("the other: %+v", e) }}))
		full.Store(false)
		time.Sleep(10 * time.Second) // it is back
		first.Close(closed(order("first"), "done"))
		last := mustBegin(t, j, order("last"))
		if s := only(t, dir, "first"); s.Outcome != "done" || s.By != "" {
			t.Errorf("%+v", s)
		}
		if up := explain(t, dir, "first").Spans; len(up.Up) != 2 || len(up.Down) != 0 {
			t.Errorf("%+v", up)
		}

		full.Store(true)
		last.Close(closed(order("last"), "done"))
		if err := j.Close(t.Context()); !errors.Is(err, journal.ErrUnavailable) {
			t.Errorf("closed on a full disk: %v", err)
		}
		if s := only(t, dir, "last"); s.State != journal.Unrecorded {
			t.Errorf("after its end: %s", s.State)
		}
	})
}

// A disk that takes no segment at the start does not keep the coordinator down.
func TestOpensOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		full.Store(true)
		j := openOn(t, &journal.TestDisk{Create: func(string) error {
			if full.Load() {
				return syscall.ENOSPC
			}
			return nil
		}}, dir, journal.Options{})
		if _, err := j.Begin(context.Background(), order("x")); !errors.Is(err, journal.ErrUnavailable) {
			t.Error(err)
		}
		full.Store(false)
		time.Sleep(10 * time.Second)
		mustBegin(t, j, order("x")).Close(closed(order("x"), "done"))
		mustClose(t, j)
		if s := only(t, dir, "x"); s.Outcome != "done" {
			t.Errorf("%+v", s)
		}
		if up := explain(t, dir, "").Spans.Up; len(up) != 1 || up[0].End != "stopped" {
			t.Errorf("%+v", up)
		}
	})
}

// When the next segment cannot be begun for want of a file, this one goes on.
func TestRotationThatFailsIsPutOff(t *testing.T) {
	dir := t.TempDir()
	creates := 0
	j := openOn(t, &journal.TestDisk{Create: func(string) error {
		if creates++; creates > 1 {
			return syscall.EMFILE
		}
		return nil
	}}, dir, journal.Options{SegmentBytes: 4 << 10})
	refused := 0
	for _, id := range ids("r", 40) { // three times the size
		if e, err := j.Begin(context.Background(), order(id)); err == nil {
			e.Close(closed(order(id), "done"))
		} else {
			refused++
		}
	}
	if creates < 2 || len(segments(t, dir)) != 1 {
		t.Errorf("%d tries, %d segments", creates, len(segments(t, dir)))
	}
	if refused == 40 {
		t.Error("nothing was accepted")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = j.Close(ctx) // says so when it could not write the end
}

// A disk that hangs keeps the one who writes, and nobody else for longer than the
// journal's patience, and then nobody at all.
func TestDiskThatHangs(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		var hanging atomic.Bool
		j := openOn(t, &journal.TestDisk{Write: func(string, []byte) (int, error) {
			if hanging.Load() {
				<-hang
			}
			return 0, nil
		}}, dir, journal.Options{Patience: time.Second})
		synctest.Wait()
		hanging.Store(true)
		begun := time.Now()
		writer := make(chan error)
		go func() {
			_, err := j.Begin(context.Background(), order("writes"))
			writer <- err
		}()
		synctest.Wait()
		for _, want := range []time.Duration{time.Second, 2 * time.Second, 2 * time.Second} {
			if _, err := j.Begin(context.Background(), order("hung")); !errors.Is(err, journal.ErrUnavailable) {
				t.Error(err)
			}
			if took := time.Since(begun); took != want {
				t.Errorf("refused after %v, want %v", took, want)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := j.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("closed on a disk that hangs: %v", err)
		}
		hanging.Store(false)
		close(hang)
		if err := <-writer; err != nil {
			t.Errorf("the one who wrote: %v", err)
		}
		mustClose(t, j)
		for _, s := range find(t, dir, journal.Filter{RequestID: "hung"}) {
			if s.Outcome != journal.OutcomeRefused {
				t.Errorf("%+v", s)
			}
		}
	})
}

// A quiet journal says that it is alive, and turns its segments by age.
func TestQuietJournal(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		j := openOn(t, &journal.TestDisk{}, dir, journal.Options{SegmentAge: time.Minute})
		time.Sleep(3*time.Minute + time.Second)
		synctest.Wait()
		up := explain(t, dir, "x").Spans.Up
		if len(up) != 1 || up[0].End != "running" || time.Since(up[0].To) > 10*time.Second {
			t.Errorf("%+v at %v", up, time.Now())
		}
		if n := len(segments(t, dir)); n != 4 {
			t.Errorf("%d segments after three minutes", n)
		}
		mustClose(t, j)
	})
}
