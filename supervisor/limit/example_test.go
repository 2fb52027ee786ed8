package limit_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"commerce.example/coordinator/supervisor/limit"
)

// One call at a time, one more may wait for up to 10 ms.
func Example() {
	l := limit.New(1, 1)
	ctx := context.Background()

	if _, err := l.Acquire(ctx, 10*time.Millisecond); err == nil {
		fmt.Println("first call: admitted")
	}
	switch _, err := l.Acquire(ctx, 10*time.Millisecond); {
	case errors.Is(err, limit.ErrFull):
		fmt.Println("second call: the queue is full")
	case errors.Is(err, limit.ErrTimeout):
		fmt.Println("second call: waited in vain")
	}
	l.Release()
	if l.TryAcquire() {
		fmt.Println("third call: admitted")
	}
	// Output:
	// first call: admitted
	// second call: waited in vain
	// third call: admitted
}
