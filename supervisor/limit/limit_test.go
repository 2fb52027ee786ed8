package limit_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"commerce.example/coordinator/supervisor/limit"
)

func TestQueueOfZeroAdmitsOrRefusesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limit.New(2, 0)
		start := time.Now()
		mustAcquire(t, l)
		mustAcquire(t, l)
		if err := acquire(l, t.Context(), time.Hour); !errors.Is(err, limit.ErrFull) {
			t.Fatalf("third call: %v, want ErrFull", err)
		}
		l.Release()
		mustAcquire(t, l)
		if d := time.Since(start); d != 0 {
			t.Fatalf("somebody waited %v", d)
		}
	})
}

func TestNoWaitMeansNoQueue(t *testing.T) {
	l := limit.New(1, 5)
	mustAcquire(t, l)
	for _, wait := range []time.Duration{0, -time.Second} {
		if err := acquire(l, t.Context(), wait); !errors.Is(err, limit.ErrFull) {
			t.Errorf("wait %v: %v, want ErrFull", wait, err)
		}
	}
}

func TestFirstInFirstOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limit.New(1, 5)
		mustAcquire(t, l)
		order := make(chan int, 5)
		for i := range 5 {
			go func() {
				if err := acquire(l, t.Context(), time.Minute); err != nil {
					t.Errorf("waiter %d: %v", i, err)
				}
				order <- i
			}()
			synctest.Wait() // i is in line before i+1 comes
		}
		if err := acquire(l, t.Context(), time.Minute); !errors.Is(err, limit.ErrFull) {
			t.Fatalf("a sixth in a queue of 5: %v, want ErrFull", err)
		}
		for want := range 5 {
			l.Release()
			if got := <-order; got != want {
				t.Fatalf("waiter %d was served, want %d", got, want)
			}
		}
		l.Release()
		wantStats(t, l, limit.Stats{Limit: 1, Queue: 5})
	})
}

// A slot given back while somebody waits is the waiter's before it has run.
func TestNewcomerDoesNotOvertake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limit.New(1, 1)
		mustAcquire(t, l)
		got := make(chan error)
		go func() { got <- acquire(l, t.Context(), time.Second) }()
		synctest.Wait()
		l.Release()
		if l.TryAcquire() {
			t.Fatal("TryAcquire overtook a waiter")
		}
		if err := <-got; err != nil {
			t.Fatalf("waiter: %v", err)
		}
	})
}

// How long a slot is held counts from its grant: until it runs again, the one who
// waited has it, and nobody else.
func TestHeldSinceTheGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limit.New(1, 1)
		began := time.Now()
		if since, err := l.Acquire(t.Context(), 0); err != nil || !since.Equal(began) {
			t.Errorf("a free slot is held since %v: %v", since.Sub(began), err)
		}
		granted := make(chan time.Time)
		go func() {
			since, _ := l.Acquire(t.Context(), time.Minute)
			time.Sleep(time.Second) // late
			granted <- since
		}()
		time.Sleep(3 * time.Second)
		l.Release()
		if since := <-granted; since.Sub(began) != 3*time.Second {
			t.Errorf("the waiter has held its slot since %v", since.Sub(began))
		}
	})
}

func TestTimeoutLeavesTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limit.New(1, 2)
		mustAcquire(t, l)
		start := time.Now()
		if err := acquire(l, t.Context(), 300*time.Millisecond); !errors.Is(err, limit.ErrTimeout) {
			t.Fatalf("got %v, want ErrTimeout", err)
		}
		if d := time.Since(start); d != 300*time.Millisecond {
			t.Fatalf("waited %v", d)
		}
		wantStats(t, l, limit.Stats{Limit: 1, Queue: 2, InFlight: 1})
		l.Release()
		mustAcquire(t, l)
	})
}

func TestContextEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limit.New(1, 2)
		mustAcquire(t, l)

		hungUp := errors.New("client hung up")
		ctx, cancel := context.WithCancelCause(t.Context())
		got := make(chan error)
		go func() { got <- acquire(l, ctx, time.Minute) }()
		synctest.Wait()
		cancel(hungUp)
		if err := <-got; !errors.Is(err, hungUp) {
			t.Fatalf("got %v, want the cause", err)
		}

		start := time.Now()
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if err := acquire(l, ctx, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, want DeadlineExceeded", err)
		}
		if d := time.Since(start); d != time.Second {
			t.Fatalf("waited %v past a deadline of 1s", d)
		}
		wantStats(t, l, limit.Stats{Limit: 1, Queue: 2, InFlight: 1})
	})
}

func TestDoneContextGetsNothing(t *testing.T) {
	l := limit.New(1, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := acquire(l, ctx, time.Second); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want Canceled", err)
	}
	wantStats(t, l, limit.Stats{Limit: 1, Queue: 1})
}

// The grant and the end of the wait fall on the same instant, many times over:
// whoever wins, the slot must come back.
func TestGrantRacesWithGivingUp(t *testing.T) {
	for name, begin := range map[string]func(*limit.Limiter) error{
		"timeout": func(l *limit.Limiter) error { return acquire(l, context.Background(), time.Second) },
		"context": func(l *limit.Limiter) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			return acquire(l, ctx, time.Minute)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for range 200 {
					l := limit.New(1, 1)
					mustAcquire(t, l)
					time.AfterFunc(time.Second, l.Release)
					err := begin(l)
					synctest.Wait()
					if err == nil {
						l.Release()
					}
					wantStats(t, l, limit.Stats{Limit: 1, Queue: 1})
				}
			})
		})
	}
}

func TestResizeGrowsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limit.New(0, 4)
		var mu sync.Mutex
		var served []int
		for i := range 4 {
			go func() {
				if acquire(l, t.Context(), time.Minute) == nil {
					mu.Lock()
					served = append(served, i)
					mu.Unlock()
				}
			}()
			synctest.Wait()
		}
		l.Resize(1, 4)
		synctest.Wait()
		l.Resize(2, 0) // a smaller queue sends nobody away
		synctest.Wait()
		wantStats(t, l, limit.Stats{Limit: 2, InFlight: 2, Depth: 2})
		if err := acquire(l, t.Context(), time.Minute); !errors.Is(err, limit.ErrFull) {
			t.Fatalf("newcomer to a shrunk queue: %v, want ErrFull", err)
		}
		l.Resize(4, 0)
		synctest.Wait()
		wantStats(t, l, limit.Stats{Limit: 4, InFlight: 4})
		slices.Sort(served[2:]) // these two were granted at once
		if !slices.Equal(served, []int{0, 1, 2, 3}) {
			t.Fatalf("served %v", served)
		}
	})
}

func TestResizeShrinksAsCallsFinish(t *testing.T) {
	l := limit.New(3, 0)
	for range 3 {
		mustAcquire(t, l)
	}
	l.Resize(1, 0)
	wantStats(t, l, limit.Stats{Limit: 1, InFlight: 3})
	for range 2 {
		l.Release()
		if l.TryAcquire() {
			t.Fatal("admitted above the shrunk limit")
		}
	}
	l.Release()
	if !l.TryAcquire() {
		t.Fatal("refused below the shrunk limit")
	}
}

func TestOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limit.New(1, 2)
		mustAcquire(t, l)
		for range 2 {
			go func() { _ = acquire(l, t.Context(), 5*time.Second) }()
			time.Sleep(time.Second) // the bubble's clock
		}
		wantStats(t, l, limit.Stats{Limit: 1, Queue: 2, InFlight: 1, Depth: 2, Oldest: 2 * time.Second})
		if s := l.Stats(time.Now().Add(-time.Hour)); s.Oldest != 0 {
			t.Fatalf("Oldest %v before the wait began, want 0", s.Oldest)
		}
		l.Release()
		synctest.Wait()
		wantStats(t, l, limit.Stats{Limit: 1, Queue: 2, InFlight: 1, Depth: 1, Oldest: time.Second})
		l.Release()
		synctest.Wait()
		wantStats(t, l, limit.Stats{Limit: 1, Queue: 2, InFlight: 1})
	})
}

func TestMisusePanics(t *testing.T) {
	for name, misuse := range map[string]func(){
		"release":         func() { limit.New(1, 1).Release() },
		"negative limit":  func() { limit.New(-1, 0) },
		"negative queue":  func() { limit.New(1, -1) },
		"negative resize": func() { limit.New(1, 1).Resize(-1, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			misuse()
		})
	}
}

// The hammer: callers that come, wait, give up and are cancelled while the limit
// changes under them. Never more in flight than the largest limit allows, and at
// the end every slot is back.
func TestHammer(t *testing.T) {
	const callers, rounds, most = 16, 400, 5
	l := limit.New(most, 4)
	var inFlight, admitted, refused atomic.Int64
	var callersDone, resizerDone sync.WaitGroup
	stop := make(chan struct{})

	resizerDone.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				l.Resize(1+i%most, i%6)
			}
		}
	})
	for seed := range callers {
		callersDone.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(seed), 1))
			for range rounds {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.IntN(400))*time.Microsecond)
				err := acquire(l, ctx, time.Duration(rng.IntN(400))*time.Microsecond)
				if err == nil {
					admitted.Add(1)
					if n := inFlight.Add(1); n > most {
						t.Errorf("%d in flight, limit at most %d", n, most)
					}
					for range rng.IntN(200) {
						_ = l.Stats(time.Time{})
					}
					inFlight.Add(-1)
					l.Release()
				} else {
					refused.Add(1)
				}
				cancel()
			}
		})
	}
	callersDone.Wait()
	close(stop)
	resizerDone.Wait()
	if admitted.Load() == 0 || refused.Load() == 0 {
		t.Errorf("%d admitted, %d refused: the hammer hit one side only", admitted.Load(), refused.Load())
	}
	l.Resize(most, 0)
	wantStats(t, l, limit.Stats{Limit: most})
	for range most {
		mustAcquire(t, l)
	}
	if l.TryAcquire() {
		t.Error("more slots than the limit")
	}
}

func TestFreeSlotAllocatesNothing(t *testing.T) {
	l := limit.New(1, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if n := testing.AllocsPerRun(100, func() {
		if acquire(l, ctx, time.Second) != nil {
			t.Error("refused")
		}
		l.Release()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func mustAcquire(t *testing.T, l *limit.Limiter) {
	t.Helper()
	if err := acquire(l, t.Context(), 0); err != nil {
		t.Fatalf("Acquire: %v", err)
	}
}

func wantStats(t *testing.T, l *limit.Limiter, want limit.Stats) {
	t.Helper()
	if got := l.Stats(time.Now()); got != want {
		t.Fatalf("stats %+v, want %+v", got, want)
	}
}

func acquire(l *limit.Limiter, ctx context.Context, wait time.Duration) error {
	_, err := l.Acquire(ctx, wait)
	return err
}
