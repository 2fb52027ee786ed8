package journal

import (
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
)

// AllowList is the header fields that are recorded. The zero value is none.
type AllowList struct{ names []string }

// secretFields are never recorded, whoever asks for it.
var secretFields = []string{
	"Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "Idempotency-Key",
	"X-Api-Key", "X-Auth-Token", "X-Csrf-Token", "X-Xsrf-Token", "Www-Authenticate", "Proxy-Authenticate",
}

// NewAllowList lets at most MaxHeaders names through. A name that stands for a
// secret is refused.
func NewAllowList(names []string) (AllowList, error) {
	var l AllowList
	for _, name := range names {
		name = textproto.CanonicalMIMEHeaderKey(name)
		if slices.Contains(secretFields, name) {
			return AllowList{}, fmt.Errorf("the field %s holds a secret and is never recorded", name)
		}
		if !slices.Contains(l.names, name) {
			l.names = append(l.names, name)
		}
	}
	if len(l.names) > MaxHeaders {
		return AllowList{}, fmt.Errorf("%d header fields; at most %d are recorded", len(l.names), MaxHeaders)
	}
	return l, nil
}

// Of is what may be recorded of h, the first value of each field; nil: nothing.
func (l AllowList) Of(h http.Header) map[string]string {
	var kept map[string]string
	for _, name := range l.names {
		if values := h[name]; len(values) > 0 {
			if kept == nil {
				kept = make(map[string]string, len(l.names))
			}
			kept[name] = values[0]
		}
	}
	return kept
}
