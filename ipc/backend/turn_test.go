package backend_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"commerce.example/coordinator/ipc/backend"
)

// Only one has the turn, and no wait is forgotten when others are given up.
func TestTurn(t *testing.T) {
	turn := backend.NewTurn()
	var all sync.WaitGroup
	had, given := 0, atomic.Int64{} // had is guarded by the turn
	for worker := range 8 {
		all.Go(func() {
			for i := range 2000 {
				wake := make(chan struct{}, 1)
				var over atomic.Bool
				var cancel sync.WaitGroup
				if worker%2 == 0 && i%4 == 0 {
					cancel.Go(func() { over.Store(true); wake <- struct{}{} })
				}
				if turn.LockUnless(wake, over.Load) {
					had++
					turn.Unlock()
				} else {
					given.Add(1)
				}
				cancel.Wait()
			}
		})
	}
	all.Wait()
	if n := given.Load(); had+int(n) != 8*2000 {
		t.Errorf("%d had the turn, %d gave up", had, n)
	}
}

func TestTurnIsGivenUp(t *testing.T) {
	turn := backend.NewTurn()
	never := func() bool { return false }
	if !turn.LockUnless(nil, never) {
		t.Fatal("a free turn was not had")
	}
	wake := make(chan struct{}, 1)
	wake <- struct{}{}
	if turn.LockUnless(wake, func() bool { return true }) {
		t.Fatal("two have the turn")
	}
	turn.Unlock()
	if !turn.LockUnless(nil, never) {
		t.Fatal("a turn that was given back was not had")
	}
}

func BenchmarkTurn(b *testing.B) {
	turn, never := backend.NewTurn(), func() bool { return false }
	var mu sync.Mutex
	for name, both := range map[string]func(){
		"turn":  func() { turn.LockUnless(nil, never); turn.Unlock() },
		"mutex": func() { mu.Lock(); defer mu.Unlock() },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					both()
				}
			})
		})
	}
}
