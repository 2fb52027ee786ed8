package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"commerce.example/coordinator/supervisor/sizing"
)

// adviceWait bounds the wait for advice, which others may be waiting for too.
const adviceWait = 15 * time.Second

func (a *Admin) evidence(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	query, refused := readQuery(r, "window")
	if refused == nil {
		refused = a.unknown(name)
	}
	if refused != nil {
		refused.write(w)
		return
	}
	e, err := a.Operator.Evidence(name, query.Window)
	if err != nil {
		problem(http.StatusNotFound, err.Error()+".").write(w)
		return
	}
	writeAdmin(w, http.StatusOK, "application/json", e)
}

func (a *Admin) size(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	query, refused := readQuery(r, "window", "refuse", "wait_p99")
	if refused == nil {
		refused = a.unknown(name)
	}
	if refused != nil {
		refused.write(w)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), adviceWait)
	defer cancel()
	advice, err := a.Operator.Size(ctx, name, query)
	switch {
	case errors.Is(err, errNoBulkhead):
		problem(http.StatusNotFound, err.Error()+".").write(w)
	case err != nil: // ctx is done, or enough others wait
		w.Header().Set("Retry-After", strconv.Itoa(int(adviceFresh.Seconds())))
		problem(http.StatusServiceUnavailable, "Others ask for advice too, and it is given to one at a time.").write(w)
	default:
		writeAdmin(w, http.StatusOK, "application/json", advice)
	}
}

// readQuery reads the parameters that known names, each at most once; no others
// are there.
func readQuery(r *http.Request, known ...string) (q AdviceQuestion, _ *adminProblem) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return q, problem(http.StatusBadRequest, "The query cannot be read.")
	}
	want := func(name, what string) *adminProblem {
		return problem(http.StatusBadRequest, fmt.Sprintf("%s=%q: want %s.", name, values.Get(name), what))
	}
	allowed := make(map[string]bool)
	for _, name := range known {
		allowed[name] = true
	}
	for name, all := range values {
		text := all[0]
		switch {
		case !allowed[name]:
			return q, problem(http.StatusBadRequest, fmt.Sprintf("There is no parameter %q here.", name))
		case len(all) > 1:
			return q, problem(http.StatusBadRequest, fmt.Sprintf("%s is given twice.", name))
		case name == "window":
			if q.Window, err = time.ParseDuration(text); err != nil || q.Window <= 0 || q.Window > sizing.Longest {
				return q, want(name, "a duration above 0 and up to 1h, such as 10m")
			}
		case name == "refuse":
			if q.Objective.Refused, err = sizing.ParseShare(text); err != nil || q.Objective.Refused <= 0 || q.Objective.Refused >= 1 {
				return q, want(name, "a share above 0 and below 1, such as 0.1% or 0.001")
			}
		case name == "wait_p99":
			if q.Objective.WaitP99, err = time.ParseDuration(text); err != nil || q.Objective.WaitP99 <= 0 || q.Objective.WaitP99 > time.Hour {
				return q, want(name, "a duration above 0 and up to 1h, such as 50ms")
			}
		}
	}
	return q, nil
}

// record answers with the trace while it is recorded: the supervisor keeps none.
func (a *Admin) record(w http.ResponseWriter, r *http.Request) {
	var want struct {
		ForMS int64 `json:"for_ms"`
	}
	name := r.PathValue("name")
	refused := a.unknown(name)
	if refused == nil {
		refused = readJSON(w, r, &want)
	}
	if refused == nil && (want.ForMS < MinRecord.Milliseconds() || want.ForMS > MaxRecord.Milliseconds()) {
		refused = problem(http.StatusBadRequest, fmt.Sprintf("Want for_ms from %d to %d.", MinRecord.Milliseconds(), MaxRecord.Milliseconds()))
	}
	if refused != nil {
		refused.write(w)
		return
	}
	span := time.Duration(want.ForMS) * time.Millisecond
	// As for a change: the server's own deadlines are for short answers.
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Time{})
	_ = rc.SetWriteDeadline(time.Now().Add(span + recordGrace + adminWrite))
	out := &flushed{w: w, rc: rc}
	err := a.Operator.Record(r.Context(), name, span, out)
	if err == nil || out.begun {
		return // a recording that broke off has no end, by which its reader knows
	}
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, sizing.ErrRecording):
		status = http.StatusConflict
	case errors.Is(err, errNoBulkhead):
		status = http.StatusNotFound
	}
	problem(status, err.Error()+".").write(w)
}

// flushed sends at once what is written to it.
type flushed struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	begun bool
}

func (f *flushed) Write(p []byte) (int, error) {
	if !f.begun {
		f.begun = true
		f.w.Header().Set("Content-Type", "application/x-ndjson")
		f.w.Header().Set("Cache-Control", "no-store")
		f.w.Header().Set("X-Content-Type-Options", "nosniff")
	}
	n, err := f.w.Write(p)
	if err == nil {
		err = f.rc.Flush()
	}
	return n, err
}
