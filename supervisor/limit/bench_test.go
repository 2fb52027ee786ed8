package limit_test

import (
	"context"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/limit"
)

func BenchmarkUncontended(b *testing.B) {
	l := limit.New(1, 0)
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Acquire(ctx, time.Second); err != nil {
			b.Fatal("refused")
		}
		l.Release()
	}
}

// Slots for everybody: what the mutex costs.
func BenchmarkParallel(b *testing.B) { parallel(b, 1<<20) }

// One slot: most calls go through the line.
func BenchmarkParallelQueued(b *testing.B) { parallel(b, 1) }

func parallel(b *testing.B, slots int) {
	l := limit.New(slots, 1<<20)
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := l.Acquire(context.Background(), time.Minute); err != nil {
				b.Error(err)
				return
			}
			l.Release()
		}
	})
}

// What a bulkhead pays for each request that it sheds.
func BenchmarkRefused(b *testing.B) {
	l := limit.New(0, 0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Acquire(context.Background(), time.Second); err == nil {
			b.Fatal("admitted")
		}
	}
}
