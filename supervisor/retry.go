package supervisor

import (
	"sync"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/ipc/exchange"
)

// retryShare is how many retries the requests of a bulkhead earn: retries of
// more than a tenth multiply the load on a backend that is failing already.
const (
	retryShare = 0.1
	retryBurst = 10
)

// retryBudget is a token bucket that requests fill.
type retryBudget struct {
	mu     sync.Mutex
	tokens float64
}

func newRetryBudget() *retryBudget { return &retryBudget{tokens: 1} }

func (b *retryBudget) earn() {
	b.mu.Lock()
	b.tokens = min(retryBurst, b.tokens+retryShare)
	b.mu.Unlock()
}

func (b *retryBudget) spend() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// attemptsUnsent bounds how often a request that no worker took up is offered
// to another.
const attemptsUnsent = 3

// again decides whether a failed exchange is repeated. It never is because the
// answer was bad, nor once any byte of the request's body or of an answer has
// passed.
func (c *call) again(x *ipc.Call, e *exchange.Error, attempt int) bool {
	if x.BodyRead() || e.Stage >= exchange.Answered || c.whyOver() != nil {
		return false
	}
	switch {
	case ipc.Told(e):
		// The worker lives and says what its backend did.
		// A backend that proved not to have taken it up (HTTP/2) may have any again.
		retry := e.Fault == exchange.BackendReset && attempt == 1 &&
			(e.Stage < exchange.Sent || IdempotentMethod(c.r.Method)) && c.bulkhead.retries.spend()
		if retry {
			c.bulkhead.stats.metrics.retries.Inc()
		}
		return retry
	case e.Fault != exchange.WorkerDied && e.Fault != exchange.WorkerUnresponsive:
		return false
	case e.Stage == exchange.Waiting:
		return attempt < attemptsUnsent // it had no part in the worker's end
	case e.Stage < exchange.Sent, IdempotentMethod(c.r.Method):
		// Outside the budget: bounded by what a worker holds. Once, for the
		// request may be what kills its workers; nor when it died with another
		// before, in the hands of this client or another.
		return attempt == 1 && !c.deadly
	}
	return false
}
