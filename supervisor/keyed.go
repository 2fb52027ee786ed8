package supervisor

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/supervisor/idempotency"
	"commerce.example/coordinator/supervisor/journal"
)

// keyed is what a call has of its Idempotency-Key. The zero value is one without.
type keyed struct {
	digest   string             // of the key
	claim    *idempotency.Claim // nil: it is not the first with the key
	ended    bool               // claim is done
	alone    bool               // the client is gone, and the answer is read for a repeat
	replayed bool               // it was given the first answer
	known    Outcome            // of the first, and all that it was told; "": it was not
}

// ruled answers a request whose key is none or not free, and reports whether it did.
// A request whose key is free has it from then on.
func (c *call) ruled() bool {
	if SafeMethod(c.r.Method) {
		return false
	}
	ruling := c.rule()
	c.keyed.digest = ruling.Digest
	c.bulkhead.stats.metrics.idempotency[ruling.Verdict].Inc()
	switch ruling.Verdict {
	case idempotency.Unkeyed:
		if c.set.Idempotency.Mode != IdempotencyRequired {
			return false
		}
		c.turnAway(ReasonBadRequest, "This route group takes no "+c.r.Method+" without the field Idempotency-Key.")
	case idempotency.First:
		c.keyed.claim = ruling.Claim
		if c.body != nil {
			c.r.Body = ruling.Claim.Body(c.body) // of our own copy
		}
		c.wanted.Store(!IsUpgrade(c.r))
		return false
	case idempotency.Repeat:
		c.giveAgain(ruling.Answer)
	case idempotency.InProgress:
		c.explain(Problem{Reason: ReasonIdempotencyConflict, Outcome: OutcomeRefused, RetryAfter: c.bulkhead.stats.meanHeld()})
	case idempotency.Known:
		c.keyed.known = Outcome(ruling.Outcome)
		c.explain(Problem{Reason: ReasonIdempotencyConflict, Outcome: c.keyed.known, Detail: knownDetail(c.keyed.known, ruling.Status), Final: true})
	case idempotency.Mismatch:
		c.refuse(ReasonIdempotencyMismatch)
	case idempotency.Malformed:
		c.turnAway(ReasonBadRequest, "The field Idempotency-Key is malformed: want one quoted string, or one word, of 1 to 255 bytes.")
	case idempotency.Full:
		c.explain(Problem{Reason: ReasonIdempotencyFull, Outcome: OutcomeRefused, RetryAfter: ruling.RetryAfter})
	case idempotency.Unread:
		c.refuse(clientFault(c.r, &exchange.Error{Fault: exchange.ClientGone, Err: ruling.Err}))
	default:
		panic("supervisor: idempotency verdict " + string(ruling.Verdict))
	}
	return true
}

// rule asks for the ruling. A replay of what may have been done is for a backend that
// knows repeats, and passes for what it is: its key is its own. Of a repeat that reads the body, which the client has
// the time of an answer for: no watch looks at the call yet.
func (c *call) rule() idempotency.Ruling {
	if c.body != nil && c.r.Header["Idempotency-Key"] != nil {
		control := http.NewResponseController(c.w)
		_ = control.SetReadDeadline(c.deadline)
		defer control.SetReadDeadline(time.Time{})
	}
	if again := c.journaled.replay; again != nil && again.of.Outcome == journal.OutcomeSentUnknown && c.set.BackendIdempotent {
		return c.set.keys.Resend(c.r, c.begun)
	}
	return c.set.keys.Begin(c.r, c.begun)
}

// turnAway refuses what the client has to send otherwise.
func (c *call) turnAway(reason Reason, detail string) {
	c.explain(Problem{Reason: reason, Outcome: OutcomeRefused, Detail: detail})
}

// knownDetail is what a repeat is told of a first request whose answer, of that status
// (0: unknown), is not held. The outcome of the problem is the first one's: it is the
// work that is asked about. An answer in full is no proof that the work was done.
func knownDetail(first Outcome, status int) string {
	var what string
	switch {
	case first == OutcomeSentUnknown:
		what = "was sent, and no answer to it was seen: its work may have been done"
	case first == OutcomePartial:
		what = "was answered in part: its work may have been done"
	case status == 0:
		what = "was answered in full, and the answer is not held any more: its work may have been done"
	case status < 400:
		what = fmt.Sprintf("was answered in full, with %d, and the answer is not held any more: its work has been done", status)
	default:
		what = fmt.Sprintf("was answered in full, with %d, and the answer is not held any more: whether its work was done is what the backend means by that", status)
	}
	return "The first request with this idempotency key " + what + ". It is not sent again."
}

// replayedHeader marks an answer that was given again.
const replayedHeader = "Idempotency-Replayed"

var replayedTrue = []string{"true"}

// giveAgain answers with the first answer, as it was but for its framing.
func (c *call) giveAgain(a *idempotency.Answer) {
	c.bulkhead.watch.anew(c, time.Now())
	c.keyed.replayed = true
	h := c.w.Header()
	for name, values := range a.Header {
		h[name] = slices.Clip(values) // shared: an append copies it
	}
	h[replayedHeader] = replayedTrue
	if id := c.r.Header["X-Request-Id"]; id != nil {
		h["X-Request-Id"] = id
	}
	switch {
	case len(a.Trailer) > 0:
		delete(h, "Content-Length")
		for name := range a.Trailer {
			h["Trailer"] = append(h["Trailer"], name)
		}
		if c.r.ProtoMajor == 1 {
			h["Transfer-Encoding"] = chunked
		}
	case a.Status != http.StatusNoContent && a.Status != http.StatusNotModified: // RFC 9110 section 8.6
		h["Content-Length"] = []string{strconv.Itoa(len(a.Body))}
	}
	c.body.beforeHead(c)
	c.status, c.told, c.written = a.Status, a.Status, true
	c.w.WriteHeader(a.Status)
	for piece := range slices.Chunk(a.Body, relayBuffer) { // so that the watch sees it move
		if !c.write(piece, false) {
			return
		}
	}
	copyTrailers(h, a.Trailer)
}

// recordFirst begins to keep the answer that is about to be relayed, if a repeat may
// be given it. One without an end of its own is none to wait for.
func (c *call) recordFirst(resp *http.Response) {
	if c.keyed.claim == nil {
		return
	}
	if _, framed := resp.Body.(*ipc.Body); !framed || isEventStream(resp.Header) {
		c.wanted.Store(false)
		return
	}
	c.keyed.claim.Record(resp.StatusCode, resp.Header)
	c.wanted.Store(c.keyed.claim.Wants())
}

// noteTrailer takes the trailer of the answer, before complete.
func (c *call) noteTrailer(trailer http.Header) {
	if c.keyed.claim != nil {
		c.keyed.claim.Trailer(trailer)
	}
}

// endClaim tells what became of the first request with a key, as soon as that is
// known; at the end of the call also whether its client has the answer.
func (c *call) endClaim(outcome Outcome, now time.Time) {
	k := &c.keyed
	switch {
	case k.claim == nil:
	case !k.ended:
		k.ended = true
		c.wanted.Store(false)
		k.claim.Done(string(outcome), now)
	case outcome == OutcomeDone:
		k.claim.Delivered()
	}
}

// outlives reports whether the call goes on though its client was found gone: its
// answer is for a repeat.
func (c *call) outlives() bool {
	c.keyed.alone = c.wanted.Load()
	return c.keyed.alone
}

// goesOn reports, to the watch, whether a call without its client goes on: for as
// long as the head of an answer may take, from when it was first seen alone. Until
// then all its other deadlines hold.
func (c *call) goesOn(now time.Time) bool {
	if !c.wanted.Load() {
		return false
	}
	if c.leftAt.IsZero() {
		c.leftAt = now
	}
	return now.Sub(c.leftAt) <= c.set.Timeout
}
