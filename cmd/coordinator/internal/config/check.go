package config

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/breaker"
	"commerce.example/coordinator/workers/orders"
)

// builtIn are the kinds of workers that need no binary of their own.
var builtIn = []string{"proxy", "orders"}

// BuiltIn are the kinds of workers that the binary must have.
func BuiltIn() []string { return slices.Clone(builtIn) }

// ordersAdapter is a variable of the orders worker.
const ordersAdapter = "ORDERS_ADAPTER"

// maxRuntimeDir leaves room below it for a generation's folder and a socket's
// name within maxSocketPath, in bytes. Darwin's own $TMPDIR takes it up to 65.
const maxRuntimeDir = 70

func (s *scope) checkGlobal(g *global) {
	if len(g.Bulkheads) == 0 && s.fine("BULKHEADS") {
		s.fail("BULKHEADS", "want the names of the bulkheads, such as orders,catalog")
	}
	if len(g.Listen) == 0 && s.fine("LISTEN") {
		s.fail("LISTEN", "want at least one listener, such as 127.0.0.1:8080")
	}
	s.checkPlaces(g)
	s.checkPair("TLS_CERT", g.TLSCert, "TLS_KEY", g.TLSKey)
	if socket := s.vars.adminSocket(); g.AdminSocket == "" && len(socket.path) > maxSocketPath {
		s.fail("ADMIN_SOCKET", "a path of %d bytes; want it set to one of at most %d", len(socket.path), maxSocketPath)
	}
	if dir := s.vars.runtimeDir(); len(dir.path) > maxRuntimeDir {
		s.errors = append(s.errors, Problem{Variable: strings.TrimPrefix(dir.via, "$"), From: "environment",
			Message: fmt.Sprintf("makes a folder for sockets of %d bytes, %q; want at most %d", len(dir.path), dir.path, maxRuntimeDir)})
	}
	if s.fine("LISTEN", "ADMIN_LISTEN") && slices.ContainsFunc(g.Listen, func(l string) bool { return sameAddress(l, string(g.AdminListen)) }) {
		s.fail("ADMIN_LISTEN", "is a front listener too; want an address of its own, or off")
	}
	for _, prefix := range g.TrustedProxies.prefixes {
		if prefix.Bits() == 0 {
			s.warn("TRUSTED_PROXIES", "%s believes whatever any client says in X-Forwarded-*", prefix)
		}
	}
	if s.fine("CONNS", "CONNS_PER_CLIENT") && g.Conns > 0 && g.ConnsPerClient > g.Conns {
		s.warn("CONNS_PER_CLIENT", "has no effect: it is above COORDINATOR_CONNS=%d", g.Conns)
	}
	s.checkFrontLimits(g)
	s.checkJournalSize(g)
	s.checkAccessLog(g)
}

// checkPlaces finds what stands where run would make a folder or a socket.
func (s *scope) checkPlaces(g *global) {
	if info, err := os.Stat(g.StateDir); err == nil && !info.IsDir() {
		s.fail("STATE_DIR", "is a file; want a folder, which run makes if it is not there")
	}
	if s.fine("ADMIN_SOCKET") && taken(string(g.AdminSocket)) {
		s.fail("ADMIN_SOCKET", "there is a file that is no socket; want another path")
	}
	for _, l := range g.Listen {
		if path, isUnix := strings.CutPrefix(l, "unix:"); isUnix && s.fine("LISTEN") && taken(path) {
			s.fail("LISTEN", "there is a file that is no socket at %s; want another path", path)
		}
	}
}

// taken reports whether no socket can be made at path, since something else is there.
func taken(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().Type() != os.ModeSocket
}

// checkFrontLimits refuses what would shut out ordinary clients, and what would
// let one have too much: a connection buffers a head whole, and the windows of
// all its streams must fit that of the connection.
func (s *scope) checkFrontLimits(g *global) {
	s.inRange("HEADER_TIMEOUT", between(g.HeaderTimeout, span(time.Second), span(5*time.Minute)))
	s.inRange("KEEPALIVE_TIMEOUT", between(g.KeepAliveTimeout, span(time.Second), span(time.Hour)))
	s.inRange("MIN_BODY_RATE", between(g.MinBodyRate, 0, 1<<20))
	s.inRange("MAX_STREAMS", between(g.MaxStreams, 1, 100))
	s.inRange("MAX_FIELDS", between(g.MaxFields, 10, 1000))
	s.inRange("MAX_FIELD_BYTES", between(g.MaxFieldBytes, 1<<10, 256<<10))
	s.inRange("MAX_TARGET_BYTES", between(g.MaxTargetBytes, 256, 64<<10))
}

// inRange records a mistake in a variable whose value its type takes and its field's
// want does not.
func (s *scope) inRange(key string, ok bool) {
	if !ok && s.fine(key) {
		s.fail(key, "want %s", s.field(key).want)
	}
}

func between[T cmp.Ordered](v, least, most T) bool { return least <= v && v <= most }

// sameAddress reports whether two listeners would ask for one TCP port. Port 0
// is a new one each time.
func sameAddress(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	return errA == nil && errB == nil && portA == portB && strings.Trim(portA, "0") != "" &&
		(hostA == hostB || hostA == "" || hostB == "")
}

// checkBulkhead is told how many requests the limiter admits for certain.
func (s *scope) checkBulkhead(c supervisor.BulkheadConfig, certain int) {
	if len(c.Routes) == 0 && s.fine("ROUTES") {
		s.fail("ROUTES", "want [METHOD ][HOST]/PREFIX, comma-separated, such as /api/orders/")
	}
	s.checkWorker(c.Worker, c.Fallback.Always)
	s.checkStripPrefix(c)
	if s.fine("QUEUE", "LIMIT", "QUEUE_TIMEOUT", "TIMEOUT") && c.Queue > 0 && c.QueueTimeout > c.Timeout {
		s.fail("QUEUE_TIMEOUT", "is above %sTIMEOUT=%s, which includes the wait; want at most that", s.prefix, s.effective("TIMEOUT").value)
	}
	if s.fine("MAX_DURATION", "TIMEOUT") && c.MaxDuration > 0 && c.MaxDuration < c.Timeout {
		s.warn("MAX_DURATION", "ends every exchange before %sTIMEOUT=%s can", s.prefix, s.effective("TIMEOUT").value)
	}
	if s.fine("SLOW_LOG", "TIMEOUT") && c.SlowLog > c.Timeout {
		s.warn("SLOW_LOG", "has no effect: %sTIMEOUT=%s comes first", s.prefix, s.effective("TIMEOUT").value)
	}
	s.checkFallback(c.Fallback)
	s.checkJournal(c.Journal)
	s.checkKept(&c)
	s.checkIdempotency(c)
	s.inRange("WORKERS", c.Workers <= supervisor.MaxWorkers)
	if s.fine("WORKERS", "LIMIT") && c.Workers > c.Limit {
		s.warn("WORKERS", "some of them are always idle: %sLIMIT=%s", s.prefix, s.effective("LIMIT").value)
	}
	s.checkBreaker(c, certain)
	s.checkLimits(c)
}

// leastMemory leaves room for the binary, which a control group counts too, and
// for a few requests: far below it a worker would be replaced over and over.
const leastMemory = 32 << 20

// checkLimits refuses those that workers would reach without being at fault.
func (s *scope) checkLimits(c supervisor.BulkheadConfig) {
	hard, soft := c.Worker.Memory, c.Recycle.Memory
	atLeast := func(key string, bytes int64) {
		if bytes > 0 && bytes < leastMemory && s.fine(key) {
			s.fail(key, "leaves a worker no room to work; want off or at least %dMiB", leastMemory>>20)
		}
	}
	atLeast("MEMORY_SOFT", soft)
	atLeast("MEMORY", hard)
	if s.fine("MEMORY", "MEMORY_SOFT") && hard > 0 && soft >= hard {
		s.fail("MEMORY_SOFT", "would never be reached: %sMEMORY=%s comes first; want less", s.prefix, s.effective("MEMORY").value)
	}
	if c.Worker.MemoryRequired && hard == 0 && s.fine("MEMORY", "MEMORY_ENFORCE") {
		s.warn("MEMORY_ENFORCE", "has no effect: %sMEMORY is off", s.prefix)
	}
	// A request takes a connection from the supervisor and one to the backend, one
	// worker may have them all, and some are recycled at three quarters.
	needs := (2*(c.Limit+c.UpgradeLimit) + 64) * 4 / 3
	if s.fine("DESCRIPTORS", "LIMIT", "UPGRADE_LIMIT") && c.Recycle.Descriptors > 0 && c.Recycle.Descriptors < needs {
		s.fail("DESCRIPTORS", "the requests that %sLIMIT and UPGRADE_LIMIT let in could need so many; want off or at least %d", s.prefix, needs)
	}
}

func (s *scope) checkBreaker(c supervisor.BulkheadConfig, certain int) {
	b := c.Breaker
	if !s.fine("LIMIT", "TIMEOUT", "BREAKER_WINDOW", "BREAKER_MIN_CALLS", "BREAKER_SLOW_CALL", "BREAKER_SLOW_RATIO", "BREAKER_FAILURE_RATIO") {
		return
	}
	if !breaker.CanOpenOnHang(b, certain, c.Timeout) {
		s.fail("BREAKER_MIN_CALLS", "a total hang of the backend could not open the breaker: %sLIMIT=%s lets too few calls fail within the window; want fewer",
			s.prefix, s.effective("LIMIT").value)
	}
	if b.SlowCall > c.Timeout {
		s.warn("BREAKER_SLOW_CALL", "has no effect on waiting calls: %sTIMEOUT=%s comes first", s.prefix, s.effective("TIMEOUT").value)
	}
	if b.SlowCall == 0 && s.isSet("BREAKER_SLOW_RATIO") {
		s.warn("BREAKER_SLOW_RATIO", "has no effect: %sBREAKER_SLOW_CALL is off", s.prefix)
	}
}

// checkWorker checks what workers are started with; always says that none are.
func (s *scope) checkWorker(w supervisor.WorkerConfig, always bool) {
	if s.fine("WORKER") {
		switch {
		case isPath(w.Kind):
			if err := executable(w.Kind); err != nil {
				s.fail("WORKER", "%s; want a built-in kind (%s) or the path of an executable file", cause(err), strings.Join(builtIn, ", "))
			}
		case !slices.Contains(builtIn, w.Kind):
			s.fail("WORKER", "want a built-in kind (%s) or the path of an executable file, with a / in it%s",
				strings.Join(builtIn, ", "), DidYouMean(Nearest(w.Kind, builtIn)))
		}
	}
	if slices.Contains(builtIn, w.Kind) && w.Backend == "" && !always && s.fine("BACKEND") {
		s.fail("BACKEND", "the %s worker needs it; want an http or https URL, such as http://127.0.0.1:8000", w.Kind)
	}
	if adapter := w.Env[ordersAdapter]; adapter != "" && w.Kind == "orders" && !slices.Contains(orders.Adapters(), adapter) {
		s.fail(envPrefix+ordersAdapter, "want the shape of the orders backend: one of %s", strings.Join(orders.Adapters(), ", "))
	}
	s.checkPair("BACKEND_CERT", w.BackendCert, "BACKEND_KEY", w.BackendKey)
	if w.BackendCA != "" && s.fine("BACKEND_CA") {
		s.checkRoots("BACKEND_CA", w.BackendCA)
	}
	for _, key := range []string{"BACKEND_CA", "BACKEND_CERT"} {
		if s.effective(key).value != "" && strings.HasPrefix(w.Backend, "http:") {
			s.fail(key, "%sBACKEND is not https; want an https backend, or this removed", s.prefix)
		}
	}
}

func (s *scope) checkStripPrefix(c supervisor.BulkheadConfig) {
	strip := c.Worker.StripPrefix
	if strip == "" || !s.fine("STRIP_PREFIX") {
		return
	}
	if err := checkPrefix(strip); err != nil || strip[0] != '/' {
		s.fail("STRIP_PREFIX", "want the beginning of a path, such as /api/orders")
		return
	}
	applies := func(r supervisor.Route) bool { return within(r.Prefix, strip) || within(strip, r.Prefix) }
	if s.fine("ROUTES") && !slices.ContainsFunc(c.Routes, applies) {
		s.warn("STRIP_PREFIX", "has no effect: no route of the bulkhead leads there")
	}
}
