package pool

import (
	"io"
	"testing"
	"testing/synctest"
	"time"
)

func TestComplaintsCountForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Pool{}
		m := newMember(&slot{pool: p}, nil)
		p.serving = []*member{m}
		accused := func() bool {
			select {
			case <-m.accused:
				return true
			default:
				return false
			}
		}
		m.complain(1, io.ErrUnexpectedEOF)
		m.complain(1, io.ErrUnexpectedEOF)
		time.Sleep(strikeWindow + time.Second) // of the bubble's clock
		m.complain(1, io.ErrUnexpectedEOF)
		m.complain(1, io.ErrUnexpectedEOF)
		if accused() || len(p.serving) != 1 {
			t.Fatal("accused by complaints that are two minutes apart")
		}
		m.complain(1, io.ErrUnexpectedEOF)
		if !accused() || len(p.serving) != 0 {
			t.Fatal("three within a minute, and it is still in service")
		}
		m.complain(3, io.ErrUnexpectedEOF) // by those who were under way
	})
}

func TestPoolsThatMissTogetherAreExcusedForAWhile(t *testing.T) {
	var peers Peers
	a, b, now := &Pool{}, &Pool{}, epoch
	if peers.excuse(a, now) || peers.excuse(a, now.Add(time.Second)) {
		t.Error("excused, and no other pool missed")
	}
	if !peers.excuse(b, now.Add(2*time.Second)) || !peers.excuse(a, now.Add(2*time.Second)) {
		t.Error("blamed, and another pool missed too")
	}
	if peers.excuse(a, now.Add(5*time.Second)) {
		t.Error("excused by what is 3 s old")
	}
	last := false
	for d := 6 * time.Second; d < 30*time.Second; d += time.Second {
		peers.excuse(a, now.Add(d))
		last = peers.excuse(b, now.Add(d))
		if early := d < 14*time.Second; early && !last {
			t.Errorf("blamed after %v", d)
		}
	}
	if last {
		t.Error("excused for ever")
	}
	if (*Peers)(nil).excuse(a, now) {
		t.Error("excused without peers")
	}
}
