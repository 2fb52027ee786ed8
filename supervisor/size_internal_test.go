package supervisor

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// What is known, and that a name is none, is said at once, however many compute and
// wait; so is that too many do. Who waits has its turn, or its time is up.
func TestAdviceIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Supervisor{advisory: newAdvisory()}
		s.front.table.Store(&table{})
		a := s.advisory
		key := func(name string) adviceKey { return adviceKey{bulkhead: name} }
		takes := func(d time.Duration) func() (SizeAdvice, error) {
			return func() (SizeAdvice, error) { time.Sleep(d); return SizeAdvice{}, nil }
		}
		instant := func() (SizeAdvice, error) { t.Error("computed"); return SizeAdvice{}, nil }
		if _, err := a.ask(t.Context(), key("known"), takes(0)); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, adviceLine)
		for i := range adviceLine {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), adviceWait)
				defer cancel()
				_, err := a.ask(ctx, key(string(rune('a'+i))), takes(2*time.Second)) // and it rests for 4 s
				ended <- err
			}()
		}
		synctest.Wait()
		begun := time.Now()
		if _, err := a.ask(t.Context(), key("known"), instant); err != nil {
			t.Errorf("what is known: %v", err)
		}
		if _, err := a.ask(t.Context(), key("another"), instant); !errors.Is(err, errAdviceBusy) {
			t.Errorf("one too many: %v", err)
		}
		if _, err := s.Size(t.Context(), "nobody", AdviceQuestion{}); !errors.Is(err, errNoBulkhead) {
			t.Errorf("of nobody: %v", err)
		}
		if took := time.Since(begun); took > 0 {
			t.Errorf("they waited %v", took)
		}
		served := 0
		for range adviceLine {
			if err := <-ended; err == nil {
				served++
			} else if !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		}
		if took := time.Since(begun); served != 3 || took > adviceWait+2*time.Second {
			t.Errorf("%d had their turn, the last after %v", served, took)
		}
		if _, err := a.ask(t.Context(), key("another"), takes(0)); err != nil {
			t.Errorf("afterwards: %v", err)
		}
		if len(a.line)+len(a.turn) > 0 {
			t.Error("a place is not given back")
		}
	})
}
