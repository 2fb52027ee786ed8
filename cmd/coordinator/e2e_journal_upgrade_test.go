//go:build linux

package main_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/journal"
)

// While one supervisor hands over to the next both write. Every payment is told
// once, by the one that had it, and neither closes what the other has open.
func TestJournalDuringUpgrades(t *testing.T) {
	upgrades := int(span(2, 10))
	l := newLedger(t)
	settings := payments(l)
	settings[0] = "COORDINATOR_BULKHEADS=faulty,healthy,pay"
	s := upgradable(t, append(settings, "BULKHEAD_PAY_JOURNAL_SYNC=always", "BULKHEAD_HEALTHY_JOURNAL=all")...)
	s.start()
	var clients sync.WaitGroup
	var answered sync.Map
	var ended atomic.Bool
	for client := range 8 {
		target := "/pay/x"
		if client%4 == 3 {
			target = "/pay/slow" // over the hand-over
		}
		clients.Go(func() {
			for n := 0; !ended.Load(); n++ {
				id := fmt.Sprintf("c%d-%d", client, n)
				if status, whole := post(t.Context(), s.url, target, id); whole && status == 200 {
					answered.Store(id, true)
				}
			}
		})
	}
	for range upgrades {
		old := s.serving()
		s.must("upgrade")
		s.replaced(old)
	}
	ended.Store(true)
	clients.Wait()
	last := s.serving()
	_ = syscall.Kill(last, syscall.SIGTERM)
	eventually(t, 20*time.Second, "the last supervisor has ended", func() bool { return !alive(last) })

	told := s.told()
	runs := make(map[string]bool)
	for id, story := range told {
		if story.State != journal.Closed || story.By != "" {
			t.Errorf("%s: %+v", id, story)
		}
		agrees(t, id, story.Outcome, l.count(id))
		run, _, _ := strings.Cut(story.Entry, ".")
		runs[run] = true
	}
	n := 0
	answered.Range(func(id, _ any) bool {
		if story := told[id.(string)]; story == nil || story.Outcome != "done" {
			t.Errorf("%s was answered; the journal: %+v", id, story)
		}
		n++
		return true
	})
	x, err := journal.NewReader(s.dir + "/state/journal").Spans(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(x.Down) > 0 || len(x.Gaps) > 0 || len(runs) != upgrades+1 || len(x.Up) != 2*(upgrades+1) {
		t.Errorf("%d runs told of payments: %+v", len(runs), x)
	}
	t.Logf("%d upgrades, %d requests, %d answered", upgrades, len(told), n)
}
