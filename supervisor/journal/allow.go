package journal

import (
	"fmt"
	"net/http"
	"net/textproto"
	"slices"

	"commerce.example/coordinator/ipc/credential"
)

// AllowList is the header fields that are recorded. The zero value is none.
type AllowList struct{ names []string }

// holdsSecret reports whether a field is never recorded, whoever asks for it.
func holdsSecret(field string) bool {
	switch field {
	case "Idempotency-Key", "X-Csrf-Token", "X-Csrftoken", "X-Xsrf-Token":
		return true
	}
	return credential.IsSecret(field) || credential.IsIssued(field)
}

// NewAllowList lets at most MaxHeaders names through. A name that stands for a
// secret is refused.
func NewAllowList(names []string) (AllowList, error) {
	var l AllowList
	for _, name := range names {
		name = textproto.CanonicalMIMEHeaderKey(name)
		if holdsSecret(name) {
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
