package journal

import "time"

// The kinds of records. Requests have the first two.
const (
	KindIntent = "intent" // the request is about to leave for a worker
	KindClose  = "close"  // its outcome

	KindStart       = "start"       // head of the first segment of a run
	KindContinue    = "continue"    // head of each further one
	KindStop        = "stop"        // the run ended in order
	KindAlive       = "alive"       // nothing happened, and it would have been recorded
	KindScope       = "scope"       // what is recorded has changed
	KindDropped     = "dropped"     // records without an intent were not kept
	KindUnavailable = "unavailable" // no intent could be recorded; what needed one was refused
)

// The outcomes that this package itself gives (the first three), or gives advice
// about; all others are the caller's words and only handed on.
const (
	OutcomeRefused     = "refused"
	OutcomeNeverSent   = "never_sent"
	OutcomeSentUnknown = "sent_unknown"
	OutcomePartial     = "partial"
	OutcomeUndelivered = "undelivered"
)

// The reasons that this package itself gives.
const (
	ReasonUnavailable = "journal_unavailable"
	ReasonClientGone  = "client_gone"
)

// ByRecovery is Record.By of a close that the caller never gave.
const ByRecovery = "recovery"

// Bounds of a record. Text that is longer is cut at a character; further attempts
// and headers are left out. The longest possible line is below maxLine.
const (
	MaxTextBytes   = 256  // of each text but the next two
	MaxPathBytes   = 2048 // of Path, and of Query
	MaxAttempts    = 8
	MaxHeaders     = 16
	MaxScopes      = 64
	maxLine        = 128 << 10
	maxSettledRuns = 64
)

// Record is what is known of one request: in an intent as it leaves, in a close at
// its end. Durations are in µs of the monotonic clock; times are the wall clock's.
// The zero value of a field is left out of the line.
type Record struct {
	Kind  string    `json:"kind"`  // set by the journal
	Entry string    `json:"entry"` // set by the journal: RUN.NUMBER
	At    time.Time `json:"at"`    // set by the journal: when this was recorded

	RequestID string    `json:"request_id,omitempty"`
	Bulkhead  string    `json:"bulkhead,omitempty"`
	Method    string    `json:"method,omitempty"`
	Path      string    `json:"path,omitempty"`
	Query     string    `json:"query,omitempty"` // off by default: it may hold secrets
	Route     string    `json:"route,omitempty"`
	Arrived   time.Time `json:"arrived,omitzero"`
	QueueUS   int64     `json:"queue_us,omitempty"` // from arrival to a slot
	TookUS    int64     `json:"took_us,omitempty"`  // from arrival to the end

	Attempts []Attempt `json:"attempts,omitempty"` // in order; in an intent the last is about to begin
	Outcome  string    `json:"outcome,omitempty"`  // only of a close
	Reason   string    `json:"reason,omitempty"`
	Status   int       `json:"status,omitempty"` // what the client was told; 0: nothing
	// Fallback is what stood in for the answer (stale, backup); "": nothing did.
	Fallback string `json:"fallback,omitempty"`
	BytesIn  int64  `json:"bytes_in,omitempty"`
	BytesOut int64  `json:"bytes_out,omitempty"`
	// RetrySafe is whether a repeat is safe. In an intent: safe whatever becomes
	// of it, as of an idempotent method.
	RetrySafe bool `json:"retry_safe,omitempty"`

	IdempotencyDigest string            `json:"idempotency_digest,omitempty"` // never the key itself
	Client            string            `json:"client,omitempty"`             // see Clients
	Headers           map[string]string `json:"headers,omitempty"`            // see AllowList
	Body              string            `json:"body,omitempty"`               // where the body is kept, if it is

	By string `json:"by,omitempty"` // "": the caller; ByRecovery
}

// Attempt is one worker's part in a request.
type Attempt struct {
	Slot       int    `json:"slot"`
	Pid        int    `json:"pid"`
	Generation uint64 `json:"generation"`        // which start of the slot
	HandedUS   int64  `json:"handed_us"`         // from arrival to the worker
	Stage      string `json:"stage,omitempty"`   // how far it got
	Fault      string `json:"fault,omitempty"`   // why it failed; "": it did not
	TookUS     int64  `json:"took_us,omitempty"` // from the hand-over to its end
}

// mark is a record of the coordinator itself. Of each kind only some fields are
// set.
type mark struct {
	Kind    string            `json:"kind"`
	Run     string            `json:"run"`
	At      time.Time         `json:"at"`
	Pid     int               `json:"pid,omitempty"`
	Boot    string            `json:"boot,omitempty"`    // of the machine, when it tells
	Sync    string            `json:"sync,omitempty"`    //
	Scope   map[string]string `json:"scope,omitempty"`   // bulkhead to what is recorded of it
	After   *place            `json:"after,omitempty"`   // the segment before, of the same run
	Carried int               `json:"carried,omitempty"` // intents that follow the head and stand in After too
	Settles []string          `json:"settles,omitempty"` // runs whose open entries are closed after the head
	Open    int               `json:"open,omitempty"`    // at stop: entries that nobody closed
	From    time.Time         `json:"from,omitzero"`     // of dropped, unavailable: until At
	Lost    int64             `json:"lost,omitempty"`    // of dropped: records; of unavailable: refusals
}

// place is a segment and how many of its bytes count.
type place struct {
	Segment string `json:"segment"`
	Bytes   int64  `json:"bytes"`
}

func (m *mark) head() bool { return m.Kind == KindStart || m.Kind == KindContinue }
