package tracing

import (
	"encoding/hex"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/trace"
)

// As net/http has them.
const (
	traceparent = "Traceparent"
	tracestate  = "Tracestate"
)

// maxState is how long a tracestate may be to be held in spans, four times of
// what must be supported (section 3.3.1.5); 2048 spans hold 4 MiB of it. A longer
// one passes through.
const maxState = 2048

// Parent is a traceparent: W3C Trace Context, section 3.2. The zero value is none.
type Parent struct {
	TraceID [16]byte
	SpanID  [8]byte
	Flags   byte // bit 0: sampled; bit 1: the trace id is random
}

// ParseParent reads one traceparent. Version 00 is read to the letter. Of a later
// one only what section 3.2.4 allows: the same fields, and anything behind a dash.
func ParseParent(s string) (p Parent, ok bool) {
	if !wellFormed(s) {
		return Parent{}, false
	}
	_, _ = hex.Decode(p.TraceID[:], []byte(s[3:35])) // wellFormed has seen the digits
	_, _ = hex.Decode(p.SpanID[:], []byte(s[36:52]))
	p.Flags = digit(s[53])<<4 | digit(s[54])
	return p, true
}

// parentLen is that of version 00.
const parentLen = len("00-00000000000000000000000000000000-0000000000000000-00")

func wellFormed(s string) bool {
	if len(s) < parentLen || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return false
	}
	version, id, span, flags := s[:2], s[3:35], s[36:52], s[53:55]
	switch {
	case !lowerHex(version), !lowerHex(id), !lowerHex(span), !lowerHex(flags):
		return false
	case version == "ff": // section 3.2.2.1
		return false
	case version == "00" && len(s) != parentLen:
		return false
	case len(s) > parentLen && s[parentLen] != '-':
		return false
	}
	return strings.Trim(id, "0") != "" && strings.Trim(span, "0") != ""
}

// lowerHex: section 3.2.2 knows no upper case.
func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func digit(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}

// String is p in version 00, with the flags that it knows.
func (p Parent) String() string {
	b := make([]byte, 0, parentLen)
	b = append(b, "00-"...)
	b = hex.AppendEncode(b, p.TraceID[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, p.SpanID[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, []byte{p.Flags & 3})
	return string(b)
}

// TraceID is the id in the traceparent of h, for a log: 32 hexadecimal digits, or
// "" when there is none, or not exactly one that is well formed. It allocates
// nothing.
func TraceID(h http.Header) string {
	if sent := h[traceparent]; len(sent) == 1 && wellFormed(sent[0]) {
		return sent[0][3:35]
	}
	return ""
}

// remoteOf is the caller's span. Without one no tracestate has a meaning
// (section 3.3), and one that is malformed is dropped alone.
func remoteOf(h http.Header) trace.SpanContext {
	var p Parent
	ok := false
	if sent := h[traceparent]; len(sent) == 1 {
		p, ok = ParseParent(sent[0])
	}
	if !ok {
		delete(h, traceparent)
		delete(h, tracestate)
		return trace.SpanContext{}
	}
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: p.TraceID, SpanID: p.SpanID, TraceFlags: trace.TraceFlags(p.Flags & 3),
		TraceState: stateOf(h), Remote: true,
	})
}

func stateOf(h http.Header) trace.TraceState {
	text := strings.Join(h[tracestate], ",") // RFC 9110 section 5.3
	if text == "" || len(text) > maxState {
		return trace.TraceState{}
	}
	state, err := trace.ParseTraceState(text)
	if err != nil {
		delete(h, tracestate)
	}
	return state
}

// parentOf is sc as whoever comes next is told.
func parentOf(sc trace.SpanContext) string {
	return Parent{TraceID: sc.TraceID(), SpanID: sc.SpanID(), Flags: byte(sc.TraceFlags())}.String()
}
