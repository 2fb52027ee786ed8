//go:build linux

package main_test

import (
	"strings"
	"testing"
)

// What operators have changed lasts until the next reload, or longer, and an upgrade
// is none: not the first, nor the one after it.
func TestUpgradeGoesOnWithWhatOperatorsChanged(t *testing.T) {
	s := upgradable(t, "BULKHEAD_HEALTHY_WORKERS=1")
	s.start()
	s.must("drain", "faulty")
	s.must("resize", "healthy", "--workers", "2", "--limit", "7")
	s.must("breaker", "healthy", "observe")
	for range 2 {
		old := s.serving()
		s.must("upgrade")
		s.replaced(old)
		if b := s.bulkhead("faulty"); b.State != "draining" || b.Limit != 64 {
			t.Errorf("%+v", b)
		}
		if b := s.bulkhead("healthy"); b.Limit != 7 || len(b.Workers) != 2 || b.Breaker.Mode != "observe" || b.State != "ready" {
			t.Errorf("%+v", b)
		}
	}
	s.must("reload")
	if b := s.bulkhead("healthy"); b.Limit != 64 || len(b.Workers) != 1 || b.Breaker.Mode != "auto" {
		t.Errorf("reloaded: %+v", b)
	}
	if b := s.bulkhead("faulty"); b.State != "draining" {
		t.Errorf("reloaded: %+v", b)
	}
	s.must("resume", "faulty")
	(&proband{t, s}).well("ok")
}

// A successor would not know of what operators change while it starts.
func TestUpgradeGivesUpWhenAnOperatorIsFaster(t *testing.T) {
	s := upgradable(t)
	s.start()
	pid := s.serving()
	s.writeHold("start")
	report := make(chan string, 1)
	go func() { _, output := s.cli("upgrade"); report <- output }()
	s.held()
	s.must("drain", "faulty")
	s.unhold()
	if output := <-report; !strings.Contains(output, "drained") || !strings.Contains(output, "this supervisor goes on") {
		t.Errorf("upgrade: %s", output)
	}
	if now := s.serving(); now != pid {
		t.Fatalf("the supervisor is %d, was %d", now, pid)
	}
	s.must("upgrade")
	s.replaced(pid)
	if b := s.bulkhead("faulty"); b.State != "draining" {
		t.Errorf("%+v", b)
	}
}
