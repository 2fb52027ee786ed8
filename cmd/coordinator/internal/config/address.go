package config

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// maxSocketPath keeps a unix socket's path, with its NUL, inside the 104 bytes
// of sun_path on the smaller of our systems (darwin; Linux has 108).
const maxSocketPath = 100

// listeners are the front's addresses.
type listeners []string

func (l *listeners) UnmarshalText(text []byte) error {
	*l = nil
	return each(text, func(word string) error {
		*l = append(*l, word)
		return listener(word)
	})
}

func listener(word string) error {
	path, isUnix := strings.CutPrefix(word, "unix:")
	name, isNamed := strings.CutPrefix(word, "systemd:")
	switch {
	case isUnix && path == "":
		return errors.New("want unix: with a path")
	case isUnix && len(path) > maxSocketPath:
		return fmt.Errorf("a socket path of %d bytes; want at most %d", len(path), maxSocketPath)
	case isNamed && name == "":
		return errors.New("want systemd: with the FileDescriptorName of a socket unit")
	case isUnix, isNamed, word == "systemd":
		return nil
	}
	if !IsHostPort(word) {
		return fmt.Errorf("%q is none; want HOST:PORT, unix:PATH, systemd or systemd:NAME", word)
	}
	return nil
}

// IsHostPort reports whether word can be listened on: the host may be empty, for
// all addresses, and the port 0, for any.
func IsHostPort(word string) bool {
	_, port, err := net.SplitHostPort(word)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// A hostPort is one TCP address to listen on, or empty for "off".
type hostPort string

func (h *hostPort) UnmarshalText(text []byte) error {
	*h = ""
	if string(text) == off {
		return nil
	}
	if !IsHostPort(string(text)) {
		return errors.New("want off or HOST:PORT, such as 127.0.0.1:9901")
	}
	*h = hostPort(text)
	return nil
}

// A token is what can be sent as it stands in an Authorization field (RFC 6750
// section 2.1: visible ASCII).
type token string

func (t *token) UnmarshalText(text []byte) error {
	for _, c := range text {
		if c <= ' ' || c > '~' {
			return errors.New("want printable ASCII without spaces: it travels in a header field")
		}
	}
	*t = token(text)
	return nil
}

// A socketPath is where a unix socket can be made.
type socketPath string

func (s *socketPath) UnmarshalText(text []byte) error {
	if len(text) > maxSocketPath {
		return fmt.Errorf("a path of %d bytes; want at most %d", len(text), maxSocketPath)
	}
	*s = socketPath(text)
	return nil
}

// A backend is the URL of the service that a worker calls.
type backend string

func (b *backend) UnmarshalText(text []byte) error {
	u, err := url.Parse(string(text))
	switch {
	case strings.Contains(string(text), "@"):
		return errors.New("want no user name or password in the URL: secrets belong in BULKHEAD_X_ENV_*")
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "":
		return errors.New("want an http or https URL with a host, such as http://127.0.0.1:8000/base")
	case strings.ContainsAny(string(text), "?#"):
		return errors.New("want a URL without query and fragment")
	case !isPort(u.Port(), strings.HasSuffix(u.Host, ":")):
		return errors.New("want a port from 1 to 65535")
	}
	*b = backend(text)
	return nil
}

func isPort(port string, missing bool) bool {
	if port == "" {
		return !missing
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// webOrigins are origins as browsers send them (RFC 6454 section 6.2).
type webOrigins []string

func (o *webOrigins) UnmarshalText(text []byte) error {
	*o = nil
	return each(bytes.ToLower(text), func(word string) error {
		if word == "*" || word == "null" {
			return fmt.Errorf("%s would let any page read answers made for a signed-in user; want origins by name", word)
		}
		u, err := url.Parse(word)
		if err != nil || u.Scheme+"://"+u.Host != word || u.Hostname() == "" ||
			(u.Scheme != "http" && u.Scheme != "https") || !isPort(u.Port(), strings.HasSuffix(u.Host, ":")) {
			return fmt.Errorf("%q is none; want origins, such as https://shop.example, without path or slash", withoutUserinfo(word))
		}
		*o = append(*o, word)
		return nil
	})
}
