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
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"commerce.example/coordinator/ipc/backend"
)

// Settings is all that a proxy is told.
type Settings struct {
	// Backend is the URL to call, http or https. Its path is put before that of
	// the request. Required; no query, fragment or user.
	Backend string

	// StripPrefix is taken off the path first, where it ends on a segment
	// boundary: "/api" and "/api/" are the same. Paths without it stay whole.
	StripPrefix string

	// PreserveHost passes the client's Host on instead of the backend's.
	PreserveHost bool

	// CA is a PEM file of the authorities to believe; empty: the system's. Cert
	// and Key are PEM files of a client certificate, both or neither.
	CA, Cert, Key string

	// Protocol is "auto" or empty (HTTP/2 where a TLS backend chooses it), "http1",
	// or "http2" (by ALPN over https, with prior knowledge over http).
	Protocol string

	// ConnMaxAge is how long a connection to the backend may serve. 0 means 5m.
	ConnMaxAge time.Duration
}

// New is a handler that passes requests on. Errors name every setting that is
// wrong.
func New(s Settings) (http.Handler, error) {
	base, err := parseBackend(s.Backend)
	errs := []error{err}
	if s.StripPrefix != "" && !strings.HasPrefix(s.StripPrefix, "/") {
		errs = append(errs, fmt.Errorf("strip prefix %q: must start with /", s.StripPrefix))
	}
	if s.ConnMaxAge < 0 {
		errs = append(errs, fmt.Errorf("connection age %v: must not be negative", s.ConnMaxAge))
	}
	protocol, known := protocols[s.Protocol]
	if !known {
		errs = append(errs, fmt.Errorf("protocol %q: must be auto, http1 or http2", s.Protocol))
	}
	secure, err := clientTLS(s)
	errs = append(errs, err)
	if base != nil && base.Scheme == "http" && secure != nil {
		errs = append(errs, errors.New("certificates for a backend that is called over http"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &handler{
		transport:    &backend.Transport{TLS: secure, Protocol: protocol, ConnMaxAge: s.ConnMaxAge},
		base:         base,
		basePath:     strings.TrimRight(base.EscapedPath(), "/"),
		strip:        strings.TrimRight(s.StripPrefix, "/"),
		preserveHost: s.PreserveHost,
	}, nil
}

var protocols = map[string]backend.Protocol{
	"": backend.Auto, "auto": backend.Auto, "http1": backend.HTTP1, "http2": backend.HTTP2,
}

// FromEnv is New with the settings that a supervisor hands its workers: the
// variables WORKER_BACKEND, WORKER_STRIP_PREFIX, WORKER_PRESERVE_HOST (a
// boolean), WORKER_BACKEND_CA, WORKER_BACKEND_CERT, WORKER_BACKEND_KEY,
// WORKER_BACKEND_PROTOCOL and WORKER_BACKEND_CONN_MAX_AGE (such as 5m), read with getenv.
func FromEnv(getenv func(string) string) (http.Handler, error) {
	s := Settings{
		Backend:     getenv("WORKER_BACKEND"),
		StripPrefix: getenv("WORKER_STRIP_PREFIX"),
		CA:          getenv("WORKER_BACKEND_CA"),
		Cert:        getenv("WORKER_BACKEND_CERT"),
		Key:         getenv("WORKER_BACKEND_KEY"),
		Protocol:    getenv("WORKER_BACKEND_PROTOCOL"),
	}
	var errs []error
	if v := getenv("WORKER_PRESERVE_HOST"); v != "" {
		var err error
		if s.PreserveHost, err = strconv.ParseBool(v); err != nil {
			errs = append(errs, fmt.Errorf("WORKER_PRESERVE_HOST %q: must be true or false", v))
		}
	}
	if v := getenv("WORKER_BACKEND_CONN_MAX_AGE"); v != "" {
		var err error
		if s.ConnMaxAge, err = time.ParseDuration(v); err != nil {
			errs = append(errs, fmt.Errorf("WORKER_BACKEND_CONN_MAX_AGE %q: must be a duration such as 5m", v))
		}
	}
	h, err := New(s)
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	return h, nil
}

// parseBackend does not repeat the URL in its errors: it may carry a password.
func parseBackend(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case s == "":
		return nil, errors.New("backend: no URL")
	case err != nil:
		return nil, errors.New("backend: not a URL")
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, errors.New("backend: must be http://host or https://host, with port and path if need be")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("backend: a user, query or fragment is not used")
	}
	return u, nil
}

// clientTLS is nil when nothing deviates from the system's roots.
func clientTLS(s Settings) (*tls.Config, error) {
	if (s.Cert == "") != (s.Key == "") {
		return nil, errors.New("client certificate and key: both or neither")
	}
	if s.CA == "" && s.Cert == "" {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CA != "" {
		pem, err := os.ReadFile(s.CA)
		if err != nil {
			return nil, fmt.Errorf("authorities: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("authorities: no certificate in %s", s.CA)
		}
	}
	if s.Cert != "" {
		pair, err := tls.LoadX509KeyPair(s.Cert, s.Key)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
