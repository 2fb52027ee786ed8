// Package target is the backend of a worker as its supervisor describes it: the
// settings BULKHEAD_X_BACKEND, _BACKEND_*, _STRIP_PREFIX and _HOST_HEADER, which
// reach the worker as WORKER_*. The built-in workers read them here, and so can a
// worker of anybody's:
//
//	s, err := target.FromEnv(os.Getenv)
//	...
//	t, err := target.New(s)
//	...
//	resp, err := t.RoundTrip(t.Request(r.Context(), r, t.At("/api/v2/orders/")))
package target

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"commerce.example/coordinator/ipc/backend"
)

// Settings is all that a worker is told of its backend.
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

// FromEnv is the settings that a supervisor hands its workers: the variables
// WORKER_BACKEND, WORKER_STRIP_PREFIX, WORKER_PRESERVE_HOST (a boolean),
// WORKER_BACKEND_CA, WORKER_BACKEND_CERT, WORKER_BACKEND_KEY,
// WORKER_BACKEND_PROTOCOL and WORKER_BACKEND_CONN_MAX_AGE (such as 5m), read with
// getenv. The error names every one that cannot be read; the settings hold the
// others, so that New can name what else is wrong.
func FromEnv(getenv func(string) string) (Settings, error) {
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
	return s, errors.Join(errs...)
}

// New opens no connection yet. Errors name every setting that is wrong.
func New(s Settings) (*Target, error) {
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
	return &Target{
		Transport:    &backend.Transport{TLS: secure, Protocol: protocol, ConnMaxAge: s.ConnMaxAge},
		scheme:       base.Scheme,
		host:         base.Host,
		base:         strings.TrimRight(base.EscapedPath(), "/"),
		strip:        strings.TrimRight(s.StripPrefix, "/"),
		preserveHost: s.PreserveHost,
	}, nil
}

var protocols = map[string]backend.Protocol{
	"": backend.Auto, "auto": backend.Auto, "http1": backend.HTTP1, "http2": backend.HTTP2,
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
