package supervisor

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dunglas/httpsfv"
)

// ProblemType is what precedes the reason in the "type" member of a problem. A
// URN: it identifies, it is not there to be fetched, and unlike a relative
// reference it means the same wherever the body is read (RFC 9457 section 3.1.1).
const ProblemType = "urn:coordinator:problem:"

// Problem is an answer that the coordinator itself makes: RFC 9457 problem
// details, whatever the request's Accept says (RFC 9457 section 3 lets a server
// do so, and a page that asks for text/html still learns the reason). It holds
// no error values, so none can leak.
//
// It is an http.Handler that changes nothing in p; Reason and Outcome are needed. The header
// of the ResponseWriter must not hold the fields of another answer's body.
type Problem struct {
	Reason     Reason
	Outcome    Outcome
	Status     int           // 0: the reason's
	Detail     string        // what this occurrence adds for people; empty: the reason's sentence
	RetryAfter time.Duration // estimate, for reasons where waiting helps; up to a second: one second
	Final      bool          // waiting does not help this time, although it does for the reason

	RequestID string // empty: left out, as the next three are
	Bulkhead  string
	Owner     string
	Runbook   string
}

var problemBodies = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

// Values that every problem shares. Nobody writes to them: each is full, so that
// an append copies it.
var (
	problemContentType  = []string{"application/problem+json"}
	problemCacheControl = []string{"no-store"}
	problemNoSniff      = []string{"nosniff"}
	problemAllow        = []string{"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"}
)

// ServeHTTP writes the answer; HEAD gets its header only. It panics with
// http.ErrAbortHandler when the client is gone: returning would let the server
// send an empty 200 for it.
func (p *Problem) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.Reason == ReasonClientGone {
		panic(http.ErrAbortHandler)
	}
	facts := p.Reason.facts()
	status := cmp.Or(p.Status, facts.status)
	buf := problemBodies.Get().(*[]byte)
	defer problemBodies.Put(buf)
	body := p.appendBody((*buf)[:0], facts, status, r.Method)
	*buf = body

	h := w.Header()
	values := []string{strconv.Itoa(len(body)), "", p.RequestID}
	h["Content-Type"] = problemContentType
	h["Content-Length"] = values[0:1:1]
	h["Cache-Control"] = problemCacheControl
	h["X-Content-Type-Options"] = problemNoSniff
	h["Proxy-Status"] = proxyStatus(p.Reason, p.Outcome)
	if facts.waiting && !p.Final {
		values[1] = strconv.Itoa(retryAfter(p.RetryAfter, rand.Float64()))
		h["Retry-After"] = values[1:2:2]
	}
	if p.RequestID != "" {
		h["X-Request-Id"] = values[2:3:3]
	}
	if status == http.StatusMethodNotAllowed {
		h["Allow"] = problemAllow // RFC 9110 section 15.5.6
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(body) // an error here is a client that left: nobody to tell
	}
}

func (p *Problem) appendBody(b []byte, facts reasonFacts, status int, method string) []byte {
	b = append(b, `{"type":"`+ProblemType...)
	b = append(b, p.Reason...)
	b = appendMember(b, `","title":`, facts.title)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = appendMember(b, `,"detail":`, cmp.Or(p.Detail, facts.detail))
	if p.Bulkhead != "" {
		b = appendMember(b, `,"bulkhead":`, p.Bulkhead)
	}
	b = appendMember(b, `,"reason":`, string(p.Reason))
	b = appendMember(b, `,"outcome":`, string(p.Outcome))
	b = append(b, `,"retry_safe":`...)
	b = strconv.AppendBool(b, RetrySafe(p.Reason, p.Outcome, method))
	if p.RequestID != "" {
		b = appendMember(b, `,"request_id":`, p.RequestID)
	}
	if p.Owner != "" {
		b = appendMember(b, `,"owner":`, p.Owner)
	}
	if p.Runbook != "" {
		b = appendMember(b, `,"runbook":`, p.Runbook)
	}
	return append(b, '}', '\n')
}

// appendMember appends name and the JSON string of value. Nearly all values are
// plain ASCII; the rest go the way of encoding/json.
func appendMember(b []byte, name, value string) []byte {
	b = append(b, name...)
	for i := range len(value) {
		if c := value[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, err := json.Marshal(value)
			if err != nil {
				panic(err) // a string always marshals
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, value...)
	return append(b, '"')
}

// retryAfter is the Retry-After of an estimate in whole seconds (RFC 9110 section
// 10.2.3): never earlier than the estimate, and by the fraction in [0,1) up to a
// quarter later, so that those refused together do not come back together. A
// day bounds it.
func retryAfter(estimate time.Duration, fraction float64) int {
	estimate = min(max(estimate, 0), 24*time.Hour)
	estimate += time.Duration(fraction * float64(estimate) / 4)
	return max(1, int((estimate+time.Second-1)/time.Second))
}

// proxyStatus is the Proxy-Status value of a failure: RFC 9209 section 2. The
// outcome is a parameter of our own, which others must ignore (section 2.1); who
// cannot read the body, as with HEAD, learns it there.
func proxyStatus(reason Reason, outcome Outcome) []string {
	return proxyStatuses()[ending{reason, outcome}]
}

type ending struct {
	reason  Reason
	outcome Outcome
}

// proxyStatuses is every value that there can be.
var proxyStatuses = sync.OnceValue(func() map[ending][]string {
	values := make(map[ending][]string)
	for reason, facts := range reasonTable {
		if facts.proxyError == "" {
			continue
		}
		for _, outcome := range Outcomes() {
			values[ending{reason, outcome}] = []string{structuredItem(
				"error", httpsfv.Token(facts.proxyError), "details", string(reason), "outcome", httpsfv.Token(outcome))}
		}
	}
	return values
})

// structuredItem is our member of a list of intermediaries (RFC 9209, RFC 9211)
// with these parameters, each a name and a value. A value that a structured field
// cannot hold is a bug.
func structuredItem(params ...any) string {
	item := httpsfv.NewItem(httpsfv.Token("coordinator"))
	for i := 0; i < len(params); i += 2 {
		item.Params.Add(params[i].(string), params[i+1])
	}
	value, err := httpsfv.Marshal(httpsfv.List{item})
	if err != nil {
		panic(fmt.Sprintf("supervisor: %v: %v", params, err))
	}
	// The blank after the semicolon is how both RFCs write it; either parses.
	return strings.ReplaceAll(value, ";", "; ")
}
