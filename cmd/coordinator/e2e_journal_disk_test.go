//go:build linux

package main_test

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/journal"
)

// FAULTS 35, on a disk that is really full: what must be on disk is refused, all
// else goes on, it is said, and it ends with the shortage.
func TestJournalOnAFullDisk(t *testing.T) {
	for _, sync := range []journal.Sync{journal.Process, journal.Always} {
		t.Run(string(sync), func(t *testing.T) { fullDisk(t, sync) })
	}
}

func fullDisk(t *testing.T, sync journal.Sync) {
	l := newLedger(t)
	s := newSite(t, payments(l)...)
	s.set("COORDINATOR_BULKHEADS=pay,lax", "BULKHEAD_PAY_JOURNAL_SYNC="+string(sync), "COORDINATOR_JOURNAL_SEGMENT=1MiB", "COORDINATOR_JOURNAL_TOTAL=3MiB",
		"BULKHEAD_LAX_ROUTES=/lax/", "BULKHEAD_LAX_BACKEND="+l.URL, "BULKHEAD_LAX_JOURNAL=failures")
	folder := s.dir + "/state/journal"
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=4m,mode=700"); errors.Is(err, syscall.EPERM) {
		t.Skip("only root can mount a disk of its own")
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // before the site's
		if s.cmd != nil {
			_ = s.cmd.Process.Kill()
			<-s.exited
		}
		if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s.start()
	if status, _ := post(t.Context(), s.url, "/pay/x", "before"); status != 200 {
		t.Fatalf("POST: %d", status)
	}
	fill(t, folder+"/others")
	refused := func() bool {
		status, _ := post(t.Context(), s.url, "/pay/x", "refused")
		return status == 503
	}
	eventually(t, 20*time.Second, "a refusal", refused)
	if a, err := http.Get(s.url + "/pay/x"); err != nil || a.StatusCode != 200 {
		t.Errorf("GET, which needs no journal: %v %v", a, err)
	} else {
		a.Body.Close()
	}
	if status, _ := post(t.Context(), s.url, "/lax/x", "lax"); status != 200 {
		t.Errorf("POST to a bulkhead that records failures only: %d", status)
	}
	if text := s.must("status"); !strings.Contains(text, "journal unavailable (JOURNAL_SYNC="+string(sync)+")") {
		t.Error("status does not say it")
	}
	if s.metric("coordinator_journal_unavailable") != 1 || s.metric("coordinator_journal_refused_total") == 0 {
		t.Error("metrics do not say it")
	}
	if err := os.Remove(folder + "/others"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "it is recorded again", func() bool {
		status, _ := post(t.Context(), s.url, "/pay/x", "after")
		return status == 200
	})
	if text := s.must("status"); strings.Contains(text, "journal unavailable") {
		t.Error("status still says it")
	}
	s.signal(syscall.SIGTERM)
	s.exit(20 * time.Second)
	done := make(map[string]int)
	for story, err := range journal.NewReader(folder).Find(t.Context(), journal.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		switch story.Outcome {
		case "done":
			done[story.RequestID]++
		case "refused":
		default:
			t.Errorf("%+v", story)
		}
	}
	if done["before"] != 1 || done["after"] != 1 || done["refused"] != l.count("refused") {
		t.Errorf("done: %v; the backend: %v", done, l.done)
	}
}

// fill leaves no room on the disk of the file that it makes.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 64<<10); len(block) > 0; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// Real disks, real fdatasync: many clients share each, and a crash loses nothing
// that was confirmed. A bulkhead without it stands beside.
func TestJournalSyncAlways(t *testing.T) {
	l := newLedger(t)
	s := newSite(t, payments(l)...)
	s.set("COORDINATOR_BULKHEADS=pay,other", "BULKHEAD_PAY_JOURNAL_SYNC=always",
		"BULKHEAD_OTHER_ROUTES=/other/", "BULKHEAD_OTHER_BACKEND="+l.URL, "BULKHEAD_OTHER_JOURNAL=all")
	s.start()
	for _, id := range []string{"one", "two"} {
		post(t.Context(), s.url, "/pay/x", id)
		post(t.Context(), s.url, "/other/x", "other-"+id)
	}
	st, err := s.tryStatus()
	if err != nil || st.Journal == nil || len(st.Journal.Runs) != 2 || st.Journal.Intents != 4 {
		t.Fatalf("%+v %v", st.Journal, err)
	}
	if n := s.metric("coordinator_journal_syncs_total"); n != 2 {
		t.Errorf("%v syncs for two payments, one after the other", n)
	}
	c := &cashier{s, l, t}
	asked := []*asking{c.asks("pay-open", "pay", "hold"), c.asks("other-open", "other", "hold")}
	c.works("pay-open")
	c.works("other-open")
	c.crash()
	for _, a := range asked {
		a.wait()
	}
	s.signal(syscall.SIGTERM)
	s.exit(20 * time.Second)
	told := s.told()
	for id, want := range map[string]string{
		"one": "done", "two": "done", "other-one": "done", "other-two": "done", "pay-open": "sent_unknown", "other-open": "sent_unknown",
	} {
		if got := told[id]; got == nil || got.Outcome != want || (got.By == journal.ByRecovery) != (want != "done") {
			t.Errorf("%s: %+v, want %s", id, got, want)
		}
	}
	x, err := journal.NewReader(s.dir + "/state/journal").Spans(t.Context())
	if err != nil || len(x.Up) != 4 || len(x.Down) != 1 || len(x.Gaps) != 0 || x.Scope["other"] != "all" {
		t.Errorf("%+v %v", x, err)
	}
}
