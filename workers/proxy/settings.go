// Package proxy is the worker for backends that need no code: it passes requests
// on as they came, and answers as they come.
//
// It is a gateway in the words of RFC 9110 section 3.7. Hop-by-hop fields stop
// here; everything else, the bytes of path and query included, is not touched.
// X-Forwarded-* is the business of whoever saw the client.
//
// # Streaming
//
// What has arrived from the backend is flushed before the next wait, and only
// then: an event stream is passed on event by event, a small answer leaves in one
// piece.
//
// # Failing
//
// An error goes to the ResponseWriter's Fail method, if it has one: the SDK's
// tells the supervisor how far the exchange had got. Elsewhere it becomes 502 or
// 504, or, once the head is out, a panic with http.ErrAbortHandler, so that an
// answer cut short never looks whole.
package proxy

import (
	"errors"
	"net/http"

	"commerce.example/coordinator/ipc/target"
)

// Settings is all that a proxy is told.
type Settings = target.Settings

// New is a handler that passes requests on. Errors name every setting that is
// wrong.
func New(s Settings) (http.Handler, error) {
	t, err := target.New(s)
	if err != nil {
		return nil, err
	}
	return &handler{t}, nil
}

// FromEnv is New with the settings that a supervisor hands its workers: see
// [target.FromEnv].
func FromEnv(getenv func(string) string) (http.Handler, error) {
	s, unread := target.FromEnv(getenv)
	h, err := New(s)
	if err := errors.Join(unread, err); err != nil {
		return nil, err
	}
	return h, nil
}
