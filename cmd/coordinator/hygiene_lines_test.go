//go:build linux

package main_test

import (
	"fmt"
	"strings"
)

// lineCorpus is about request lines and field lines (RFC 9112 sections 2, 3, 5).
func lineCorpus() []hostile {
	get := func(field string) string { return asks("GET /x/a", field) }
	const host = "\r\nHost: front.example\r\n\r\n"
	const unsupported = "400; close | 505; close"
	return []hostile{
		{name: "every line with a bare LF", source: "RFC 9112 2.2", wire: "GET /x/a HTTP/1.1\nHost: front.example\n\n", want: refused},
		{name: "request line with a bare LF", source: "RFC 9112 2.2", wire: "GET /x/a HTTP/1.1\nHost: front.example\r\n\r\n", want: refused},
		{name: "field line with a bare LF", source: "RFC 9112 2.2", wire: get("X-A: b\nX-B: c"), want: refused},
		{name: "head that ends with a bare LF", source: "RFC 9112 2.2", wire: "GET /x/a HTTP/1.1\r\nHost: front.example\r\n\n", want: refused},
		{name: "head that ends with LF CR LF", source: "RFC 9112 2.2", wire: "GET /x/a HTTP/1.1\r\nHost: front.example\n\r\n", want: refused},
		{name: "bare CR in a value", source: "RFC 9110 5.5", wire: get("X-A: b\rX-B: c"), want: refused},
		{name: "bare CR before CR LF", source: "RFC 9112 2.2", wire: get("X-A: b\r"), want: refused},
		{name: "bare CR in the request line", source: "RFC 9112 2.2", wire: "GET /x/a\rb HTTP/1.1" + host, want: refused},
		{name: "folded by a blank", source: "RFC 9112 5.2", wire: get("X-A: b\r\n c"), want: refused},
		{name: "folded by a tab", source: "RFC 9112 5.2", wire: get("X-A: b\r\n\tc"), want: refused},
		{name: "folded to nothing", source: "RFC 9112 5.2", wire: get("X-A: b\r\n "), want: refused},
		{name: "folded Host", source: "RFC 9112 5.2; host confusion", wire: "GET /x/a HTTP/1.1\r\nHost:\r\n front.example\r\n\r\n", want: refused},
		{name: "blank before the first field", source: "RFC 9112 2.2", wire: "GET /x/a HTTP/1.1\r\n Host: front.example\r\n\r\n", want: refused},
		{name: "blank before the first of two fields", source: "RFC 9112 2.2", wire: "GET /x/a HTTP/1.1\r\n\tX-A: b" + host, want: refused},
		{name: "blank before a colon", source: "RFC 9112 5.1", wire: get("X-A : b"), want: refused},
		{name: "no colon", source: "RFC 9112 5", wire: get("X-A"), want: refused},
		{name: "no name", source: "RFC 9110 5.1", wire: get(": b"), want: refused},
		{name: "name with a blank", source: "RFC 9110 5.1", wire: get("X A: b"), want: refused},
		{name: "name with parentheses", source: "RFC 9110 5.6.2", wire: get("X(A): b"), want: refused},
		{name: "name with a slash", source: "RFC 9110 5.6.2", wire: get("X/A: b"), want: refused},
		{name: "name with a NUL", source: "RFC 9110 5.1", wire: get("X\x00A: b"), want: refused},
		{name: "name outside ASCII", source: "RFC 9110 5.1", wire: get("X-\xc3\xa9: b"), want: refused},
		{name: "value with a NUL", source: "RFC 9110 5.5", wire: get("X-A: b\x00c"), want: refused},
		{name: "value with a control byte", source: "RFC 9110 5.5", wire: get("X-A: b\x1bc"), want: refused},
		{name: "value with DEL", source: "RFC 9110 5.5", wire: get("X-A: b\x7fc"), want: refused},
		{name: "value with a tab", source: "RFC 9110 5.5", wire: get("X-A: b\tc"), want: "GET /x/a 0"},
		{name: "value outside ASCII", source: "RFC 9110 5.5: obs-text", wire: get("X-A: \xc3\xa9\xff"), want: "GET /x/a 0"},
		{name: "value empty", source: "RFC 9110 5.5", wire: get("X-A:"), want: "GET /x/a 0"},

		{name: "two blanks behind the method", source: "RFC 9112 3", wire: "GET  /x/a HTTP/1.1" + host, want: refused},
		{name: "two blanks behind the target", source: "RFC 9112 3", wire: "GET /x/a  HTTP/1.1" + host, want: refused},
		{name: "tab behind the method", source: "RFC 9112 3", wire: "GET\t/x/a HTTP/1.1" + host, want: refused},
		{name: "blank behind the version", source: "RFC 9112 3", wire: "GET /x/a HTTP/1.1 " + host, want: refused},
		{name: "blank before the method", source: "RFC 9112 3", wire: " GET /x/a HTTP/1.1" + host, want: refused},
		{name: "blank in the target", source: "RFC 9112 3.2", wire: "GET /x/a HTTP/1.1 HTTP/1.1" + host, want: refused},
		{name: "no version", source: "HTTP/0.9", wire: "GET /x/a\r\n\r\n", want: refused},
		{name: "no version, with fields", source: "HTTP/0.9", wire: "GET /x/a" + host, want: refused},
		{name: "version 0.9", source: "RFC 9110 2.5", wire: "GET /x/a HTTP/0.9" + host, want: unsupported},
		{name: "version 1.2", source: "RFC 9110 2.5", wire: "GET /x/a HTTP/1.2" + host, want: unsupported},
		{name: "version 2.0", source: "RFC 9110 15.6.6", wire: "GET /x/a HTTP/2.0" + host, want: unsupported},
		{name: "version 1.10", source: "RFC 9112 2.3", wire: "GET /x/a HTTP/1.10" + host, want: refused},
		{name: "version 1", source: "RFC 9112 2.3", wire: "GET /x/a HTTP/1" + host, want: refused},
		{name: "version in small letters", source: "RFC 9112 2.3", wire: "GET /x/a http/1.1" + host, want: refused},
		{name: "another protocol's version", source: "RFC 9112 2.3", wire: "GET /x/a ICY/1.1" + host, want: refused},
		{name: "method in small letters", source: "RFC 9110 9.1: case-sensitive", wire: "get /x/a HTTP/1.1" + host, want: "get /x/a 0"},
		{name: "method that is no token", source: "RFC 9110 9.1", wire: "GE(T /x/a HTTP/1.1" + host, want: refused},
		{name: "method with a NUL", source: "RFC 9110 9.1", wire: "GET\x00 /x/a HTTP/1.1" + host, want: refused},
		{name: "method empty", source: "RFC 9112 3", wire: " /x/a HTTP/1.1" + host, want: refused},
		{name: "line empty at first", source: "RFC 9112 2.2", wire: "\r\n" + get("X-A: b"), want: refused + " | GET /x/a 0"},
		{name: "lines empty at first, many", source: "RFC 9112 2.2", wire: strings.Repeat("\r\n", 50) + get("X-A: b"), want: refused},
		{name: "TLS on cleartext", source: "RFC 8446 5.1", wire: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", want: refused},
		{name: "SSH", source: "RFC 4253 4.2", wire: "SSH-2.0-OpenSSH_9.6\r\n", want: refused},
		{name: "proxy protocol", source: "PROXY protocol 1", wire: "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + get("X-A: b"), want: refused},
	}
}

// pipelineCorpus is about what follows on the same connection (RFC 9112 section 9).
func pipelineCorpus() []hostile {
	one, two, three := asks("GET /x/1"), asks("GET /x/2"), asks("GET /x/3")
	old := func(target, fields string) string {
		return "GET " + target + " HTTP/1.0\r\nHost: front.example\r\n" + fields + "\r\n"
	}
	settings := asks("GET /x/a", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	return []hostile{
		{name: "three requests", source: "RFC 9112 9.3.2", wire: one + two + three, want: "GET /x/1 0; GET /x/2 0; GET /x/3 0"},
		{name: "requests with and without bodies", source: "RFC 9112 9.3.2", wire: one + posts("hello", "Content-Length: 5") + posts("5\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: chunked") + two, want: "GET /x/1 0; POST /x/a 5; POST /x/a 5; GET /x/2 0"},
		{name: "HEAD first", source: "RFC 9110 9.3.2", wire: asks("HEAD /x/1") + two, want: "HEAD /x/1 0; GET /x/2 0", head: true},
		{name: "a malformed one second", source: "RFC 9112 9.3.2", wire: one + asks("GET /x/2", "X-A : b") + three, want: "GET /x/1 0; 400; close"},
		{name: "an ambiguous one second", source: "RFC 9112 6.1", wire: one + posts("0\r\n\r\n"+smuggled, fmt.Sprint("Content-Length: ", 5+len(smuggled)), "Transfer-Encoding: chunked") + three, want: "GET /x/1 0; 400; close"},
		{name: "a refused one second", source: "RFC 9112 9.3.2", wire: one + asks("GET /x/../2") + three, want: "GET /x/1 0; 400; GET /x/3 0"},
		{name: "close first", source: "RFC 9112 9.6: requests behind it are not processed", wire: asks("GET /x/1", "Connection: close") + two, want: "GET /x/1 0; close"},
		{name: "HTTP/1.0 first", source: "RFC 9112 9.3", wire: old("/x/1", "") + two, want: "GET /x/1 0; close"},
		{name: "HTTP/1.0 kept alive", source: "RFC 9112 C.2.2", wire: old("/x/1", "Connection: keep-alive\r\n") + two, want: "GET /x/1 0; GET /x/2 0"},
		{name: "HTTP/1.0 without Host", source: "RFC 9112 3.2", wire: "GET /x/1 HTTP/1.0\r\n\r\n", want: "GET /x/1 0; close | 400; close"},
		{name: "HTTP/1.0 body without length", source: "RFC 9112 6.3 item 7", wire: "POST /x/1 HTTP/1.0\r\nHost: front.example\r\n\r\n" + smuggled, want: "POST /x/1 0; close"},
		{name: "an empty line between", source: "RFC 9112 2.2", wire: posts("hello\r\n", "Content-Length: 5") + one, want: "POST /x/a 5; GET /x/1 0 | POST /x/a 5; 400; close"},
		{name: "bytes between", source: "RFC 9112 6.3", wire: one + "hello\r\n" + two, want: "GET /x/1 0; 400; close"},
		{name: "a NUL between", source: "RFC 9112 2.2", wire: one + "\x00" + two, want: "GET /x/1 0; 400; close"},
		{name: "HTTP/2 preface second", source: "RFC 9113 3.4; h2 smuggling", wire: one + preface, want: "GET /x/1 0; 400; close | GET /x/1 0; 505; close"},
		{name: "HTTP/2 preface as a body", source: "RFC 9113 3.4", wire: posts(preface, fmt.Sprint("Content-Length: ", len(preface))), want: fmt.Sprint("POST /x/a ", len(preface))},
		{name: "HTTP/2 preface cut short", source: "RFC 9113 3.4", wire: "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", want: "400; close | 505; close"},
		{name: "h2c upgrade", source: "RFC 9113 3.1: obsolete; h2c smuggling (CVE-2020-15710 class)", wire: settings, want: "GET /x/a 0"},
		{name: "h2c upgrade with frames behind it", source: "h2c smuggling", wire: settings + preface, want: "GET /x/a 0; 400; close | GET /x/a 0; 505; close"},
		{name: "h2c upgrade with a body", source: "h2c smuggling", wire: posts(smuggled, "Connection: Upgrade", "Upgrade: h2c", fmt.Sprint("Content-Length: ", len(smuggled))), want: fmt.Sprint("POST /x/a ", len(smuggled))},
		{name: "upgrade to TLS", source: "RFC 2817", wire: asks("GET /x/a", "Connection: Upgrade", "Upgrade: TLS/1.0") + one, want: "GET /x/a 0; GET /x/1 0"},
		{name: "upgrade to WebSocket that is declined", source: "RFC 6455 4.2.2; websocket smuggling", wire: asks("GET /x/a", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 777", "Sec-WebSocket-Key: x") + smuggled, want: "GET /x/a 0; GET /x/smuggled 0 | GET /x/a 0; close"},
		{name: "upgrade to WebSocket or h2c", source: "RFC 9110 7.8", wire: asks("GET /x/a", "Connection: Upgrade", "Upgrade: h2c, websocket"), want: "GET /x/a 0"},
		{name: "upgrade to WebSocket by POST", source: "RFC 6455 4.1", wire: posts("hello", "Connection: Upgrade", "Upgrade: websocket", "Content-Length: 5"), want: "POST /x/a 5"},
		{name: "CONNECT", source: "RFC 9110 9.3.6", wire: "CONNECT front.example:443 HTTP/1.1\r\nHost: front.example:443\r\n\r\n" + one, want: "405; GET /x/1 0 | 405; close"},
		{name: "CONNECT to a path", source: "RFC 9110 9.3.6", wire: asks("CONNECT /x/a") + one, want: "405; GET /x/1 0 | 405; close"},
		{name: "TRACE", source: "RFC 9110 9.3.8; cross-site tracing", wire: asks("TRACE /x/a", "Cookie: session=1") + one, want: "405; GET /x/1 0"},
		{name: "TRACE with Max-Forwards", source: "RFC 9110 7.6.2", wire: asks("TRACE /x/a", "Max-Forwards: 0"), want: "405"},
		{name: "TRACK", source: "cross-site tracing", wire: asks("TRACK /x/a"), want: "TRACK /x/a 0 | 405"},
		{name: "OPTIONS with Max-Forwards", source: "RFC 9110 7.6.2: a proxy's; left to the backend", wire: asks("OPTIONS /x/a", "Max-Forwards: 0"), want: "OPTIONS /x/a 0"},
	}
}
