package supervisor

import "time"

// Status is what `status --json` prints: the state of a supervisor at one
// moment, in the words of the metrics.
type Status struct {
	Version   string           `json:"version"`
	Pid       int              `json:"pid"`
	State     string           `json:"state"` // starting, ready, draining
	Since     time.Time        `json:"since"`
	Listen    []string         `json:"listen"`
	Console   string           `json:"console,omitempty"` // its URL on this machine; empty: ADMIN_LISTEN=off
	Bulkheads []BulkheadStatus `json:"bulkheads"`
	Journal   *JournalStatus   `json:"journal,omitempty"` // nil: every bulkhead's is off
}

// BulkheadStatus is one bulkhead's part of it. Rates and percentiles are those
// of the last minute.
type BulkheadStatus struct {
	Name    string `json:"name"`
	State   string `json:"state"` // ready, degraded, starting, draining, quarantined
	Why     string `json:"why,omitempty"`
	Owner   string `json:"owner,omitempty"`
	Runbook string `json:"runbook,omitempty"`

	Workers  []WorkerStatus `json:"workers"`
	Limits   LimitsStatus   `json:"worker_limits"`
	Restarts uint64         `json:"worker_restarts"` // since the supervisor started

	InFlight           int             `json:"in_flight"`
	Limit              int             `json:"limit"`              // in force
	LimitMode          string          `json:"limit_mode"`         // fixed, auto, advise
	Adaptive           *AdaptiveStatus `json:"adaptive,omitempty"` // nil: fixed
	QueueDepth         int             `json:"queue_depth"`
	Queue              int             `json:"queue"`
	QueueOldestSeconds float64         `json:"queue_oldest_seconds"`
	Upgrades           int             `json:"upgrades"`
	UpgradeLimit       int             `json:"upgrade_limit"`

	Breaker BreakerStatus `json:"breaker"`

	Fallback *FallbackStatus `json:"fallback,omitempty"` // nil: FALLBACK=none

	Idempotency *IdempotencyStatus `json:"idempotency,omitempty"` // nil: IDEMPOTENCY=off

	Drill DrillMode `json:"drill,omitempty"` // that is played on it

	RequestsPerSecond float64        `json:"requests_per_second"`
	P50Seconds        float64        `json:"p50_seconds"`
	P99Seconds        float64        `json:"p99_seconds"`
	Refused           map[string]int `json:"refused"` // or failed, in the last minute, by reason

	// RequestsTotal and RefusedTotal count since the supervisor started or the
	// bulkhead was configured: two looks give the rate between them. Refused are those
	// of outcome refused whose client was told so, as in the console: none that left,
	// and none that got a fallback. What failed farther on is in the map by its reason.
	RequestsTotal uint64       `json:"requests_total"`
	RefusedTotal  uint64       `json:"refused_total"`
	Recent        RecentStatus `json:"recent"`

	Poisoned []PoisonStatus `json:"poisoned"` // refused, because workers died with them
}

// AdaptiveStatus is what LIMIT=auto:8-64 or advise:8-64 has found.
type AdaptiveStatus struct {
	Least   int    `json:"least"`
	Most    int    `json:"most"`
	Advised int    `json:"advised_limit"` // in force with auto
	State   string `json:"state"`         // learning, following, backed_off, blind
	// AtBoundSince is when it came to one of its bounds and stayed there, while as
	// many requests were in flight.
	AtBoundSince *time.Time `json:"at_bound_since,omitempty"`
}

// RecentStatus is the requests of the last seconds that a worker got.
type RecentStatus struct {
	Seconds float64 `json:"seconds"` // that it covers: 4 to 5, at first fewer
	Served  uint64  `json:"served"`
	// Percentiles are off by at most 6 %; 0 where there was nothing to measure.
	P50Seconds float64 `json:"p50_seconds"`
	P99Seconds float64 `json:"p99_seconds"`
}

// WorkerStatus is one slot.
type WorkerStatus struct {
	Slot     int       `json:"slot"`
	State    string    `json:"state"` // starting, ready, draining, backoff, quarantined, stopped
	Pid      int       `json:"pid,omitempty"`
	InFlight int       `json:"in_flight"`
	Since    time.Time `json:"since"`
	Why      string    `json:"why,omitempty"` // the last fault
	Version  string    `json:"version,omitempty"`
	// CPUSeconds and MemoryBytes (RssAnon) of the process, where the system tells.
	CPUSeconds  float64 `json:"cpu_seconds,omitempty"`
	MemoryBytes uint64  `json:"memory_bytes,omitempty"`
	Descriptors int     `json:"descriptors,omitempty"`
	Requests    uint64  `json:"requests"` // that this worker was given
	// Evidence is the file with what the last worker of the slot looked like when
	// it was given up.
	Evidence string `json:"evidence,omitempty"`
}

// LimitsStatus is what one worker may use; 0 is no limit. At a soft limit it is
// recycled, at 75 to 100 % of it.
type LimitsStatus struct {
	MemoryBytes     uint64  `json:"memory_bytes,omitempty"` // hard: beyond it the worker is killed
	SoftMemoryBytes uint64  `json:"soft_memory_bytes,omitempty"`
	Descriptors     int     `json:"descriptors,omitempty"`
	Requests        uint64  `json:"requests,omitempty"`
	AgeSeconds      float64 `json:"age_seconds,omitempty"`
	// Enforcement is who sees to MemoryBytes; empty where there is none.
	Enforcement Enforcement `json:"memory_enforcement,omitempty"`
}

// PoisonStatus is a request that is refused as poison_request.
type PoisonStatus struct {
	Fingerprint string    `json:"fingerprint"` // for forgive; another one after a restart of the supervisor
	Method      string    `json:"method"`
	Path        string    `json:"path"` // without the query
	Deaths      int       `json:"deaths"`
	Since       time.Time `json:"since"`
}

// BreakerStatus is a bulkhead's breaker.
type BreakerStatus struct {
	State             string    `json:"state"`
	Mode              string    `json:"mode"`
	Why               string    `json:"why,omitempty"`
	Since             time.Time `json:"since"`
	RetryAfterSeconds float64   `json:"retry_after_seconds,omitempty"`
	Calls             int       `json:"calls"`
	Failures          int       `json:"failures"`
	Slow              int       `json:"slow"`
}

// Report is what a command did. Error is set when it did not succeed, and Did
// then says how far it came.
type Report struct {
	Action    string        `json:"action"`
	Bulkheads []string      `json:"bulkheads"`
	Did       string        `json:"did"`
	Took      time.Duration `json:"-"`
	TookMS    float64       `json:"took_ms"`
	Error     string        `json:"error,omitempty"`
	Details   []string      `json:"details,omitempty"` // a line each: a mistake in the configuration, a bulkhead

	*DrillResult // of a drill that began

	Replay *ReplayResult `json:"replay,omitempty"` // of a replay
}
