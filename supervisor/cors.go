package supervisor

import (
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// CORS lets pages of listed origins read the answers that the coordinator itself
// makes (problems, stale and backup answers, preflights that it cannot forward).
// Answers of the backend keep the backend's own policy and never pass here.
// A nil *CORS allows nobody. It is immutable, safe for concurrent use.
type CORS struct {
	origins map[string][]string // origin to itself, as a header value
}

var (
	corsTrue   = []string{"true"}
	corsExpose = []string{"X-Request-Id, Retry-After, Proxy-Status, Cache-Status, Age"}
	corsMaxAge = []string{"0"}
)

// NewCORS allows origins, each as a browser writes it ("https://shop.example",
// no slash at the end). A "*" would match nothing: an answer to a request with
// credentials has to name the origin.
func NewCORS(origins []string) *CORS {
	if len(origins) == 0 {
		return nil
	}
	c := &CORS{origins: make(map[string][]string, len(origins))}
	for _, origin := range origins {
		c.origins[origin] = []string{origin}
	}
	return c
}

// Allow adds to answer, the header of an answer of ours to a request with header
// request, what lets a page of a listed origin read it; what the backend let such
// pages read, in an answer that it gave earlier, they still may. It reports whether
// the origin is listed. The Vary field is added in any case: the answer to another
// origin would differ.
func (c *CORS) Allow(answer, request http.Header) bool {
	if c == nil {
		return false
	}
	answer["Vary"] = append(answer["Vary"], "Origin")
	sent := request["Origin"]
	if len(sent) != 1 {
		return false
	}
	origin, ok := c.origins[sent[0]]
	if !ok {
		return false
	}
	answer["Access-Control-Allow-Origin"] = origin
	answer["Access-Control-Allow-Credentials"] = corsTrue
	answer["Access-Control-Expose-Headers"] = append(answer["Access-Control-Expose-Headers"], corsExpose...)
	return true
}

// PreflightMethod is the method that r asks permission for, or "" when r is no
// preflight. The route of that method is the one whose CORS answers it.
func PreflightMethod(r *http.Request) string {
	method := r.Header["Access-Control-Request-Method"]
	if r.Method != http.MethodOptions || len(method) != 1 || len(r.Header["Origin"]) != 1 || !httpguts.ValidHeaderFieldName(method[0]) {
		return ""
	}
	return method[0]
}

// Preflight answers r, a preflight that cannot be forwarded, in the backend's
// place, and reports whether it did: r must be one, of a listed origin. All that
// it asks for is granted and not to be remembered, so that the request itself
// can come and be told its reason.
func (c *CORS) Preflight(w http.ResponseWriter, r *http.Request) bool {
	method := PreflightMethod(r)
	if method == "" || c == nil || c.origins[r.Header["Origin"][0]] == nil {
		return false
	}
	asked := strings.Join(r.Header["Access-Control-Request-Headers"], ",")
	if !isTokenList(asked) {
		return false
	}
	h := w.Header()
	c.Allow(h, r.Header)
	delete(h, "Access-Control-Expose-Headers") // says nothing in a preflight
	h["Vary"] = append(h["Vary"], "Access-Control-Request-Method, Access-Control-Request-Headers")
	h["Access-Control-Allow-Methods"] = []string{method}
	if asked != "" {
		h["Access-Control-Allow-Headers"] = []string{asked}
	}
	h["Access-Control-Max-Age"] = corsMaxAge
	h["Cache-Control"] = problemCacheControl
	w.WriteHeader(http.StatusNoContent)
	return true
}

func isTokenList(list string) bool {
	for name := range strings.SplitSeq(list, ",") {
		if name = trimSpace(name); name != "" && !httpguts.ValidHeaderFieldName(name) {
			return false
		}
	}
	return true
}
