package supervisor

import (
	"errors"
	"time"

	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/supervisor/journal"
)

// journaled is what a call keeps for its record.
type journaled struct {
	entry    *journal.Entry    // nil: it has no intent
	withheld bool              // its intent could not be recorded, which the journal says itself
	failed   []journal.Attempt // in order
	keeping  keeping
	replay   *replay // nil: a client sent it
}

// intend records that the call is about to leave for the worker it has leased. With
// an error it must not leave.
func (c *call) intend() error {
	switch {
	case c.set.Journal.Scope.intends(c.r.Method):
	case c.journaled.replay != nil: // since it was asked for
		return errNotRecorded
	default:
		return nil
	}
	if err := c.seal(); err != nil {
		return err
	}
	r := c.facts()
	c.tellKept(r)
	r.Attempts = []journal.Attempt{c.attempt()}
	r.RetrySafe = IdempotentMethod(c.r.Method)
	entry, err := c.bulkhead.journal.begin(c.r.Context(), r)
	c.handed = time.Now() // how long the disk took concerns neither worker nor backend
	switch {
	case err == nil:
		c.journaled.entry = entry
		return c.journaled.replay.leave()
	case errors.Is(err, journal.ErrUnavailable):
	default: // while the disk was waited for
		err = &exchange.Error{Fault: exchange.ClientGone, Err: err}
	}
	c.journaled.withheld = true
	c.unseal()
	return err
}

// attempted notes an attempt that failed.
func (c *call) attempted(failure *exchange.Error) {
	if !c.set.Journal.Scope.on() {
		return
	}
	a := c.attempt()
	a.Stage, a.Fault, a.TookUS = failure.Stage.String(), string(failure.Fault), time.Since(c.handed).Microseconds()
	c.journaled.failed = append(c.journaled.failed, a)
}

// attempt is the present one, as it begins.
func (c *call) attempt() journal.Attempt {
	return journal.Attempt{
		Slot: c.lease.Slot(), Pid: c.lease.Worker().Pid(), Generation: c.lease.Start(), HandedUS: c.handed.Sub(c.begun).Microseconds(),
	}
}

// recordEnd records what became of the call, if its bulkhead wants that to be known.
func (c *call) recordEnd(now time.Time) {
	outcome := c.progress.Outcome()
	if !sendableAgain(outcome) {
		c.unseal()
	}
	switch {
	case c.journaled.entry != nil:
		c.journaled.entry.Close(c.story(outcome, now))
	case !c.journaled.withheld && c.set.Journal.Scope.wants(c.r.Method, outcome):
		c.bulkhead.journal.write(c.story(outcome, now))
	}
}

// facts is what is known of the call as it leaves.
func (c *call) facts() *journal.Record {
	set := &c.set.Journal
	r := &journal.Record{
		RequestID: requestID(c.r), Bulkhead: c.set.Name, Method: c.r.Method, Path: c.r.URL.EscapedPath(), Arrived: c.begun,
		Client:  c.bulkhead.journal.client(c.r.Header["X-Real-Ip"], c.begun),
		Headers: set.Headers.Of(c.r.Header), Sync: set.Sync,
	}
	if !c.admitted.IsZero() {
		r.QueueUS = c.admitted.Sub(c.begun).Microseconds()
	}
	if set.Query {
		r.Query = c.r.URL.RawQuery
	}
	return r
}

// story is all that is known of the call at its end.
func (c *call) story(outcome Outcome, now time.Time) *journal.Record {
	r := c.facts()
	c.tellKept(r)
	r.Attempts = c.journaled.failed
	if c.progress.Begun {
		r.Attempts = append(r.Attempts, c.lastAttempt(now))
	}
	r.Outcome, r.Reason, r.Status, r.Fallback = string(outcome), string(c.reason), c.told, string(c.stoodIn)
	r.RetrySafe = IdempotentMethod(c.r.Method)
	if c.reason != "" {
		r.RetrySafe = RetrySafe(c.reason, outcome, c.r.Method)
	}
	r.TookUS, r.BytesOut = now.Sub(c.begun).Microseconds(), c.moved.Load()
	if x := c.current(); x != nil {
		r.BytesIn = x.Uploaded()
	}
	return r
}

// lastAttempt is the one that was answered.
func (c *call) lastAttempt(now time.Time) journal.Attempt {
	a, ended := c.attempt(), c.completed
	a.Stage = exchange.Answered.String()
	if !c.progress.Complete {
		a.Fault = string(c.reason)
	}
	if ended.IsZero() {
		ended = now
	}
	a.TookUS = ended.Sub(c.handed).Microseconds()
	return a
}

// deliver says that the client was given the answer to its end. Where a repeat could
// do the work twice, that is not said of an answer that is still in a buffer, nor of
// a client that is known to have left.
func (c *call) deliver() {
	if c.set.Journal.Scope.on() && !SafeMethod(c.r.Method) {
		if !c.flushHead() {
			return
		}
		if c.r.Context().Err() != nil {
			c.reason = ReasonClientGone
			return
		}
	}
	c.progress.Delivered = true
}
