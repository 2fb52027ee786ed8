package supervisor

import (
	"net/netip"
	"time"

	"commerce.example/coordinator/supervisor/adaptive"
	"commerce.example/coordinator/supervisor/breaker"
	"commerce.example/coordinator/supervisor/fallback"
	"commerce.example/coordinator/supervisor/fallback/backup"
	"commerce.example/coordinator/supervisor/fallback/stale"
	"commerce.example/coordinator/supervisor/journal/kept"
)

// Config is all that a Supervisor runs on: plain values, already checked. Where
// they come from (the environment, a file) is the business of cmd.
type Config struct {
	Listen      []string // "host:port", "unix:/path", or "systemd" / "systemd:NAME" for sockets handed down
	TLSCert     string   // PEM files; both or neither
	TLSKey      string
	AdminListen string // "host:port"; empty: none
	AdminSocket string // path of the unix socket
	AdminToken  string // needed to change anything over TCP; empty: nothing can be changed over TCP
	StateDir    string
	RuntimeDir  string // worker sockets live in a private folder below it; short

	Bulkheads []BulkheadConfig
	Journal   JournalConfig
	// JournalKeys seal kept requests; nil: none is kept.
	JournalKeys *kept.Keys
	Access      AccessConfig
	// Telemetry is the variables of OpenTelemetry that are set by file. Options.Tracer
	// was made of them: a reload only says that a change needs a new process.
	Telemetry map[string]string

	TrustedProxies []netip.Prefix
	DrainTimeout   time.Duration
	DrainDelay     time.Duration
	Conns          int // connections in all; 0: no cap
	ConnsPerClient int // per client address, trusted proxies exempt; 0: no cap
	FrontLimits
}

// MaxWorkers bounds the processes of one bulkhead: with a zero too many they would
// take the machine, and so all other bulkheads, down.
const MaxWorkers = 1000

// BulkheadConfig is one route group.
type BulkheadConfig struct {
	Name    string // lower case letters, digits, '-'
	Owner   string
	Runbook string
	Routes  []Route

	Worker        WorkerConfig // what its workers see: a change means new workers
	Workers       int          // processes, up to MaxWorkers; 0 only with Fallback.Always
	RestartBudget RestartBudget
	Recycle       RecycleLimits

	Limit        int               // its upper bound, where it is adaptive
	Adaptive     adaptive.Settings // BULKHEAD_X_LIMIT=auto:8-64 or advise:8-64; zero: the limit is fixed
	Queue        int
	QueueTimeout time.Duration
	UpgradeLimit int
	MaxBody      int64 // bytes

	Timeout     time.Duration // until the answer's head, queue wait included
	IdleTimeout time.Duration // between two bytes of a body, either way
	MaxDuration time.Duration // the whole exchange; 0: off
	SlowLog     time.Duration // age without an answer that puts a request into the log; 0: off

	Breaker       breaker.Settings
	BreakerMode   breaker.Mode
	BreakerStatus []int // answers that count as failures

	CORSOrigins []string
	RawPath     bool // BULKHEAD_X_PATH=raw: dot segments, //, %2f, %5c pass
	Fallback    FallbackConfig
	Journal     RecordConfig
	// BackendIdempotent declares that the backend does the work of a request once,
	// however often it gets it.
	BackendIdempotent bool
	Idempotency       IdempotencyConfig
}

// FallbackConfig is what a bulkhead may answer in its backend's place. The zero
// value is nothing.
type FallbackConfig struct {
	Kinds []fallback.Kind // in the order in which they are tried
	// Always is BULKHEAD_X_FALLBACK_MODE=always: there is no backend, and Workers
	// is 0.
	Always bool

	Stale   stale.Settings
	StaleOn []int // answers of the backend that are as good as none

	BackupDir    string        // of Backup, which nobody reads here
	Backup       *backup.Set   // nil: none is kept
	BackupMaxAge time.Duration // at which check warns

	MaxShare float64       // of the last minute's requests, above which status and metrics say so; 0: any
	MaxFor   time.Duration // for how long on end, likewise; 0: any
}

// Route is one pattern of a route group. Zero Method and Host match all.
type Route struct {
	Method string // upper case
	Host   string // lower case, without port
	Prefix string // begins with "/"; matches on a segment boundary
}

// WorkerConfig is what the workers of a bulkhead are started with.
type WorkerConfig struct {
	Kind            string // built-in kind ("proxy", "orders"), or the path of a worker binary
	Backend         string // URL
	StripPrefix     string
	PreserveHost    bool   // BULKHEAD_X_HOST_HEADER=preserve
	BackendCA       string // PEM files
	BackendCert     string
	BackendKey      string
	BackendProtocol string // auto, http1, http2; empty: auto
	BackendConnAge  time.Duration
	Env             map[string]string // BULKHEAD_X_ENV_FOO=v: FOO=v
	EnvFiles        map[string]string // BULKHEAD_X_ENV_FOO_FILE=path: FOO=content, read at each start
	CPUs            int               // GOMAXPROCS; 0: those of the supervisor, shared out over Workers
	Memory          int64             // bytes, beyond which it is killed; 0: no limit
	MemoryRequired  bool              // by the kernel, or nothing starts
}

// RecycleLimits are those at which a worker is replaced in order: a new one is
// ready before it finishes what it has. Each worker has 75 to 100 % of them. 0 is
// no limit.
type RecycleLimits struct {
	Memory      int64 // anonymous, in bytes
	Descriptors int   // open; the kernel refuses more than a quarter above it
	Requests    int64
	Age         time.Duration
}

// RestartBudget quarantines a slot whose workers had Faults faults within Per.
type RestartBudget struct {
	Faults int
	Per    time.Duration
}
