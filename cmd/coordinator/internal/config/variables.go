package config

import (
	"reflect"

	"commerce.example/coordinator/supervisor/accesslog"
)

// A variable is one field: `env` is its name after the prefix, `envDefault` its
// default, `oneof` the accepted words, `want` what is accepted where that is less
// than its type takes, `doc` its line of help, `unset` what the help calls a
// default that is worked out. A new variable needs no more than its field, and a
// line where the value is used.

const (
	globalPrefix = "COORDINATOR_"
	eachPrefix   = "BULKHEAD_"
	otelPrefix   = "OTEL_" // see telemetry.go
	envPrefix    = "ENV_"
	fileSuffix   = "_FILE"
)

// global is read from COORDINATOR_*.
type global struct {
	Listen         listeners  `env:"LISTEN" envDefault:"127.0.0.1:8080" doc:"front listeners, comma-separated: HOST:PORT, unix:PATH, systemd, systemd:NAME"`
	TLSCert        string     `env:"TLS_CERT" doc:"PEM file: serve TLS with HTTP/2; re-read when it changes"`
	TLSKey         string     `env:"TLS_KEY" doc:"PEM file: the key of TLS_CERT"`
	AdminListen    hostPort   `env:"ADMIN_LISTEN" envDefault:"127.0.0.1:9901" doc:"/metrics, /healthz, /readyz, /v1/status and the console at /console/; off: none"`
	AdminSocket    socketPath `env:"ADMIN_SOCKET" unset:"$XDG_RUNTIME_DIR or temp dir" doc:"unix socket that the commands talk to; mode 0600"`
	AdminToken     token      `env:"ADMIN_TOKEN" doc:"required for changing anything over TCP"`
	StateDir       string     `env:"STATE_DIR" unset:"$STATE_DIRECTORY, else the user's" doc:"what a supervisor owns on disk; one supervisor at a time"`
	Bulkheads      names      `env:"BULKHEADS" unset:"required" doc:"names of the bulkheads, such as orders,catalog"`
	TrustedProxies networks   `env:"TRUSTED_PROXIES" envDefault:"none" doc:"addresses and networks whose X-Forwarded-* is believed"`
	DrainTimeout   span       `env:"DRAIN_TIMEOUT" envDefault:"30s" doc:"how long work in flight may take when stopping"`
	DrainDelay     spanOrZero `env:"DRAIN_DELAY" envDefault:"0" doc:"how long to go on accepting after not-ready"`
	Conns          countOrOff `env:"CONNS" envDefault:"20000" doc:"client connections in all; off: no cap"`
	ConnsPerClient countOrOff `env:"CONNS_PER_CLIENT" envDefault:"off" doc:"client connections per address; trusted proxies are exempt"`

	HeaderTimeout    span      `env:"HEADER_TIMEOUT" envDefault:"10s" want:"a duration from 1s to 5m" doc:"for the whole head of a request, and for a TLS handshake: 408"`
	KeepAliveTimeout span      `env:"KEEPALIVE_TIMEOUT" envDefault:"120s" want:"a duration from 1s to 1h" doc:"of a client connection without a request; BULKHEAD_X_IDLE_TIMEOUT is within one"`
	MinBodyRate      sizeOrOff `env:"MIN_BODY_RATE" envDefault:"240" want:"off or bytes per second, at most 1MiB" doc:"bytes a second of a body, either way, while its client is waited for; slower: 408, or the answer is cut"`
	MaxStreams       count     `env:"MAX_STREAMS" envDefault:"100" want:"a whole number from 1 to 100" doc:"requests at a time on one HTTP/2 connection"`
	MaxFields        count     `env:"MAX_FIELDS" envDefault:"100" want:"a whole number from 10 to 1000" doc:"header fields of a request; more: 431"`
	MaxFieldBytes    size      `env:"MAX_FIELD_BYTES" envDefault:"64KiB" want:"1KiB to 256KiB" doc:"their names and values, with four bytes around each; more: 431"`
	MaxTargetBytes   size      `env:"MAX_TARGET_BYTES" envDefault:"16KiB" want:"256 bytes to 64KiB" doc:"path and query of a request; more: 414"`

	JournalSegment    size   `env:"JOURNAL_SEGMENT" envDefault:"16MiB" want:"1MiB to 1GiB" doc:"size at which the journal goes over to its next file"`
	JournalSegmentAge span   `env:"JOURNAL_SEGMENT_AGE" envDefault:"1h" want:"a duration from 1m to 168h" doc:"age at which it does"`
	JournalTotal      size   `env:"JOURNAL_TOTAL" envDefault:"1GiB" doc:"disk space of the journal: the oldest files go"`
	JournalKeyFile    string `env:"JOURNAL_KEY_FILE" doc:"file of the keys that seal kept requests: 32 bytes, or a key a line in hex or base64; the first seals, all open; mode 0600, or 0640 for a group"`

	AccessLog     accesslog.Sampling `env:"ACCESS_LOG" envDefault:"off" doc:"requests that get a line of JSON: off, failures, sample:N (failures, and one in N of the others), all"`
	AccessLogFile string             `env:"ACCESS_LOG_FILE" unset:"standard output" doc:"file that the lines are appended to; opened anew on reload and SIGHUP"`

	LogLevel  string `env:"LOG_LEVEL" envDefault:"info" oneof:"debug,info,warn,error" doc:"least level that is logged"`
	LogFormat string `env:"LOG_FORMAT" envDefault:"json" oneof:"json,text" doc:"form of the log"`
}

// bulkhead is read from BULKHEAD_X_*. A nil pointer is a default that depends on
// another variable.
type bulkhead struct {
	Routes      routes  `env:"ROUTES" unset:"required" doc:"/api/orders/, GET shop.example/api/v2/orders: method and host optional, longest prefix wins"`
	Worker      string  `env:"WORKER" envDefault:"proxy" doc:"built-in kind (proxy, orders), or path of a worker binary"`
	Backend     backend `env:"BACKEND" doc:"URL the worker calls; its path is put before the request's"`
	StripPrefix string  `env:"STRIP_PREFIX" doc:"taken off the path first"`
	HostHeader  string  `env:"HOST_HEADER" envDefault:"backend" oneof:"backend,preserve" doc:"the Host that the backend sees"`

	Workers       count        `env:"WORKERS" envDefault:"2" want:"a whole number from 1 to 1000" doc:"processes"`
	Limit         limit        `env:"LIMIT" envDefault:"32" doc:"requests in flight, over the whole pool; auto:8-64: found between these two; advise:8-64: 64, and what auto would find is shown"`
	Queue         *countOrZero `env:"QUEUE" unset:"half of LIMIT" doc:"requests that may wait; 0: admitted or refused at once"`
	QueueTimeout  span         `env:"QUEUE_TIMEOUT" envDefault:"1s" doc:"how long one may wait"`
	UpgradeLimit  *countOrZero `env:"UPGRADE_LIMIT" unset:"LIMIT" doc:"upgraded connections and event streams, counted apart"`
	MaxBody       size         `env:"MAX_BODY" envDefault:"100MiB" doc:"larger requests get 413"`
	Timeout       span         `env:"TIMEOUT" envDefault:"30s" doc:"until the answer's head is there, queue wait included"`
	IdleTimeout   span         `env:"IDLE_TIMEOUT" envDefault:"60s" doc:"between two bytes of a body, either way"`
	MaxDuration   spanOrOff    `env:"MAX_DURATION" envDefault:"off" doc:"the whole exchange"`
	SlowLog       spanOrOff    `env:"SLOW_LOG" envDefault:"off" doc:"a request that waits longer gets a log line and its worker's stacks a file"`
	RestartBudget budget       `env:"RESTART_BUDGET" envDefault:"5/60s" doc:"FAULTS/DURATION of one slot that quarantine it"`

	MemorySoft    sizeOrOff  `env:"MEMORY_SOFT" envDefault:"off" doc:"memory at which a worker is recycled: a new one takes its place, it finishes what it has"`
	Memory        sizeOrOff  `env:"MEMORY" envDefault:"off" doc:"memory beyond which a worker is killed, by the kernel where it can"`
	MemoryEnforce string     `env:"MEMORY_ENFORCE" envDefault:"best-effort" oneof:"best-effort,required" doc:"required: run refuses to start where no control group can be used"`
	Descriptors   countOrOff `env:"DESCRIPTORS" envDefault:"off" doc:"open files at which a worker is recycled; the kernel refuses more than a quarter above it"`
	MaxRequests   tallyOrOff `env:"MAX_REQUESTS" envDefault:"off" doc:"requests at which a worker is recycled"`
	MaxAge        spanOrOff  `env:"MAX_AGE" envDefault:"off" doc:"age at which a worker is recycled"`
	CPUs          *count     `env:"CPUS" unset:"cores/WORKERS" doc:"CPUs a worker computes on at a time (GOMAXPROCS), rounded up"`

	BackendCA       string `env:"BACKEND_CA" unset:"system roots" doc:"PEM file: who may have signed the backend's certificate"`
	BackendCert     string `env:"BACKEND_CERT" doc:"PEM file: our certificate towards the backend"`
	BackendKey      string `env:"BACKEND_KEY" doc:"PEM file: the key of BACKEND_CERT"`
	BackendProtocol string `env:"BACKEND_PROTOCOL" envDefault:"auto" oneof:"auto,http1,http2" doc:"http2 over TLS by ALPN, over http with prior knowledge; auto: HTTP/2 if a TLS backend chooses it; http1: never"`
	BackendConnAge  span   `env:"BACKEND_CONN_MAX_AGE" envDefault:"5m" doc:"so that a changed address is followed even by busy connections"`
	BackendIdem     string `env:"BACKEND_IDEMPOTENT" envDefault:"false" oneof:"false,true" doc:"true: the backend does the work of a request once, however often it gets it, so journal replay may send what may have been done"`

	BreakerWindow       span      `env:"BREAKER_WINDOW" envDefault:"10s" doc:"how far back calls count"`
	BreakerMinCalls     *count    `env:"BREAKER_MIN_CALLS" unset:"the smaller of 20 and LIMIT" doc:"calls in the window before a ratio means anything"`
	BreakerFailureRatio ratio     `env:"BREAKER_FAILURE_RATIO" envDefault:"0.5" doc:"opens when failures/calls reaches it"`
	BreakerSlowCall     spanOrOff `env:"BREAKER_SLOW_CALL" envDefault:"off" doc:"a call that takes longer is slow"`
	BreakerSlowRatio    ratio     `env:"BREAKER_SLOW_RATIO" envDefault:"1.0" doc:"opens when slow/calls reaches it"`
	BreakerOpenFor      span      `env:"BREAKER_OPEN_FOR" envDefault:"5s" doc:"open until then, then half-open"`
	BreakerProbes       count     `env:"BREAKER_PROBES" envDefault:"3" doc:"calls let through half-open"`
	BreakerMode         string    `env:"BREAKER_MODE" envDefault:"auto" oneof:"auto,open,closed,observe" doc:"who decides: the breaker or an operator"`
	BreakerStatus       statuses  `env:"BREAKER_STATUS" envDefault:"500,502,503,504" doc:"answers that count as failures"`

	Path        string     `env:"PATH" envDefault:"strict" oneof:"strict,raw" doc:"raw: dot segments, //, %2f, %5c pass, on routes that own their whole prefix"`
	CORSOrigins webOrigins `env:"CORS_ORIGINS" envDefault:"none" doc:"origins that may read the answers the coordinator itself makes"`

	Fallback           fallbackKinds `env:"FALLBACK" envDefault:"none" doc:"answers given in the backend's place: none, or stale, backup in the order to try them"`
	FallbackMode       string        `env:"FALLBACK_MODE" envDefault:"on-failure" oneof:"on-failure,always" doc:"always: from backup data alone, without a backend or workers, for development"`
	FallbackMaxShare   ratio         `env:"FALLBACK_MAX_SHARE" envDefault:"1.0" doc:"share of a minute's requests above which metrics and log raise an alert; answers go on"`
	FallbackMaxFor     spanOrOff     `env:"FALLBACK_MAX_FOR" envDefault:"off" doc:"how long fallbacks may be given before metrics and log raise that alert"`
	StaleBytes         size          `env:"STALE_BYTES" envDefault:"64MiB" doc:"memory for earlier answers of the backend"`
	StaleMaxAge        span          `env:"STALE_MAX_AGE" envDefault:"10m" doc:"how old one may be"`
	StalePerCredential credentials   `env:"STALE_PER_CREDENTIAL" envDefault:"none" doc:"what tells users apart: Authorization, Cookie, Cookie:NAME for one cookie; without it no answer to a request with credentials is kept"`
	StaleOn            statuses      `env:"STALE_ON" envDefault:"none" doc:"answers of the backend that a fallback replaces; others only if the earlier one says stale-if-error"`
	BackupDir          string        `env:"BACKUP_DIR" unset:"STATE_DIR/backup/X" doc:"folder of the prepared answers, one file each"`
	BackupMaxAge       spanOrOff     `env:"BACKUP_MAX_AGE" envDefault:"720h" doc:"age of a prepared answer that check warns of"`

	Journal        string        `env:"JOURNAL" envDefault:"unsafe" oneof:"off,unsafe,all,failures" doc:"requests that are recorded: unsafe: those that may do work, before they are sent; all: reads too; failures: what was not done, afterwards"`
	JournalSync    string        `env:"JOURNAL_SYNC" envDefault:"process" oneof:"process,always" doc:"what a record survives before its request is sent: the death of the process, or of the machine"`
	JournalHeaders journalFields `env:"JOURNAL_HEADERS" envDefault:"none" doc:"header fields that are recorded, such as User-Agent; never those that hold secrets"`
	JournalQuery   string        `env:"JOURNAL_QUERY" envDefault:"off" oneof:"off,on" doc:"on: queries are recorded, which may hold secrets"`
	JournalBody    sizeOrOff     `env:"JOURNAL_BODY" envDefault:"off" want:"off or at most 16MiB" doc:"requests that may do work are kept with bodies up to that size, sealed, so that journal replay can send them again"`

	Idempotency              string   `env:"IDEMPOTENCY" envDefault:"off" oneof:"off,optional,required" doc:"Idempotency-Key of requests that may do work: a repeat gets the first answer and is not sent; required: without one they get 400"`
	IdempotencyBytes         size     `env:"IDEMPOTENCY_BYTES" envDefault:"64MiB" doc:"memory for first answers"`
	IdempotencyMaxAge        span     `env:"IDEMPOTENCY_MAX_AGE" envDefault:"1h" want:"a duration from 1s to 168h" doc:"how long a key is remembered, from the end of its request"`
	IdempotencyMaxAnswer     size     `env:"IDEMPOTENCY_MAX_ANSWER" envDefault:"1MiB" doc:"longest answer that is kept; of longer ones only the outcome"`
	IdempotencyPerCredential keyScope `env:"IDEMPOTENCY_PER_CREDENTIAL" envDefault:"Authorization,Cookie,X-Api-Key,X-Auth-Token" doc:"what tells users apart, whose keys are their own: a field, or Cookie:NAME for one cookie"`

	Owner   string `env:"OWNER" doc:"who to call; shown in status, metrics info, alerts, problem details"`
	Runbook string `env:"RUNBOOK" doc:"where to look; shown in the same places"`
}

// A Variable is what there is to know of one variable before it is set.
type Variable struct {
	Name    string `json:"name"`    // BULKHEAD_X_... for every bulkhead X
	Default string `json:"default"` // empty: none
	Meaning string `json:"meaning"`
}

// Variables lists every variable there is, in the order of the manual.
func Variables() []Variable {
	var all []Variable
	for _, f := range globalFields {
		all = append(all, Variable{globalPrefix + f.key, f.defaultText(), f.meaning()})
	}
	for _, f := range bulkheadFields {
		all = append(all, Variable{eachPrefix + "X_" + f.key, f.defaultText(), f.meaning()})
	}
	each := eachPrefix + "X_" + envPrefix + "FOO"
	return append(all,
		Variable{each, "", "becomes FOO in that pool's workers, and in no other process"},
		Variable{each + fileSuffix, "", "the same, read from a file at each start of a worker"})
}

// A field is a variable as its struct tags tell it.
type field struct {
	name     string // of the Go field: what env/v11 calls it in errors
	key      string
	fallback string // envDefault
	unset    string
	oneof    string
	want     string
	doc      string
}

var (
	globalFields   = fieldsOf(reflect.TypeFor[global]())
	bulkheadFields = fieldsOf(reflect.TypeFor[bulkhead]())
)

func fieldsOf(t reflect.Type) []field {
	fields := make([]field, t.NumField())
	for i := range fields {
		f := t.Field(i)
		fields[i] = field{
			name: f.Name, key: f.Tag.Get("env"), fallback: f.Tag.Get("envDefault"),
			unset: f.Tag.Get("unset"), oneof: f.Tag.Get("oneof"), want: f.Tag.Get("want"), doc: f.Tag.Get("doc"),
		}
	}
	return fields
}

func (f field) defaultText() string {
	if f.fallback != "" {
		return f.fallback
	}
	return f.unset
}

func (f field) meaning() string {
	switch {
	case f.oneof != "":
		return f.oneof + ": " + f.doc
	case f.want != "":
		return f.doc + " (" + f.want + ")"
	}
	return f.doc
}
