package journal

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// appendRecord appends r as a sealed line. It does by hand what encoding/json
// would do at four times the cost: this is on the way of every request. Empty
// fields are left out; r.Kind and r.Entry are given apart.
func appendRecord(b []byte, kind string, entry []byte, at time.Time, r *Record) []byte {
	begin := len(b)
	b = append(b, prefix...)
	b = append(b, kind...)
	b = append(b, `","entry":"`...)
	b = append(b, entry...)
	b = append(b, '"')
	b = appendTime(b, "at", at)
	b = appendText(b, "request_id", r.RequestID, MaxTextBytes)
	b = appendText(b, "bulkhead", r.Bulkhead, MaxTextBytes)
	b = appendText(b, "method", r.Method, MaxTextBytes)
	b = appendText(b, "path", r.Path, MaxPathBytes)
	b = appendText(b, "query", r.Query, MaxPathBytes)
	b = appendText(b, "route", r.Route, MaxTextBytes)
	b = appendTime(b, "arrived", r.Arrived)
	b = appendInt(b, "queue_us", r.QueueUS)
	b = appendInt(b, "took_us", r.TookUS)
	b = appendAttempts(b, r.Attempts)
	b = appendText(b, "outcome", r.Outcome, MaxTextBytes)
	b = appendText(b, "reason", r.Reason, MaxTextBytes)
	b = appendInt(b, "status", int64(r.Status))
	b = appendText(b, "fallback", r.Fallback, MaxTextBytes)
	b = appendInt(b, "bytes_in", r.BytesIn)
	b = appendInt(b, "bytes_out", r.BytesOut)
	if r.RetrySafe {
		b = append(b, `,"retry_safe":true`...)
	}
	b = appendText(b, "idempotency_digest", r.IdempotencyDigest, MaxTextBytes)
	b = appendText(b, "client", r.Client, MaxTextBytes)
	b = appendHeaders(b, r.Headers)
	b = appendText(b, "body", r.Body, MaxTextBytes)
	b = appendText(b, "by", r.By, MaxTextBytes)
	return seal(b, begin)
}

// appendMark appends m as a sealed line. Marks are rare, and left to encoding/json.
func appendMark(b []byte, m *mark) []byte {
	text, err := json.Marshal(m)
	if err != nil {
		panic(err) // texts, numbers and times of this century
	}
	begin := len(b)
	b = append(b, `{"v":1,`...)
	b = append(b, text[1:len(text)-1]...)
	return seal(b, begin)
}

func appendAttempts(b []byte, attempts []Attempt) []byte {
	if len(attempts) == 0 {
		return b
	}
	b = append(b, `,"attempts":[`...)
	for i, a := range attempts[:min(len(attempts), MaxAttempts)] {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(append(b, `{"slot":`...), int64(a.Slot), 10)
		b = strconv.AppendInt(append(b, `,"pid":`...), int64(a.Pid), 10)
		b = strconv.AppendUint(append(b, `,"generation":`...), a.Generation, 10)
		b = strconv.AppendInt(append(b, `,"handed_us":`...), a.HandedUS, 10)
		b = appendText(b, "stage", a.Stage, MaxTextBytes)
		b = appendText(b, "fault", a.Fault, MaxTextBytes)
		b = appendInt(b, "took_us", a.TookUS)
		b = append(b, '}')
	}
	return append(b, ']')
}

func appendHeaders(b []byte, headers map[string]string) []byte {
	if len(headers) == 0 {
		return b
	}
	names := make([]string, 0, MaxHeaders) // not on the heap
	for name := range headers {
		names = append(names, name)
	}
	slices.Sort(names)
	b = append(b, `,"headers":`...)
	open := byte('{')
	for _, name := range names[:min(len(names), MaxHeaders)] {
		b = appendQuoted(append(b, open), name, MaxTextBytes)
		b = appendQuoted(append(b, ':'), headers[name], MaxTextBytes)
		open = ','
	}
	return append(b, '}')
}

func appendName(b []byte, name string) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	return append(b, '"', ':')
}

func appendInt(b []byte, name string, v int64) []byte {
	if v == 0 {
		return b
	}
	return strconv.AppendInt(appendName(b, name), v, 10)
}

func appendTime(b []byte, name string, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	b = append(appendName(b, name), '"')
	b = t.UTC().AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

func appendText(b []byte, name, s string, most int) []byte {
	if s == "" {
		return b
	}
	return appendQuoted(appendName(b, name), s, most)
}

// appendQuoted appends s as a JSON string (RFC 8259 section 7), of which no more
// than most bytes, and none that is not UTF-8.
func appendQuoted(b []byte, s string, most int) []byte {
	const hex = "0123456789abcdef"
	s = cut(s, most)
	b = append(b, '"')
	plain := 0 // s[plain:i] needs no escape
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		width := 1
		if c >= utf8.RuneSelf {
			var r rune
			if r, width = utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || width > 1 {
				i += width
				continue
			}
		}
		b = append(b, s[plain:i]...)
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= utf8.RuneSelf:
			b = append(b, "\ufffd"...)
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i += width
		plain = i
	}
	b = append(b, s[plain:]...)
	return append(b, '"')
}

// cut is the beginning of s, of at most so many bytes, that ends with a character.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
