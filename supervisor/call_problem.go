package supervisor

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/supervisor/journal"
	"commerce.example/coordinator/supervisor/pool"
)

// refuse answers a request that no worker got.
func (c *call) refuse(reason Reason) { c.problem(reason, OutcomeRefused) }

// fail answers a request whose exchange failed without an answer.
func (c *call) fail(err error) {
	reason := c.reasonOf(err)
	c.noteFailure(reason, err)
	c.problem(reason, c.progress.Outcome())
}

// noteFailure keeps for the log what its backend did to the call.
func (c *call) noteFailure(reason Reason, err error) {
	if reason.CountsAgainstBackend() {
		c.bulkhead.failures.note(reason, err, requestID(c.r))
	}
}

// reasonOf finds the word for a failure. Time that ran out is the backend's
// when it had the request, and the client's when its body was awaited.
func (c *call) reasonOf(err error) Reason {
	switch {
	case errors.Is(err, pool.ErrQuarantined):
		return ReasonQuarantined
	case errors.Is(err, pool.ErrNoWorker):
		return ReasonNoWorker
	case errors.Is(err, pool.ErrStopped), errors.Is(err, errNotOurTurn):
		return ReasonDraining
	case outOfDescriptors(err):
		return ReasonNoWorker
	case errors.Is(err, journal.ErrUnavailable):
		return ReasonJournalUnavailable
	}
	e, ok := errors.AsType[*exchange.Error](err)
	if !ok {
		return ReasonWorkerProtocol
	}
	switch e.Fault {
	case exchange.Deadline:
		if e.Stage >= exchange.Sent {
			return ReasonBackendTimeout
		}
		return ReasonDeadline
	case exchange.ClientGone:
		return clientFault(c.r, e)
	}
	return ReasonOf(e.Fault)
}

// clientFault tells apart how a client's body can fail.
func clientFault(r *http.Request, e *exchange.Error) Reason {
	err := e.Err
	if cause, ours := errors.AsType[*exchange.Error](err); ours {
		err = cause.Err // what the upload saw; nothing when the watch ended it
	}
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return ReasonBodyTooLarge
	}
	_, network := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ReasonClientTimeout
	case err == nil, network, r.ProtoMajor != 1, errors.Is(err, context.Canceled),
		errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return ReasonClientGone
	}
	return ReasonBadRequest // net/http has no type for a body that breaks its framing
}

// problem answers in the backend's place. An answer that has begun cannot be
// taken back: it is cut, so that nobody takes it for whole.
func (c *call) problem(reason Reason, outcome Outcome) {
	c.explain(Problem{Reason: reason, Outcome: outcome, RetryAfter: c.retryAfter(reason)})
}

// explain is problem with what there is to say of p more than its reason.
func (c *call) explain(p Problem) {
	reason := p.Reason
	c.reason, c.status = reason, reason.Status()
	if c.written || reason == ReasonClientGone {
		c.abort = true
		c.showPart()
		return
	}
	c.body.beforeHead(c)
	if c.standIn(reason) {
		return
	}
	if c.set.cors.Preflight(c.w, c.r) {
		c.status, c.told = http.StatusNoContent, http.StatusNoContent
		return
	}
	p.RequestID, p.Bulkhead, p.Owner, p.Runbook = requestID(c.r), c.set.Name, c.set.Owner, c.set.Runbook
	c.set.cors.Allow(c.w.Header(), c.r.Header)
	c.told = c.status
	p.ServeHTTP(c.w, c.r)
}

// retryAfter estimates when the same request may pass.
func (c *call) retryAfter(reason Reason) time.Duration {
	switch reason {
	case ReasonBreakerOpen:
		return c.bulkhead.breaker.RetryAfter(time.Now())
	case ReasonQuarantined, ReasonNoWorker:
		return c.bulkhead.pool.Load().RetryAfter(time.Now())
	case ReasonQueueFull, ReasonQueueTimeout:
		// Until a slot is free for one more: as many calls end in the mean time
		// of one as there are slots.
		l := c.bulkhead.limiter.Stats(c.begun)
		return c.bulkhead.stats.meanHeld() * time.Duration(l.Depth+1) / time.Duration(max(1, l.Limit))
	}
	return 0
}
