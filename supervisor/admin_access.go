package supervisor

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"
)

// UnknownBulkheadType is the "type" of the problem details that refuse a change
// to a bulkhead that there is not. All others are "about:blank": their status
// says it all (RFC 9457 section 4.2.1).
const UnknownBulkheadType = ProblemType + "unknown_bulkhead"

// An adminProblem is how the admin API refuses. It is not a Problem, which is
// about a request on its way to a bulkhead.
type adminProblem struct {
	Type   string   `json:"type"`
	Title  string   `json:"title"`
	Status int      `json:"status"`
	Detail string   `json:"detail"`
	Known  []string `json:"known,omitempty"` // bulkheads
}

func problem(status int, detail string) *adminProblem {
	return &adminProblem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail}
}

func (p *adminProblem) write(w http.ResponseWriter) {
	writeAdmin(w, p.Status, "application/problem+json", p)
}

// writeAdmin answers with v as JSON.
func writeAdmin(w http.ResponseWriter, status int, contentType string, v any) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.Encode(v) // an error here is a client that left: nobody to tell
}

func methodNotAllowed(method string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		allow := method
		if method == http.MethodGet {
			allow = "GET, HEAD"
		}
		w.Header().Set("Allow", allow)
		problem(http.StatusMethodNotAllowed, "This path takes "+allow+" only.").write(w)
	})
}

// bearer lets through who bears token: RFC 6750 section 2.1.
func bearer(token string, next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(token)) // equal lengths: the time to compare tells nothing
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token == "" {
			problem(http.StatusForbidden, "Nothing can be changed over TCP: COORDINATOR_ADMIN_TOKEN is not set. The unix socket needs no token.").write(w)
			return
		}
		scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(strings.TrimSpace(given)))
		if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="coordinator"`)
			problem(http.StatusUnauthorized, "Want Authorization: Bearer with the value of COORDINATOR_ADMIN_TOKEN.").write(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// sameOrigin refuses changes that a browser sends for a page of another origin.
// Programs that are no browsers send none of the fields that tell.
func sameOrigin(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if protection.Check(r) != nil {
			problem(http.StatusForbidden, "The request comes from a page of another origin.").write(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ownHost refuses requests for a host that is not this one's: a page whose name
// was made to resolve to our address (DNS rebinding) is of the same origin to a
// browser, and its name in Host is all that gives it away. Allowed are addresses,
// and the names that are said to be ours. No Host at all is a program that speaks
// HTTP/1.0, as the health checks of load balancers do, and no browser.
func ownHost(ours func(name string) bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := hostName(r.Host)
		_, err := netip.ParseAddr(host)
		if isName := err != nil && host != ""; isName && !ours(host) {
			// RFC 9110 section 7.4: 421 for an authority that is not ours.
			problem(http.StatusMisdirectedRequest, "Want an address, localhost or the host of COORDINATOR_ADMIN_LISTEN as the Host.").write(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// namesOf are localhost and the host of an address that is listened on; empty: a
// unix socket, which has none. A name without a dot is no better there: whoever
// answers for it in a local network can have a page of that name.
func namesOf(listen string) func(name string) bool {
	own := hostName(listen)
	return func(name string) bool { return asciiEqualFold(name, "localhost") || asciiEqualFold(name, own) }
}
