//go:build breached

package supervisor

import (
	"context"
	"os"
	"strings"
)

// breach has the second bulkhead share with the first what BREACH lists
// (limiter, breaker, pool), as a mistake in this package might. The build tag is
// set by the test alone which proves that a drill notices.
func breach(bulkheads []*Bulkhead) {
	for wall := range strings.SplitSeq(os.Getenv("BREACH"), ",") {
		switch first, second := bulkheads[0], bulkheads[1]; wall {
		case "limiter":
			second.limiter = first.limiter
		case "breaker":
			second.breaker = first.breaker
		case "pool":
			own := second.pool.Swap(first.pool.Load())
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_ = own.Stop(ctx)
		case "":
		default:
			panic("no such wall: " + wall)
		}
	}
}
