package pool_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/ipc/process"
	"commerce.example/coordinator/supervisor/pool"
)

// Requests are lost by the deaths of their workers and by nothing else.
func TestHammer(t *testing.T) {
	s := open(t, 3, func(c *pool.Config) {
		c.Budget = func() pool.Budget { return pool.Budget{Faults: 1000, Per: time.Minute} }
		c.Limits = func() pool.Limits { return pool.Limits{Requests: 200, Age: time.Second} }
	})
	s.await(10*time.Second, pool.Ready)
	var (
		killed                sync.Map // pid
		answered, lost, empty atomic.Int64
		clients, operators    sync.WaitGroup
	)
	end := make(chan struct{})
	ended := func() bool {
		select {
		case <-end:
			return true
		default:
			return false
		}
	}
	for range 16 {
		clients.Go(func() {
			for !ended() {
				l, err := s.Lease(pool.Lease{})
				if err != nil {
					if !errors.Is(err, pool.ErrNoWorker) {
						t.Errorf("lease: %v", err)
					}
					empty.Add(1)
					time.Sleep(time.Millisecond)
					continue
				}
				pid := l.Worker().Pid()
				_, err = ask(l, "/")
				switch _, dead := killed.Load(pid); {
				case err == nil:
					answered.Add(1)
				case dead:
					lost.Add(1)
					if f := exchange.FaultOf(err); f != exchange.WorkerDied && f != exchange.WorkerUnresponsive {
						t.Errorf("a killed worker's request: %v", err)
					}
					l.Broken(io.ErrUnexpectedEOF)
				default:
					t.Errorf("request to %d, which nobody killed: %v", pid, err)
				}
				l.Release()
			}
		})
	}
	operator := func(every time.Duration, act func()) {
		operators.Go(func() {
			for !ended() {
				act()
				time.Sleep(time.Duration(rand.Int64N(int64(every))))
			}
		})
	}
	operator(300*time.Millisecond, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.IntN(500))*time.Millisecond)
		defer cancel()
		if _, err := s.Restart(ctx); err != nil && ctx.Err() == nil {
			t.Errorf("restart: %v", err)
		}
	})
	operator(300*time.Millisecond, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.IntN(500))*time.Millisecond)
		defer cancel()
		err := s.Resize(ctx, 1+rand.IntN(4))
		if _, died := errors.AsType[*process.ExitError](err); err != nil && !died && ctx.Err() == nil { // killed while it drained
			t.Errorf("resize: %v", err)
		}
	})
	operator(600*time.Millisecond, func() {
		l, err := s.Lease(pool.Lease{}) // it keeps the worker, and so its number
		if err != nil {
			return
		}
		defer l.Release()
		killed.Store(l.Worker().Pid(), true)
		_ = syscall.Kill(l.Worker().Pid(), []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP}[rand.IntN(2)])
	})
	operator(20*time.Millisecond, func() { _, _ = s.Status(), s.RetryAfter(time.Now()) })
	<-time.After(2 * time.Second)
	close(end)
	s.within(10*time.Second, "operators", operators.Wait)
	s.within(10*time.Second, "clients", clients.Wait)
	if _, err := s.Restart(t.Context()); err != nil {
		t.Errorf("the last restart: %v", err)
	}
	s.await(5*time.Second, pool.Ready)
	t.Logf("%d answered, %d lost with their workers, %d found none; %d workers", answered.Load(), lost.Load(), empty.Load(), len(s.seen(pool.Started)))
	recycled := s.replaced(pool.CauseAge)
	s.until(10*time.Second, "recycled: nobody has kept the token", func() bool { return s.replaced(pool.CauseAge) > recycled })
	if answered.Load() == 0 {
		t.Error("nothing was answered")
	}
	s.within(10*time.Second, "stop", func() { _ = s.Stop(context.Background()) })
}

func BenchmarkLeaseRelease(b *testing.B) {
	s := open(b, 4)
	s.await(20*time.Second, pool.Ready)
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			l, err := s.Lease(pool.Lease{})
			if err != nil {
				b.Fatal(err)
			}
			l.Release()
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				l, err := s.Lease(pool.Lease{})
				if err != nil {
					b.Error(err)
					return
				}
				l.Release()
			}
		})
	})
}
