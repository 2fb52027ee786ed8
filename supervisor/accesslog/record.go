package accesslog

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxLineBytes bounds a line: what a pipe takes in one piece.
const MaxLineBytes = 4096

// How many bytes a text may have in the line, escapes included. Together with
// what has a bound of its own they stay under MaxLineBytes.
const (
	maxPath  = 1024
	maxText  = 256 // host
	maxToken = 128 // what is one word, an X-Request-Id at the longest
)

// Record is what there is to say of a request. Texts may be of any length and
// hold any bytes.
type Record struct {
	Begun     time.Time // its arrival; its wall clock is what the line has
	RequestID string
	TraceID   string
	Client    string // a hash; see the package's text
	Method    string
	Host      string
	Path      string
	Proto     string
	Bulkhead  string
	Slot      int // read when Attempts is not 0
	Attempts  int
	Status    int
	Reason    string
	Outcome   string
	Fallback  string
	BytesIn   int64
	BytesOut  int64
	Total     time.Duration
	Queue     time.Duration
	Backend   time.Duration
	Sample    uint32 // as Log.Sample says; 0 is 1
}

// Failed reports whether a request counts as a failure for sampling: it was
// refused, failed or cut, or something stood in for its backend, or no answer
// or one of the 5xx was made.
func Failed(status int, reason, fallback string) bool {
	return reason != "" || fallback != "" || status == 0 || status >= 500
}

// append encodes r. Reflection would cost ten times as much.
func (r *Record) append(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = r.Begun.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, '"')
	b = appendMember(b, `,"request_id":"`, r.RequestID, maxToken)
	b = appendMember(b, `,"trace_id":"`, r.TraceID, maxToken)
	b = appendMember(b, `,"client":"`, r.Client, maxToken)
	b = appendMember(b, `,"method":"`, r.Method, maxToken)
	b = appendMember(b, `,"host":"`, plainHost(r.Host), maxText)
	b = appendMember(b, `,"path":"`, r.Path, maxPath)
	b = appendMember(b, `,"proto":"`, r.Proto, maxToken)
	b = appendMember(b, `,"bulkhead":"`, r.Bulkhead, maxToken)
	if r.Attempts > 0 {
		b = strconv.AppendInt(append(b, `,"slot":`...), int64(r.Slot), 10)
		b = strconv.AppendInt(append(b, `,"attempts":`...), int64(r.Attempts), 10)
	}
	b = strconv.AppendInt(append(b, `,"status":`...), int64(r.Status), 10)
	b = appendMember(b, `,"reason":"`, r.Reason, maxToken)
	b = appendMember(b, `,"outcome":"`, r.Outcome, maxToken)
	b = appendMember(b, `,"fallback":"`, r.Fallback, maxToken)
	b = strconv.AppendInt(append(b, `,"bytes_in":`...), r.BytesIn, 10)
	b = strconv.AppendInt(append(b, `,"bytes_out":`...), r.BytesOut, 10)
	b = appendMillis(append(b, `,"duration_ms":`...), r.Total)
	if r.Queue > 0 {
		b = appendMillis(append(b, `,"queue_ms":`...), r.Queue)
	}
	if r.Backend > 0 {
		b = appendMillis(append(b, `,"backend_ms":`...), r.Backend)
	}
	if r.Sample > 1 {
		b = strconv.AppendUint(append(b, `,"sample":`...), uint64(r.Sample), 10)
	}
	return append(b, '}', '\n')
}

// plainHost is host without the user and password that a client may have put
// before it: such a request is refused, and gets its line all the same.
func plainHost(host string) string { return host[strings.LastIndexByte(host, '@')+1:] }

// appendMillis writes d with three places, as microseconds are what is measured.
func appendMillis(b []byte, d time.Duration) []byte {
	us := min(max(d, 0), math.MaxInt64-time.Microsecond).Microseconds()
	b = strconv.AppendInt(b, us/1000, 10)
	if us %= 1000; us != 0 {
		b = append(b, '.', byte('0'+us/100), byte('0'+us/10%10), byte('0'+us%10))
	}
	return b
}

// appendMember writes nothing for an empty text. The name comes with all that is
// before the value.
func appendMember(b []byte, name, text string, most int) []byte {
	if text == "" {
		return b
	}
	b = append(b, name...)
	if len(text) <= most && plain(text) {
		return append(append(b, text...), '"')
	}
	return append(appendText(b, text, most), '"')
}

// plain reports whether text is its own encoding, as nearly all are.
func plain(text string) bool {
	for i := range len(text) {
		if !asIs[text[i]] {
			return false
		}
	}
	return true
}

// asIs are the bytes that stand for themselves.
var asIs = func() (t [256]bool) {
	for c := byte(' '); c < 0x7f; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

const (
	hexDigits   = "0123456789abcdef"
	ellipsis    = "…"
	replacement = "\ufffd"
)

// appendText writes what RFC 8259 section 7 allows inside of quotes, most bytes
// at the longest. Bytes that are not UTF-8 become U+FFFD each; U+2028 and U+2029
// are escaped, which some readers take for the end of a line.
func appendText(b []byte, text string, most int) []byte {
	start, end := len(b), len(b) // end: where an ellipsis still fits behind
	for i := 0; i < len(text); {
		if len(b)-start <= most-len(ellipsis) {
			end = len(b)
		}
		switch c := text[i]; {
		case asIs[c]:
			b = append(b, c)
			i++
		case c == '"', c == '\\':
			b = append(b, '\\', c)
			i++
		case c < utf8.RuneSelf:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			i++
		default:
			r, size := utf8.DecodeRuneInString(text[i:])
			switch {
			case r == utf8.RuneError && size == 1:
				b = append(b, replacement...)
			case r == '\u2028', r == '\u2029':
				b = append(b, '\\', 'u', '2', '0', '2', hexDigits[r&15])
			default:
				b = append(b, text[i:i+size]...)
			}
			i += size
		}
		if len(b)-start > most {
			return append(b[:end], ellipsis...)
		}
	}
	return b
}
