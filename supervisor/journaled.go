package supervisor

import (
	"errors"
	"sync"
	"time"

	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/supervisor/journal"
)

// journaled is what a call keeps for its record.
type journaled struct {
	record   *journal.Record   // what is known of it so far; nil: nobody wants to know
	entry    *journal.Entry    // nil: it has no intent
	withheld bool              // its intent could not be recorded, which the journal says itself
	failed   []journal.Attempt // in order
	keeping  keeping
	replay   *replay // nil: a client sent it
}

var records = sync.Pool{New: func() any { return new(journal.Record) }}

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
	if c.keyed.claim != nil {
		if err := c.bulkhead.keyring.enter(c.r.Context(), c.deadline); err != nil {
			if errors.Is(err, errNotOurTurn) {
				c.w.Header()["Connection"] = connectionClose // to the successor
			}
			return err
		}
		defer c.bulkhead.keyring.leave()
	}
	if err := c.seal(); err != nil {
		return err
	}
	r := c.facts()
	c.tellKept(r)
	r.Attempts = append(r.Attempts[:0], c.attempt())
	r.RetrySafe = IdempotentMethod(c.r.Method)
	entry, err := c.bulkhead.journal.begin(c.r.Context(), &c.set.Journal, r)
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
		c.bulkhead.journal.write(&c.set.Journal, c.story(outcome, now))
	}
	if r := c.journaled.record; r != nil {
		*r = journal.Record{Attempts: r.Attempts[:0]}
		c.journaled.record = nil
		records.Put(r)
	}
}

// facts is what is known of the call as it leaves.
func (c *call) facts() *journal.Record {
	if c.journaled.record != nil {
		return c.journaled.record
	}
	set := &c.set.Journal
	r := records.Get().(*journal.Record)
	*r = journal.Record{
		RequestID: requestID(c.r), Bulkhead: c.set.Name, Method: c.r.Method, Path: c.r.URL.EscapedPath(), Route: c.r.Pattern, Arrived: c.begun,
		Client:  c.bulkhead.journal.client(c.r.Header["X-Real-Ip"], c.begun),
		Headers: set.Headers.Of(c.r.Header), Attempts: r.Attempts[:0], IdempotencyDigest: c.keyed.digest,
	}
	if !c.admitted.IsZero() {
		r.QueueUS = c.admitted.Sub(c.begun).Microseconds()
	}
	if set.Query {
		r.Query = c.r.URL.RawQuery
	}
	c.journaled.record = r
	return r
}

// story is all that is known of the call at its end.
func (c *call) story(outcome Outcome, now time.Time) *journal.Record {
	r := c.facts()
	c.tellKept(r)
	r.Attempts = append(r.Attempts[:0], c.journaled.failed...)
	if c.progress.Begun {
		r.Attempts = append(r.Attempts, c.lastAttempt(now))
	}
	r.Outcome, r.Reason, r.Status, r.Fallback = string(outcome), string(c.reason), c.told, c.fallback()
	r.RetrySafe = IdempotentMethod(c.r.Method)
	switch {
	case c.keyed.replayed:
		r.RetrySafe = true
	case c.keyed.known != "":
		r.RetrySafe = RetrySafe(c.reason, c.keyed.known, c.r.Method)
	case c.reason != "":
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

// tells reports that a repeat of the call could do its work twice, and what became
// of it is recorded: then delivery is not said lightly.
func (c *call) tells() bool { return c.set.Journal.Scope.on() && !SafeMethod(c.r.Method) }

// noteLeft notes, before a part of the answer goes out, whether the client is known
// to have left. Afterwards nobody can tell: one that has all may close as well.
func (c *call) noteLeft() {
	if c.tells() {
		c.left = c.r.Context().Err() != nil
	}
}

// deliver says that the client was given the answer to its end. Where that matters,
// it is not said of an answer that is still in a buffer, nor of a client that had
// left before the last of it went out.
func (c *call) deliver() {
	if c.tells() {
		if c.moved.Load() == 0 {
			c.noteLeft()
		}
		if !c.flushHead() {
			return
		}
		if c.left {
			c.reason = ReasonClientGone
			return
		}
	}
	c.progress.Delivered = true
}
