package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"commerce.example/coordinator/supervisor/fallback/backup"
	"commerce.example/coordinator/supervisor/fallback/sanitise"
)

// Kept is the fields of an answer that are stored.
func Kept() []string { return []string{"Content-Language", "Content-Type", "Location", "Vary"} }

// live is what the backend answers to r now, not yet sanitised. Its errors show
// nothing of the answer but its status.
func (o *Options) live(ctx context.Context, r request) (backup.Entry, error) {
	e := backup.Entry{File: r.file, Pattern: r.pat, Header: http.Header{}}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	target := *r.ask
	target.Scheme, target.Host = o.Base.Scheme, o.Base.Host
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return e, errors.New("the request cannot be made; want a path and a query")
	}
	q.Host = r.ask.Host
	for _, fields := range []http.Header{r.header, o.Header} {
		for name, values := range fields {
			q.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	q.Header.Set("Accept-Encoding", "identity") // what is compressed cannot be looked at
	response, err := o.Client.Do(q)
	if err != nil {
		return e, fmt.Errorf("no answer: %w", unwrapped(err))
	}
	defer response.Body.Close()
	if err := acceptable(response); err != nil {
		return e, err
	}
	if e.Body, err = io.ReadAll(io.LimitReader(response.Body, sanitise.MaxBody+1)); err != nil {
		return e, fmt.Errorf("the answer was cut short: %w", unwrapped(err))
	}
	for _, name := range Kept() {
		if values := response.Header.Values(name); len(values) > 0 {
			e.Header[name] = values
		}
	}
	if len(e.Body) == 0 {
		e.Header.Del("Content-Type")
	}
	e.Status, e.Made = response.StatusCode, time.Now().Truncate(time.Second)
	return e, nil
}

// unwrapped is err without the URL of the request, which may name a person.
func unwrapped(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// acceptable is nil for an answer of the backend that can stand in later.
func acceptable(response *http.Response) error {
	for _, value := range response.Header.Values("Cache-Status") {
		if strings.Contains(value, "detail=stale") || strings.Contains(value, "detail=backup") {
			return errors.New("the answer is a fallback itself; want the backend to answer")
		}
	}
	if !slices.Contains(backup.Statuses(), response.StatusCode) {
		return fmt.Errorf("status %d; want one of %v", response.StatusCode, backup.Statuses())
	}
	if encoding := response.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return errors.New("the answer is encoded, although that was not accepted; want it plain")
	}
	return nil
}

// privates is what must not be in the answer to r: what stands for wildcards, and
// the credentials.
func (o *Options) privates(r request) []string {
	values, _ := r.pat.Captures(r.ask)
	for _, header := range []http.Header{r.header, o.Header} {
		for name, fields := range header {
			if strings.HasPrefix(http.CanonicalHeaderKey(name), "Accept") {
				continue // what is wanted, which the answer commonly repeats
			}
			for _, value := range fields {
				values = append(values, secretsOf(value)...)
			}
		}
	}
	return values
}

// secretsOf is what stands in a field with a credential: its parts, what they are
// assigned and say once decoded, and both halves of a user's name and password (RFC
// 7617 section 2). The scheme is a word like others.
func secretsOf(value string) (all []string) {
	if user, password, ok := (&http.Request{Header: http.Header{"Authorization": {value}}}).BasicAuth(); ok {
		all = append(all, user, password)
	}
	if scheme, rest, found := strings.Cut(value, " "); found && (strings.EqualFold(scheme, "Basic") || strings.EqualFold(scheme, "Bearer")) {
		value = rest
	}
	for _, part := range strings.FieldsFunc(value, func(c rune) bool { return strings.ContainsRune(" ;,", c) }) {
		_, after, _ := strings.Cut(part, "=")
		for _, text := range []string{part, after} {
			all = append(all, text)
			if decoded, err := url.QueryUnescape(text); err == nil && decoded != text {
				all = append(all, decoded)
			}
		}
	}
	return slices.DeleteFunc(all, func(s string) bool { return s == "" })
}
