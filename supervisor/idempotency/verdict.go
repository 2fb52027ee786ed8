package idempotency

import (
	"net/http"
	"time"
)

// Verdict is what becomes of a request.
type Verdict string

const (
	Unkeyed    Verdict = "unkeyed"     // none of ours: a safe method, or no key
	First      Verdict = "first"       // it goes on, under a Claim
	Repeat     Verdict = "repeat"      // the first answer is given again
	InProgress Verdict = "in_progress" // the first is not over
	Known      Verdict = "known"       // the first is over, and there is no answer to give
	Mismatch   Verdict = "mismatch"    // the first was a different request
	Malformed  Verdict = "malformed"   // the key is none
	Full       Verdict = "full"        // the key could not be remembered
	Unread     Verdict = "unread"      // the body of a repeat could not be read
)

// Verdicts is every verdict.
func Verdicts() []Verdict {
	return []Verdict{Unkeyed, First, Repeat, InProgress, Known, Mismatch, Malformed, Full, Unread}
}

// Ruling is a verdict and what belongs to it.
type Ruling struct {
	Verdict    Verdict
	Digest     string        // of the key, for the journal; "" for Unkeyed and Malformed
	Claim      *Claim        // First
	Answer     *Answer       // Repeat
	Outcome    string        // Repeat and Known: of the first, in the words of the journal
	Status     int           // Known: of the first's answer; 0: none is known
	RetryAfter time.Duration // Full: when there may be room
	Err        error         // Unread
}

// Answer is the first answer to a key. Everything in it is shared: nobody writes
// to Header, Body or Trailer.
type Answer struct {
	Status  int
	Header  http.Header // as it was recorded
	Body    []byte      // whole
	Trailer http.Header // nil: none
	At      time.Time   // when it was whole
}

// The outcomes that matter here, in the words that the whole product uses. Begin
// gives the last four.
const (
	outcomeRefused     = "refused"
	outcomeNeverSent   = "never_sent"
	outcomeSentUnknown = "sent_unknown"
	outcomePartial     = "partial"
	outcomeUndelivered = "undelivered"
	outcomeDone        = "done"
)

// harmless reports whether a request of this outcome provably did nothing.
func harmless(outcome string) bool { return outcome == outcomeRefused || outcome == outcomeNeverSent }

// whole reports whether the answer came to its last byte.
func whole(outcome string) bool { return outcome == outcomeDone || outcome == outcomeUndelivered }

// taken is the outcome under which a key stays taken. A word from elsewhere, of
// which nothing is known, is the most careful one; and none is kept that is a part
// of something larger.
func taken(outcome string) string {
	switch outcome {
	case outcomePartial:
		return outcomePartial
	case outcomeUndelivered:
		return outcomeUndelivered
	case outcomeDone:
		return outcomeDone
	}
	return outcomeSentUnknown
}

// isSafe is RFC 9110 section 9.2.1.
func isSafe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}
