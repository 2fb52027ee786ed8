package supervisor

import (
	"net/http"

	"commerce.example/coordinator/ipc/exchange"
)

// Outcome is how far the work of a request got: what a client, a retry and the
// journal need to know before they repeat it.
type Outcome string

const (
	OutcomeRefused     Outcome = "refused"      // never left the coordinator
	OutcomeNeverSent   Outcome = "never_sent"   // no byte reached the backend
	OutcomeSentUnknown Outcome = "sent_unknown" // sent, no answer seen: the work may have been done
	OutcomePartial     Outcome = "partial"      // the answer began and did not finish
	OutcomeUndelivered Outcome = "undelivered"  // answered in full, the client did not get it
	OutcomeDone        Outcome = "done"
)

// Outcomes is every outcome, from the least progress to the most.
func Outcomes() []Outcome {
	return []Outcome{
		OutcomeRefused, OutcomeNeverSent, OutcomeSentUnknown,
		OutcomePartial, OutcomeUndelivered, OutcomeDone,
	}
}

// Progress is what the supervisor saw of a request. The zero value is one that
// was refused.
type Progress struct {
	Dispatched bool           // a worker was given it
	Stage      exchange.Stage // how far that worker got, also when it has died since
	Begun      bool           // the head of an answer arrived from the worker
	Complete   bool           // the answer arrived to its last byte
	Delivered  bool           // and the client was given all of it
}

// Outcome is the outcome of p. What arrived outweighs what the worker reported:
// a handler with its own way to the backend reports no stage and still answers.
func (p Progress) Outcome() Outcome {
	switch {
	case !p.Dispatched:
		return OutcomeRefused
	case p.Complete && p.Delivered:
		return OutcomeDone
	case p.Complete:
		return OutcomeUndelivered
	case p.Begun || p.Stage >= exchange.Answered:
		return OutcomePartial
	case p.Stage >= exchange.Sent:
		return OutcomeSentUnknown
	}
	return OutcomeNeverSent
}

// RetrySafe reports whether a client may repeat a request without the risk of
// doing its work twice: nothing reached the backend, or the method is idempotent.
// A poison request is never safe; what it is not safe for is the workers.
func RetrySafe(r Reason, o Outcome, method string) bool {
	if r.facts().poison {
		return false
	}
	return o == OutcomeRefused || o == OutcomeNeverSent || IdempotentMethod(method)
}

// SafeMethod reports whether method only reads: RFC 9110 section 9.2.1.
func SafeMethod(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// IdempotentMethod reports whether doing method twice is doing it once: RFC 9110
// section 9.2.2. A method that it does not name is not.
func IdempotentMethod(method string) bool {
	return method == http.MethodPut || method == http.MethodDelete || SafeMethod(method)
}
