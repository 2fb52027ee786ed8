package supervisor

import (
	"maps"
	"net/http"
	"slices"

	"commerce.example/coordinator/ipc/exchange"
)

// Reason is why a request was refused or failed. It is the same word in the
// problem details, the Proxy-Status field, the metric label, the log and the
// journal. All that the coordinator knows about a reason stands in one table.
type Reason string

const (
	ReasonNoRoute             Reason = "no_route"
	ReasonBadRequest          Reason = "bad_request"
	ReasonBodyTooLarge        Reason = "body_too_large"
	ReasonClientTimeout       Reason = "client_timeout"
	ReasonClientGone          Reason = "client_gone"
	ReasonTooManyConnections  Reason = "too_many_connections"
	ReasonQueueFull           Reason = "queue_full"
	ReasonQueueTimeout        Reason = "queue_timeout"
	ReasonBreakerOpen         Reason = "breaker_open"
	ReasonDraining            Reason = "draining"
	ReasonQuarantined         Reason = "quarantined"
	ReasonNoWorker            Reason = "no_worker"
	ReasonJournalUnavailable  Reason = "journal_unavailable"
	ReasonPoisonRequest       Reason = "poison_request"
	ReasonWorkerDied          Reason = "worker_died"
	ReasonWorkerProtocol      Reason = "worker_protocol"
	ReasonWorkerUnresponsive  Reason = "worker_unresponsive"
	ReasonBackendRefused      Reason = "backend_refused"
	ReasonBackendReset        Reason = "backend_reset"
	ReasonBackendProtocol     Reason = "backend_protocol"
	ReasonBackendUnreachable  Reason = "backend_unreachable"
	ReasonBackendTLS          Reason = "backend_tls"
	ReasonBackendTimeout      Reason = "backend_timeout"
	ReasonDeadline            Reason = "deadline"
	ReasonIdempotencyConflict Reason = "idempotency_conflict"
	ReasonIdempotencyMismatch Reason = "idempotency_mismatch"
	ReasonIdempotencyFull     Reason = "idempotency_full"
)

// StatusClientGone stands in logs and metrics for a request whose client left.
// It is never sent: nobody is there to read it.
const StatusClientGone = 499

// reasonFacts is one row of the table.
type reasonFacts struct {
	status     int
	proxyError string // RFC 9209 section 2.3 error type; empty: no answer is made
	title      string // for people, the same for every occurrence (RFC 9457 section 3.1.3)
	detail     string // what an occurrence that says nothing more exact says
	waiting    bool   // the same request may pass later: answer with Retry-After
	backend    bool   // a failure of the backend, for the breaker
	fallback   bool   // the bulkhead cannot answer, and nothing is wrong with the request: a fallback may
	poison     bool   // a repeat is unsafe whatever the outcome and the method
}

var reasonTable = map[Reason]reasonFacts{
	ReasonNoRoute: {
		status: http.StatusNotFound, proxyError: "destination_not_found",
		title: "No route", detail: "No route takes this host, method and path.",
	},
	ReasonBadRequest: {
		status: http.StatusBadRequest, proxyError: "http_request_error",
		title: "Bad request", detail: "The request is malformed or ambiguous.",
	},
	ReasonBodyTooLarge: {
		status: http.StatusRequestEntityTooLarge, proxyError: "http_request_error",
		title: "Body too large", detail: "The body of the request is larger than this route group takes.",
	},
	ReasonClientTimeout: {
		status: http.StatusRequestTimeout, proxyError: "http_request_error",
		title: "Request timeout", detail: "The request did not arrive in time.",
	},
	ReasonClientGone: {
		status: StatusClientGone,
		title:  "Client gone", detail: "The client left before the answer.",
	},
	ReasonTooManyConnections: {
		status: http.StatusServiceUnavailable, proxyError: "connection_limit_reached", waiting: true,
		title: "Too many connections", detail: "The coordinator has as many connections as it takes.",
	},
	ReasonQueueFull: {
		status: http.StatusServiceUnavailable, proxyError: "connection_limit_reached", waiting: true, fallback: true,
		title: "Queue full", detail: "All slots of this bulkhead are busy and its queue is full.",
	},
	ReasonQueueTimeout: {
		status: http.StatusServiceUnavailable, proxyError: "connection_limit_reached", waiting: true, fallback: true,
		title: "Queue timeout", detail: "No slot of this bulkhead came free in time.",
	},
	ReasonBreakerOpen: {
		status: http.StatusServiceUnavailable, proxyError: "destination_unavailable", waiting: true, fallback: true,
		title: "Breaker open", detail: "The backend has been failing; this bulkhead is not calling it for now.",
	},
	ReasonDraining: {
		status: http.StatusServiceUnavailable, proxyError: "destination_unavailable", waiting: true, fallback: true,
		title: "Draining", detail: "This bulkhead is finishing its work and takes no more.",
	},
	ReasonQuarantined: {
		status: http.StatusServiceUnavailable, proxyError: "destination_unavailable", waiting: true, fallback: true,
		title: "Quarantined", detail: "The workers of this bulkhead kept failing and are not being started for now.",
	},
	ReasonNoWorker: {
		status: http.StatusServiceUnavailable, proxyError: "destination_unavailable", waiting: true, fallback: true,
		title: "No worker", detail: "No worker of this bulkhead is ready.",
	},
	ReasonJournalUnavailable: {
		status: http.StatusServiceUnavailable, proxyError: "destination_unavailable", waiting: true, fallback: true,
		title: "Journal unavailable", detail: "The request must be recorded before it is sent, and cannot be.",
	},
	ReasonPoisonRequest: {
		status: http.StatusServiceUnavailable, proxyError: "destination_unavailable", poison: true, fallback: true,
		title: "Poison request", detail: "More than one worker died while it held this request.",
	},
	ReasonWorkerDied: {
		status: http.StatusBadGateway, proxyError: "connection_terminated", fallback: true,
		title: "Worker died", detail: "The worker that held this request died.",
	},
	ReasonWorkerProtocol: {
		status: http.StatusBadGateway, proxyError: "http_protocol_error", fallback: true,
		title: "Worker protocol error", detail: "The worker that held this request broke its protocol.",
	},
	ReasonWorkerUnresponsive: {
		status: http.StatusGatewayTimeout, proxyError: "http_response_timeout", fallback: true,
		title: "Worker unresponsive", detail: "The worker that held this request stopped responding.",
	},
	ReasonBackendRefused: {
		status: http.StatusBadGateway, proxyError: "connection_refused", backend: true, fallback: true,
		title: "Backend refused", detail: "The backend refused the connection.",
	},
	ReasonBackendReset: {
		status: http.StatusBadGateway, proxyError: "connection_terminated", backend: true, fallback: true,
		title: "Backend reset", detail: "The backend ended the connection before its answer.",
	},
	ReasonBackendProtocol: {
		status: http.StatusBadGateway, proxyError: "http_protocol_error", backend: true, fallback: true,
		title: "Backend protocol error", detail: "The answer of the backend is not valid HTTP.",
	},
	ReasonBackendUnreachable: {
		status: http.StatusBadGateway, proxyError: "destination_unavailable", backend: true, fallback: true,
		title: "Backend unreachable", detail: "The backend cannot be reached.",
	},
	ReasonBackendTLS: {
		status: http.StatusBadGateway, proxyError: "tls_certificate_error", backend: true, fallback: true,
		title: "Backend TLS error", detail: "The backend did not prove who it is.",
	},
	ReasonBackendTimeout: {
		status: http.StatusGatewayTimeout, proxyError: "http_response_timeout", backend: true, fallback: true,
		title: "Backend timeout", detail: "The backend did not answer in time.",
	},
	ReasonDeadline: {
		status: http.StatusGatewayTimeout, proxyError: "http_response_timeout", fallback: true,
		title: "Deadline exceeded", detail: "Time ran out before the backend was called.",
	},
	ReasonIdempotencyConflict: {
		status: http.StatusConflict, proxyError: "http_request_error", waiting: true,
		title: "Idempotency conflict", detail: "A request with this idempotency key is still in progress.",
	},
	ReasonIdempotencyMismatch: {
		status: http.StatusUnprocessableEntity, proxyError: "http_request_error",
		title: "Idempotency mismatch", detail: "This idempotency key was used for a different request.",
	},
	ReasonIdempotencyFull: {
		status: http.StatusServiceUnavailable, proxyError: "destination_unavailable", waiting: true,
		title: "Idempotency keys full", detail: "A new idempotency key could not be remembered, so the request is not sent.",
	},
}

// Reasons is every reason, sorted; a new slice each time.
func Reasons() []Reason { return slices.Sorted(maps.Keys(reasonTable)) }

// ReasonOf is the reason of a failed exchange. A fault that is no reason came
// from a worker that speaks another protocol, and is reported as that.
func ReasonOf(f exchange.Fault) Reason {
	if _, ok := reasonTable[Reason(f)]; ok {
		return Reason(f)
	}
	return ReasonWorkerProtocol
}

// facts is the row of r. A word outside the table is a bug of the caller.
func (r Reason) facts() reasonFacts {
	f, ok := reasonTable[r]
	if !ok {
		panic("supervisor: reason " + string(r) + " is not in the table")
	}
	return f
}

// Status is the HTTP status of the answer: for bad_request the most common of
// its four, for client_gone what logs and metrics show. It panics, as all
// methods do, on a word outside the table.
func (r Reason) Status() int { return r.facts().status }

// ProxyError is the RFC 9209 error type, or "" when no answer is made. (Were it
// called Error, a Reason would be an error, and fmt would print this for it.)
func (r Reason) ProxyError() string { return r.facts().proxyError }

// Title is the summary for people, the same for every occurrence.
func (r Reason) Title() string { return r.facts().title }

// Waiting reports whether the same request may pass later, so that the answer
// carries Retry-After.
func (r Reason) Waiting() bool { return r.facts().waiting }

// CountsAgainstBackend reports whether the breaker counts r as a failure.
// Refusals, the workers' faults and the clients' never do.
func (r Reason) CountsAgainstBackend() bool { return r.facts().backend }

// AllowsFallback reports whether an earlier or a prepared answer may stand in for
// r: the bulkhead cannot answer, and the request is not at fault. One that workers
// died with (poison_request) may have it too, since no worker is given it. Where a
// connection is refused, or what is no plain request, there is nothing to stand in
// for.
func (r Reason) AllowsFallback() bool { return r.facts().fallback }
