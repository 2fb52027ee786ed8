package supervisor

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"commerce.example/coordinator/supervisor/breaker"
	"commerce.example/coordinator/supervisor/console"
)

// Operator is what the admin API asks of a supervisor. All methods may be called
// at the same time. Those that change something return when it is done or when
// ctx is, and then report how far it came; Ready and Status return at once.
type Operator interface {
	Status() Status
	Detail(bulkhead string) (BulkheadDetail, bool) // false: there is none
	// Ready is the answer of /readyz: degraded names the bulkheads that are not
	// well, why says what keeps ok from being true.
	Ready() (ok bool, degraded []string, why string)

	Restart(ctx context.Context, bulkhead string) Report
	Drain(ctx context.Context, bulkhead string) Report
	Resume(ctx context.Context, bulkhead string) Report
	Resize(ctx context.Context, bulkhead string, workers, limit *int) Report // nil: as it is
	ForceBreaker(ctx context.Context, bulkhead string, mode breaker.Mode) Report
	Forgive(ctx context.Context, bulkhead, fingerprint string) Report // empty: all
	Drill(ctx context.Context, bulkhead string, plan DrillPlan) Report
	Replay(ctx context.Context, bulkhead string, plan ReplayPlan) Report
	Reload(ctx context.Context) Report
	Upgrade(ctx context.Context) Report

	Evidence(bulkhead string, window time.Duration) (BulkheadEvidence, error)
	Size(ctx context.Context, bulkhead string, q AdviceQuestion) (SizeAdvice, error)
	Record(ctx context.Context, bulkhead string, span time.Duration, w io.Writer) error
}

// Admin is the admin API:
//
//	GET  /metrics
//	GET  /healthz                          200 ok while the supervisor's loop answers
//	GET  /readyz                           200 or 503 with {"ready", "degraded", "why"}
//	GET  /v1/status                        Status
//	GET  /v1/bulkheads/{name}              BulkheadDetail
//	GET  /v1/events                        server-sent events: see package console
//	GET  /console/                         the console; / leads there
//	POST /v1/reload                        Report; likewise upgrade
//	POST /v1/bulkheads/{name}/restart      Report; likewise drain and resume
//	POST /v1/bulkheads/{name}/resize       {"workers": N, "limit": N}, one of them at least
//	POST /v1/bulkheads/{name}/breaker      {"mode": "auto" | "open" | "closed" | "observe"}
//	POST /v1/bulkheads/{name}/forgive      {"fingerprint": F} of Status, or no body for all
//	POST /v1/bulkheads/{name}/drill        {"mode": a DrillMode, "for_ms": N}, with "fallback" also "share",
//	                                       "coverage" and "give"; Report with a DrillResult
//	POST /v1/bulkheads/{name}/replay       {"segment": S, "offset": N} of a story of the journal, and "execute";
//	                                       Report with a ReplayResult
//	GET  /v1/bulkheads/{name}/evidence     BulkheadEvidence; ?window=10m
//	GET  /v1/bulkheads/{name}/size         SizeAdvice; ?window=10m&refuse=0.1%25&wait_p99=50ms; 503 while
//	                                       others ask for too much of it
//	POST /v1/bulkheads/{name}/record       {"for_ms": N}; a trace of package sizing, as it is recorded
//
// A change is made while the client waits for it, a minute if it does not say
// otherwise in Prefer: wait=SECONDS (RFC 7240 section 4.3), and given up when
// the client leaves. Its answer is 200 with a Report, or 500 with a Report that
// says what went wrong. What was not begun is refused with problem details (RFC
// 9457); those of an unknown bulkhead list the known ones in "known".
//
// The fields are read when a handler is made. Its handlers are safe for
// concurrent use.
type Admin struct {
	Operator Operator
	Alive    func(context.Context) error // nil when the supervisor's loop answers; has 2 s
	Metrics  http.Handler
	Feed     *console.Feed // of /v1/events, which somebody else has run; nil: there is no such path
	Token    string        // what changes over TCP have to bear; empty: nothing can be changed there
	Listen   string        // COORDINATOR_ADMIN_LISTEN, whose host is a name that clients may use
}

// OverSocket is the API for the unix socket. Whoever can open the socket may do
// everything: its file permissions are the authentication. A browser may get there
// through a tunnel, so its pages are told apart here too.
func (a *Admin) OverSocket() http.Handler {
	free := func(change http.Handler) http.Handler { return change }
	return ownHost(namesOf(""), sameOrigin(a.mux(console.AccessFree, free)))
}

// OverTCP is the API for everybody who can reach the address: they may read, and
// change what they have the token for.
func (a *Admin) OverTCP() http.Handler {
	authorised := func(change http.Handler) http.Handler { return bearer(a.Token, change) }
	access := console.AccessToken
	if a.Token == "" {
		access = console.AccessNone
	}
	return ownHost(namesOf(a.Listen), sameOrigin(a.mux(access, authorised)))
}

// mux is the API with authorised in front of all that changes anything; access says
// the same to the console.
func (a *Admin) mux(access console.Access, authorised func(http.Handler) http.Handler) http.Handler {
	mux := http.NewServeMux()
	handle := func(method, path string, h http.Handler) {
		mux.Handle(method+" "+path, h)
		mux.Handle(path, methodNotAllowed(method))
	}
	handle(http.MethodGet, "/metrics", a.Metrics)
	handle(http.MethodGet, "/healthz", http.HandlerFunc(a.healthz))
	handle(http.MethodGet, "/readyz", http.HandlerFunc(a.readyz))
	handle(http.MethodGet, "/v1/status", http.HandlerFunc(a.status))

	if a.Feed != nil {
		handle(http.MethodGet, "/v1/events", a.Feed.Handler(access))
	}
	handle(http.MethodGet, "/v1/bulkheads/{name}", http.HandlerFunc(a.detail))
	handle(http.MethodGet, console.Path, console.Handler())
	handle(http.MethodGet, "/{$}", http.RedirectHandler(console.Path, http.StatusSeeOther))
	post := func(path string, c change) { handle(http.MethodPost, path, authorised(c)) }
	const bulkhead = "/v1/bulkheads/{name}/"
	post(bulkhead+"restart", a.known(named(a.Operator.Restart)))
	post(bulkhead+"drain", a.known(named(a.Operator.Drain)))
	post(bulkhead+"resume", a.known(named(a.Operator.Resume)))
	post(bulkhead+"resize", a.known(a.resize))
	post(bulkhead+"breaker", a.known(a.breaker))
	post(bulkhead+"forgive", a.known(a.forgive))
	post(bulkhead+"drill", a.known(a.drill))
	post(bulkhead+"replay", a.known(a.replay))
	handle(http.MethodPost, bulkhead+"record", authorised(http.HandlerFunc(a.record)))
	handle(http.MethodGet, bulkhead+"evidence", http.HandlerFunc(a.evidence))
	handle(http.MethodGet, bulkhead+"size", http.HandlerFunc(a.size))
	post("/v1/reload", func(http.ResponseWriter, *http.Request) (operation, *adminProblem) { return a.Operator.Reload, nil })
	post("/v1/upgrade", func(http.ResponseWriter, *http.Request) (operation, *adminProblem) { return a.Operator.Upgrade, nil })

	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		problem(http.StatusNotFound, "The admin API of this supervisor has no such path.").write(w)
	})
	return mux
}

func (a *Admin) healthz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if err := a.Alive(ctx); err != nil {
		problem(http.StatusServiceUnavailable, "The supervisor does not answer: "+err.Error()).write(w)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(w, "ok\n") // an error here is a client that left
}

func (a *Admin) readyz(w http.ResponseWriter, r *http.Request) {
	ok, degraded, why := a.Operator.Ready()
	status := http.StatusOK
	if !ok {
		status = http.StatusServiceUnavailable
	}
	writeAdmin(w, status, "application/json", struct {
		Ready    bool     `json:"ready"`
		Degraded []string `json:"degraded"`
		Why      string   `json:"why"`
	}{ok, append([]string{}, degraded...), why}) // [] and not null
}

func (a *Admin) status(w http.ResponseWriter, r *http.Request) {
	writeAdmin(w, http.StatusOK, "application/json", a.Operator.Status())
}

func (a *Admin) detail(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	d, ok := a.Operator.Detail(name)
	if !ok {
		cmp.Or(a.unknown(name), problem(http.StatusNotFound, "A reload has just brought it: ask again.")).write(w)
		return
	}
	writeAdmin(w, http.StatusOK, "application/json", d)
}

// A change reads what a request wants done. It does nothing itself.
type change func(http.ResponseWriter, *http.Request) (operation, *adminProblem)

// An operation does it.
type operation func(context.Context) Report

func (c change) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	do, refused := c(w, r)
	if refused != nil {
		refused.write(w)
		return
	}
	wait := waitOf(r)
	// The server's read timeout would end the wait, and look like a client that
	// left; its write timeout would lose the report. A writer that knows no
	// deadlines has none.
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Time{})
	_ = rc.SetWriteDeadline(time.Now().Add(wait + adminWrite))
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	start := time.Now()
	report := do(ctx)
	if report.TookMS == 0 {
		report.Took = cmp.Or(report.Took, time.Since(start))
		report.TookMS = float64(report.Took) / float64(time.Millisecond)
	}
	report.Bulkheads = append([]string{}, report.Bulkheads...) // [] and not null
	status := http.StatusOK
	if report.Error != "" {
		status = http.StatusInternalServerError
	}
	writeAdmin(w, status, "application/json", report)
}

// How long a change may take: when the client does not say, and at most.
const (
	adminWait    = time.Minute
	adminMaxWait = time.Hour
)

// waitOf is how long the client waits: RFC 7240 section 4.3. A preference that
// makes no sense counts as none (section 2).
func waitOf(r *http.Request) time.Duration {
	for _, field := range r.Header["Prefer"] {
		for preference := range strings.SplitSeq(field, ",") {
			name, value, _ := strings.Cut(preference, "=")
			seconds, err := strconv.ParseUint(strings.TrimSpace(value), 10, 31)
			if strings.EqualFold(strings.TrimSpace(name), "wait") && err == nil {
				return min(time.Duration(seconds)*time.Second, adminMaxWait)
			}
		}
	}
	return adminWait
}

// named is the change that needs nothing but a bulkhead.
func named(do func(context.Context, string) Report) change {
	return func(_ http.ResponseWriter, r *http.Request) (operation, *adminProblem) {
		name := r.PathValue("name")
		return func(ctx context.Context) Report { return do(ctx, name) }, nil
	}
}

func (a *Admin) resize(w http.ResponseWriter, r *http.Request) (operation, *adminProblem) {
	var want struct{ Workers, Limit *int }
	if p := readJSON(w, r, &want); p != nil {
		return nil, p
	}
	const maxLimit = 1_000_000 // as in the configuration
	senseless := func(n *int, most int) bool { return n != nil && (*n < 1 || *n > most) }
	if want.Workers == nil && want.Limit == nil || senseless(want.Workers, MaxWorkers) || senseless(want.Limit, maxLimit) {
		return nil, problem(http.StatusBadRequest, fmt.Sprintf("Want workers from 1 to %d, limit from 1 to %d, or both.", MaxWorkers, maxLimit))
	}
	name := r.PathValue("name")
	return func(ctx context.Context) Report { return a.Operator.Resize(ctx, name, want.Workers, want.Limit) }, nil
}

func (a *Admin) breaker(w http.ResponseWriter, r *http.Request) (operation, *adminProblem) {
	var want struct{ Mode breaker.Mode }
	if p := readJSON(w, r, &want); p != nil {
		return nil, p
	}
	switch want.Mode {
	case breaker.Auto, breaker.Open, breaker.Closed, breaker.Observe:
	default:
		return nil, problem(http.StatusBadRequest, "Want mode auto, open, closed or observe.")
	}
	name := r.PathValue("name")
	return func(ctx context.Context) Report { return a.Operator.ForceBreaker(ctx, name, want.Mode) }, nil
}

func (a *Admin) forgive(w http.ResponseWriter, r *http.Request) (operation, *adminProblem) {
	var want struct{ Fingerprint string }
	if r.ContentLength != 0 {
		if p := readJSON(w, r, &want); p != nil {
			return nil, p
		}
	}
	if f, err := hex.DecodeString(want.Fingerprint); err != nil || len(f) != 0 && len(f) != len(fingerprint{}) {
		return nil, problem(http.StatusBadRequest, "Want a fingerprint as /v1/status lists it, or none for all.")
	}
	name := r.PathValue("name")
	return func(ctx context.Context) Report { return a.Operator.Forgive(ctx, name, want.Fingerprint) }, nil
}

func (a *Admin) drill(w http.ResponseWriter, r *http.Request) (operation, *adminProblem) {
	var want struct {
		Mode     DrillMode
		ForMS    int64 `json:"for_ms"`
		Share    *float64
		Coverage *float64
		Give     bool
	}
	if p := readJSON(w, r, &want); p != nil {
		return nil, p
	}
	if !slices.Contains(DrillModes(), want.Mode) {
		return nil, problem(http.StatusBadRequest, fmt.Sprintf("Want mode %s.", DrillWords()))
	}
	if want.ForMS < MinDrill.Milliseconds() || want.ForMS > MaxDrill.Milliseconds() {
		return nil, problem(http.StatusBadRequest, fmt.Sprintf("Want for_ms from %d to %d.", MinDrill.Milliseconds(), MaxDrill.Milliseconds()))
	}
	plan := DrillPlan{Mode: want.Mode, For: time.Duration(want.ForMS) * time.Millisecond, Give: want.Give}
	if plan.Mode == DrillFallback {
		plan.Share, plan.Coverage = DefaultDrillShare, DefaultDrillCoverage
	} else if want.Share != nil || want.Coverage != nil || want.Give {
		return nil, problem(http.StatusBadRequest, "Want share, coverage and give with mode fallback alone.")
	}
	if want.Share != nil {
		plan.Share = *want.Share
	}
	if want.Coverage != nil {
		plan.Coverage = *want.Coverage
	}
	if plan.Mode == DrillFallback && !(plan.Share > 0 && plan.Share <= 1 && plan.Coverage >= 0 && plan.Coverage <= 1) {
		return nil, problem(http.StatusBadRequest, "Want share above 0 and at most 1, and coverage from 0 to 1.")
	}
	name := r.PathValue("name")
	return func(ctx context.Context) Report { return a.Operator.Drill(ctx, name, plan) }, nil
}

func (a *Admin) replay(w http.ResponseWriter, r *http.Request) (operation, *adminProblem) {
	var want struct {
		Segment string
		Offset  int64
		Execute bool
	}
	if p := readJSON(w, r, &want); p != nil {
		return nil, p
	}
	if want.Segment == "" || want.Offset < 0 {
		return nil, problem(http.StatusBadRequest, "Want segment and offset of a request, as journal find --json has them.")
	}
	name := r.PathValue("name")
	return func(ctx context.Context) Report {
		return a.Operator.Replay(ctx, name, ReplayPlan{Segment: want.Segment, Offset: want.Offset, Execute: want.Execute})
	}, nil
}

// known is c for bulkheads that there are. A reload may still take one away
// before the operation begins; then the report says so.
func (a *Admin) known(c change) change {
	return func(w http.ResponseWriter, r *http.Request) (operation, *adminProblem) {
		if p := a.unknown(r.PathValue("name")); p != nil {
			return nil, p
		}
		return c(w, r)
	}
}

// unknown refuses the name of a bulkhead that there is not; nil: there is.
func (a *Admin) unknown(name string) *adminProblem {
	var names []string
	for _, b := range a.Operator.Status().Bulkheads {
		if b.Name == name {
			return nil
		}
		names = append(names, b.Name)
	}
	p := problem(http.StatusNotFound, fmt.Sprintf("No bulkhead %q; known: %s.", name, strings.Join(names, ", ")))
	p.Type, p.Title, p.Known = UnknownBulkheadType, "Unknown bulkhead", names
	return p
}

// readJSON fills into from a body of one JSON object and nothing else.
func readJSON(w http.ResponseWriter, r *http.Request, into any) *adminProblem {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return problem(http.StatusUnsupportedMediaType, "Want a body of Content-Type application/json.")
	}
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if err == nil {
		// To the end, also because the server sees a client leave only after it.
		if _, err = dec.Token(); err == io.EOF {
			return nil
		}
		err = cmp.Or(err, errors.New("more than one value"))
	}
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return problem(http.StatusRequestEntityTooLarge, "Want a body of at most 4 KiB.")
	}
	return problem(http.StatusBadRequest, "Want one JSON object: "+err.Error()+".")
}
