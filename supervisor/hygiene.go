package supervisor

import (
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

var (
	refuseMethodToken = badRequest("The method is not a token.")
	refuseLength      = badRequest("The Content-Length is not one number, or not that of the body.")
	refuseMethod      = &Refusal{ReasonBadRequest, http.StatusMethodNotAllowed, "The coordinator does not take this method."}
	refuseExpect      = badRequest("The request expects something other than 100-continue.")
	refuseConnection  = badRequest("The Connection field names a field that is not the connection's.")
	refuseHost        = badRequest("The Host is not a host name or address with an optional port.")
	refuseOtherHost   = badRequest("The request target and the Host field name different hosts.")
	refuseUnknownHost = badRequest("No route is for this Host.")
	refuseNoRoute     = &Refusal{ReasonNoRoute, http.StatusNotFound, reasonTable[ReasonNoRoute].detail}
)

// Route is the whole of the front's hygiene and routing: it checks and cleans r,
// finds its route and makes the canonical target the one of r. A clean request
// costs no allocation. When it refuses, r is good for logging only.
func (rt *Router) Route(r *http.Request) (*RouteTo, *Refusal) {
	if refusal := CheckRequest(r, rt.limits); refusal != nil {
		return nil, refusal
	}
	target, refusal := ParseTarget(r)
	if refusal != nil {
		return nil, refusal
	}
	route := rt.Match(r.Method, r.Host, target.Path)
	path, refusal := target.For(route)
	switch {
	case refusal != nil:
		return nil, refusal // also where no route is: what a path may be does not depend on the routes
	case route == nil && !rt.KnownHost(r.Host):
		return nil, refuseUnknownHost
	case route == nil:
		return nil, refuseNoRoute
	}
	target.Apply(r, path)
	return route, nil
}

// CheckRequest refuses what no route may take, and takes away from r what may
// not go further: fields with an underscore in their name, which CGI-like
// backends confuse with those that have a hyphen, and upgrades other than to
// WebSocket. The path is the business of ParseTarget.
func CheckRequest(r *http.Request, limits HeadLimits) *Refusal {
	switch {
	case r.Method == http.MethodConnect, r.Method == http.MethodTrace:
		return refuseMethod
	case !httpguts.ValidHeaderFieldName(r.Method): // net/http lets any bytes be one in HTTP/2
		return refuseMethodToken
	case len(r.RequestURI) > limits.TargetBytes:
		return limits.refuseTarget()
	case !lengthHolds(r):
		return refuseLength
	}
	fields, size := 0, 0
	for name, values := range r.Header {
		fields += len(values)
		for _, value := range values {
			size += len(name) + len(value) + 4
		}
		if strings.IndexByte(name, '_') >= 0 {
			delete(r.Header, name)
		}
	}
	switch {
	case fields > limits.Fields:
		return limits.refuseFieldCount()
	case size > limits.FieldBytes:
		return limits.refuseFieldBytes()
	case !validHost(r.Host):
		return refuseHost
	case !connectionOptionsOnly(r.Header["Connection"]):
		return refuseConnection
	case !expectsContinueOnly(r.Header["Expect"]):
		return refuseExpect
	}
	// HTTP/2 has its :authority in r.Host and leaves a Host field beside it.
	if hosts := r.Header["Host"]; len(hosts) > 0 {
		if len(hosts) > 1 || !SameHost(scheme(r), hosts[0], r.Host) {
			return refuseOtherHost
		}
		delete(r.Header, "Host")
	}
	if r.Header["Upgrade"] != nil {
		settleUpgrade(r)
	}
	return nil
}

// lengthHolds reports whether the Content-Length of r is one number, and that of
// the body. For HTTP/2 net/http takes the first of several, takes what is no
// number for 0, and does not hold it against a head that ends its stream; to
// pass such a message on is what RFC 9113 section 8.1.1 forbids. How many bytes
// come then it counts itself.
func lengthHolds(r *http.Request) bool {
	values := r.Header["Content-Length"]
	if r.ProtoMajor < 2 || len(values) == 0 {
		return true
	}
	n, err := strconv.ParseUint(values[0], 10, 63)
	return err == nil && len(values) == 1 && int64(n) == r.ContentLength
}

// IsUpgrade reports whether r, which CheckRequest passed, asks for a WebSocket.
func IsUpgrade(r *http.Request) bool { return r.Header["Upgrade"] != nil }

// settleUpgrade leaves the Upgrade field only where it makes a WebSocket
// handshake (RFC 6455 section 4.1), and then names nothing else in it. Above all
// h2c goes: behind it a client would speak to the backend past all routing.
func settleUpgrade(r *http.Request) {
	websocket := r.Method == http.MethodGet && r.ProtoMajor == 1 && r.ProtoMinor >= 1 &&
		r.ContentLength == 0 && hasToken(r.Header["Connection"], "upgrade") && hasToken(r.Header["Upgrade"], "websocket")
	if !websocket {
		delete(r.Header, "Upgrade")
		return
	}
	if values := r.Header["Upgrade"]; len(values) > 1 || values[0] != "websocket" {
		r.Header["Upgrade"] = []string{"websocket"}
	}
}

// connectionOptionsOnly reports whether a Connection field names nothing but
// what belongs to a connection. A proxy removes what it names (RFC 9110 section
// 7.6.1), so any other name would let a client have Authorization or a tenant
// removed behind the coordinator's back.
func connectionOptionsOnly(values []string) bool {
	for _, value := range values {
		for more := true; more; {
			var option string
			option, value, more = strings.Cut(value, ",")
			option = trimSpace(option)
			switch {
			case option == "", asciiEqualFold(option, "close"), asciiEqualFold(option, "keep-alive"),
				asciiEqualFold(option, "upgrade"), asciiEqualFold(option, "te"), asciiEqualFold(option, "trailer"),
				asciiEqualFold(option, "trailers"), asciiEqualFold(option, "http2-settings"),
				asciiEqualFold(option, "proxy-connection"):
			default:
				return false
			}
		}
	}
	return true
}

// expectsContinueOnly reports whether an Expect field is what RFC 9110 section
// 10.1.1 defines. net/http finds the word anywhere in it, in HTTP/1 it answers
// 417 to the rest, in HTTP/2 nothing: one that it takes for an expectation and a
// backend does not puts the two out of step.
func expectsContinueOnly(values []string) bool {
	return len(values) == 0 || len(values) == 1 && (values[0] == "" || asciiEqualFold(trimSpace(values[0]), "100-continue"))
}

// splitAbsolute takes an absolute-form target apart (RFC 9112 section 3.2.2).
func splitAbsolute(target string) (scheme, authority, rest string, ok bool) {
	scheme, rest, ok = strings.Cut(target, "://")
	if !ok || !asciiEqualFold(scheme, "http") && !asciiEqualFold(scheme, "https") {
		return "", "", "", false
	}
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	return scheme, rest[:end], rest[end:], end > 0
}

// checkAuthority holds the host of an absolute target against the Host of r.
func checkAuthority(r *http.Request, scheme, authority string) *Refusal {
	if !validHost(authority) { // userinfo, too: RFC 9110 section 4.2.4
		return refuseHost
	}
	if !SameHost(scheme, authority, r.Host) {
		return refuseOtherHost
	}
	for _, host := range r.Header["Host"] {
		if !SameHost(scheme, authority, host) {
			return refuseOtherHost
		}
	}
	return nil
}

// SameHost reports whether two authorities of a scheme are one: RFC 9110 section
// 4.2.3, and the dot of the root does not count.
func SameHost(scheme, a, b string) bool {
	return asciiEqualFold(hostName(a), hostName(b)) && portOf(a, scheme) == portOf(b, scheme)
}

// portOf is the port that host names, or else that of the scheme.
func portOf(host, scheme string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && i+1 < len(host) && host[len(host)-1] != ']' {
		return host[i+1:]
	}
	if asciiEqualFold(scheme, "https") {
		return "443"
	}
	return "80"
}

func scheme(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	return "http"
}

// validHost holds a Host to uri-host [":" port], RFC 9110 section 7.2. net/http
// lets more through, and the host is quoted to backends that build links of it.
// An empty one is valid: a target without authority has it.
func validHost(host string) bool {
	name, port := host, ""
	if strings.HasPrefix(host, "[") {
		end := strings.IndexByte(host, ']')
		if end < 0 || strings.Trim(host[1:end], "0123456789abcdefABCDEF:.") != "" {
			return false
		}
		name, port = "", host[end+1:]
	} else if i := strings.IndexByte(host, ':'); i >= 0 {
		name, port = host[:i], host[i:]
		if name == "" {
			return false
		}
	}
	for i := range len(name) {
		if c := name[i]; !unreserved(c) && strings.IndexByte("%!$&'()*+;=", c) < 0 {
			return false
		}
	}
	if port == "" {
		return true
	}
	return port[0] == ':' && strings.Trim(port[1:], "0123456789") == ""
}

// hasToken reports whether a list field has token among its elements.
func hasToken(values []string, token string) bool {
	for _, value := range values {
		for more := true; more; {
			var element string
			element, value, more = strings.Cut(value, ",")
			if asciiEqualFold(trimSpace(element), token) {
				return true
			}
		}
	}
	return false
}

func trimSpace(s string) string { return strings.Trim(s, " \t") }

// asciiEqualFold compares without regard to case. strings.EqualFold would take
// the Kelvin sign for a k.
func asciiEqualFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lowerASCII(a[i]) != lowerASCII(b[i]) {
			return false
		}
	}
	return true
}

func lowerASCII(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
