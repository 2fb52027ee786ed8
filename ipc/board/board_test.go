package board_test

import (
	"sync"
	"testing"

	"commerce.example/coordinator/ipc/board"
	"commerce.example/coordinator/ipc/exchange"
)

// both maps one board twice, as two processes do.
func both(t *testing.T, cells uint32) (supervisor, worker *board.Board) {
	t.Helper()
	supervisor, f, err := board.Create(cells)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	worker, err = board.Open(f)
	if err != nil {
		t.Fatal(err)
	}
	return supervisor, worker
}

func TestStagesCrossTheWall(t *testing.T) {
	s, w := both(t, 4)
	s.Begin(3, 9)
	if got := s.Stage(3, 9); got != exchange.Waiting {
		t.Fatalf("begun: %v", got)
	}
	for _, stage := range []exchange.Stage{exchange.Taken, exchange.Sent, exchange.Answered} {
		if !w.Raise(3, 9, stage) {
			t.Fatalf("raise to %v refused", stage)
		}
		if got := s.Stage(3, 9); got != stage {
			t.Fatalf("supervisor reads %v, want %v", got, stage)
		}
	}
	if !w.Raise(3, 9, exchange.Sent) || s.Stage(3, 9) != exchange.Answered {
		t.Fatal("a stage fell")
	}
}

func TestFenceBelowSentForbidsSending(t *testing.T) {
	s, w := both(t, 1)
	s.Begin(0, 1)
	w.Raise(0, 1, exchange.Taken)
	if got := s.Fence(0, 1); got != exchange.Taken {
		t.Fatalf("fenced at %v", got)
	}
	if w.Raise(0, 1, exchange.Sent) {
		t.Fatal("sent after the supervisor gave it up as never sent")
	}
	if got := s.Fence(0, 1); got >= exchange.Sent {
		t.Fatalf("second fence says %v", got)
	}
}

func TestFenceAfterSentTellsTheTruth(t *testing.T) {
	s, w := both(t, 1)
	s.Begin(0, 1)
	w.Raise(0, 1, exchange.Sent)
	if got := s.Fence(0, 1); got != exchange.Sent {
		t.Fatalf("fenced at %v", got)
	}
	if !w.Raise(0, 1, exchange.Answered) {
		t.Fatal("the fence of a sent exchange stopped it")
	}
}

func TestAnEarlierExchangeCannotTouchALaterOne(t *testing.T) {
	s, w := both(t, 1)
	s.Begin(0, 1)
	s.Begin(0, 2)
	if w.Raise(0, 1, exchange.Sent) {
		t.Fatal("a stale handler raised another exchange's stage")
	}
	if got := s.Stage(0, 2); got != exchange.Waiting {
		t.Fatalf("new exchange at %v", got)
	}
	if got := s.Stage(0, 1); got != exchange.Sent {
		t.Fatalf("nothing is known of the old one, yet it says %v", got)
	}
}

// Either the worker may send, or the supervisor was told that it never will;
// never both and never neither.
func TestFenceAndSendRace(t *testing.T) {
	s, w := both(t, 1)
	for seq := range uint32(20_000) {
		s.Begin(0, seq)
		var sent bool
		var wg sync.WaitGroup
		wg.Go(func() { sent = w.Raise(0, seq, exchange.Sent) })
		stage := s.Fence(0, seq)
		wg.Wait()
		if sent != (stage >= exchange.Sent) {
			t.Fatalf("worker sent: %v, supervisor was told %v", sent, stage)
		}
	}
}

func BenchmarkExchange(b *testing.B) {
	s, f, err := board.Create(1)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	var seq uint32
	b.ReportAllocs()
	for b.Loop() {
		seq++
		s.Begin(0, seq)
		s.Raise(0, seq, exchange.Taken)
		s.Raise(0, seq, exchange.Sent)
		s.Raise(0, seq, exchange.Answered)
	}
}

func TestRetractTakesBackOnlySent(t *testing.T) {
	s, w := both(t, 1)
	s.Begin(0, 1)
	for _, c := range []struct{ raise, after exchange.Stage }{
		{exchange.Taken, exchange.Taken}, {exchange.Sent, exchange.Taken}, {exchange.Sent, exchange.Taken},
		{exchange.Answered, exchange.Answered},
	} {
		w.Raise(0, 1, c.raise)
		w.Retract(0, 1)
		if got := s.Stage(0, 1); got != c.after {
			t.Errorf("%v retracted is %v", c.raise, got)
		}
	}
	s.Begin(0, 2)
	w.Raise(0, 2, exchange.Sent)
	w.Retract(0, 1)
	if got := s.Fence(0, 2); got != exchange.Sent {
		t.Errorf("another exchange's retraction made it %v", got)
	}
	s.Begin(0, 3)
	w.Raise(0, 3, exchange.Sent)
	w.Retract(0, 3)
	if got := s.Fence(0, 3); got != exchange.Taken || w.Raise(0, 3, exchange.Sent) {
		t.Errorf("fenced at %v, and sent all the same", got)
	}
}
