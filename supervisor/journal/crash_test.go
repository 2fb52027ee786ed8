package journal_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/journal"
)

const crashDirVariable = "JOURNAL_TEST_CRASH_DIR"

// crashWriter is a process that handles requests until it is killed. It tells its
// parent the truth, each before or after the step that makes it true: "sent" when
// the request leaves, "done" before the close is recorded.
func crashWriter(dir string) {
	j, err := journal.Open(dir, journal.Options{SegmentBytes: 32 << 10, TotalBytes: 64 << 20})
	if err != nil {
		fmt.Println("failed", err)
		return
	}
	var mu sync.Mutex
	say := func(word, id string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Println(word, id)
	}
	var all sync.WaitGroup
	for client := range 8 {
		all.Go(func() {
			for n := 0; ; n++ {
				r := order(fmt.Sprintf("%s-%d-%d", j.Run(), client, n))
				say("asked", r.RequestID)
				e, err := j.Begin(context.Background(), r)
				if err != nil {
					say("failed", err.Error())
					return
				}
				say("sent", r.RequestID)
				e.Close(closed(r, "done"))
				say("closed", r.RequestID)
			}
		})
	}
	all.Wait()
}

// A process that is killed at any moment leaves no request that left without its
// intent, and none with an outcome that is not its own. The next process closes
// what is open.
func TestKilledAtRandomMoments(t *testing.T) {
	kills := 200
	if testing.Short() {
		kills = 20
	}
	dir := t.TempDir()
	truth := make(map[string]string)
	for range kills {
		runAndKill(t, dir, truth, time.Duration(rand.Int64N(int64(20*time.Millisecond))))
	}
	mustClose(t, mustOpen(t, dir, journal.Options{}))

	stories := make(map[string]*journal.Story)
	recovered := 0
	for _, s := range find(t, dir, journal.Filter{}) {
		if stories[s.RequestID] != nil {
			t.Errorf("%s has two outcomes", s.RequestID)
		}
		stories[s.RequestID] = s
		if s.By == journal.ByRecovery {
			recovered++
		}
		if s.State != journal.Closed {
			t.Errorf("%s is %s after recovery", s.RequestID, s.State)
		}
	}
	sent := 0
	for id, word := range truth {
		s := stories[id]
		switch {
		case word == "asked":
			if s != nil && s.Outcome != journal.OutcomeSentUnknown && s.Outcome != "done" {
				t.Errorf("%s was on its way and has outcome %s", id, s.Outcome)
			}
		case s == nil:
			t.Errorf("%s left and is not in the journal", id)
		case s.Outcome != "done" && s.Outcome != journal.OutcomeSentUnknown:
			t.Errorf("%s left and has outcome %s", id, s.Outcome)
		default:
			sent++
		}
	}
	for id := range stories {
		if truth[id] == "" {
			t.Errorf("%s was never asked for", id)
		}
	}
	v := verify(t, dir)
	if !v.OK() || v.Unrecorded != 0 {
		t.Errorf("verified: %+v", v)
	}
	if sent < kills || recovered == 0 {
		t.Errorf("%d requests left, %d were recovered: this proves nothing", sent, recovered)
	}
	t.Logf("%d kills, %d requests left, %d closed by recovery, %d torn ends", kills, sent, recovered, v.Torn)
}

// runAndKill adds to truth what a writer said until it died.
func runAndKill(t *testing.T, dir string, truth map[string]string, after time.Duration) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDirVariable+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var timer *time.Timer
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if timer == nil { // it runs
			timer = time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		}
		word, id, ok := strings.Cut(lines.Text(), " ")
		if word == "failed" {
			t.Errorf("writer: %s", lines.Text())
		} else if ok {
			truth[id] = word
		}
	}
	if err := cmd.Wait(); err == nil || timer == nil {
		t.Fatalf("the writer ended by itself: %v", err)
	}
	timer.Stop()
}
