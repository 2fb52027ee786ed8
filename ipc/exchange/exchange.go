// Package exchange is the vocabulary of one exchange between supervisor, worker
// and backend: how far it got (Stage), what went wrong (Fault, Error) and how a
// transport inside a worker tells both (Reporter).
//
// It is a leaf: both ends of the wire, the backend client and worker authors
// import it, and it imports nothing of ours.
package exchange

import (
	"context"
	"errors"
)

// Stage is how far a worker got with one exchange. Stages only rise, but for what
// a [Retractor] takes back. The zero value is the proof of "nothing sent": a worker that died at Waiting or Taken
// never wrote a byte of this request to its backend.
type Stage uint32

const (
	Waiting  Stage = iota // the worker has not picked it up
	Taken                 // the worker read the head; the backend has seen nothing
	Sent                  // the first byte to the backend may have been written
	Answered              // a valid status line of the backend has been read
)

func (s Stage) String() string {
	switch s {
	case Waiting:
		return "waiting"
	case Taken:
		return "taken"
	case Sent:
		return "sent"
	case Answered:
		return "answered"
	}
	return "unknown"
}

// Fault names what went wrong between worker and backend, or in the worker
// itself. The words are those of the reasons that a client sees.
type Fault string

const (
	BackendRefused     Fault = "backend_refused"     // connection refused
	BackendUnreachable Fault = "backend_unreachable" // no address, no route
	BackendReset       Fault = "backend_reset"       // the connection ended before the answer did
	BackendProtocol    Fault = "backend_protocol"    // not HTTP, ambiguous framing, head too large
	BackendTimeout     Fault = "backend_timeout"     // no connection or no answer in time: the stage says which
	BackendTLS         Fault = "backend_tls"         // certificate expired, wrong name, unknown issuer
	WorkerDied         Fault = "worker_died"         // the process ended
	WorkerProtocol     Fault = "worker_protocol"     // the worker broke the protocol, or its handler panicked
	WorkerUnresponsive Fault = "worker_unresponsive" // the process does not answer its probe
	Deadline           Fault = "deadline"            // time ran out before anything was sent
	ClientGone         Fault = "client_gone"         // the caller left
	ClientTimeout      Fault = "client_timeout"      // the caller sent its body too slowly
	BadRequest         Fault = "bad_request"         // the caller's body breaks its own framing
)

// Error is a failed exchange.
type Error struct {
	Fault Fault
	Stage Stage // how far it had got
	Err   error // the cause, for logs only: it may name addresses
}

func (e *Error) Error() string {
	if e.Err == nil {
		return string(e.Fault)
	}
	return string(e.Fault) + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// FaultOf is the fault of err, or "" when err carries none.
func FaultOf(err error) Fault {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Fault
	}
	return ""
}

// Canceler is what a transport attaches to an exchange: Cancel makes whatever it
// waits for end soon, may be called from any goroutine, and must not block.
type Canceler interface{ Cancel() }

// Reporter is the exchange as a transport sees it. Its methods are safe for
// concurrent use and cost no system call.
type Reporter interface {
	// Sent must be called before the first byte is written to the backend. When
	// it reports false the exchange has been given up as never sent, and nothing
	// may be written: the caller was already told that a repeat is safe.
	Sent() bool
	// Answered must be called when a valid status line was read.
	Answered()
	// Attach has c cancelled when the exchange is. It reports false, and does
	// not keep c, when that has happened already. One at a time.
	Attach(c Canceler) bool
	// Detach ends that. When it returns, Cancel is not running and will not run:
	// a connection can go back to its pool.
	Detach()
}

// Retractor is what a [Reporter] implements to have a report taken back: a backend
// can prove that it did not take up what was sent to it (RFC 9113 section 8.7).
type Retractor interface {
	// Unsent takes back the one Sent of this exchange, of which the transport has
	// proof that it came to nothing. It does nothing after a second one: what the
	// other request did remains.
	Unsent()
}

type reporterKey struct{}

// ReporterKey is the context key under which an exchange's context answers with
// its Reporter; the context of the exchange itself implements it, so a look-up
// allocates nothing.
var ReporterKey any = reporterKey{}

// From is the Reporter of the exchange that ctx belongs to, or nil outside one.
func From(ctx context.Context) Reporter {
	r, _ := ctx.Value(ReporterKey).(Reporter)
	return r
}
