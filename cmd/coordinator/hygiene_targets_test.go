//go:build linux

package main_test

import (
	"fmt"
	"strings"
)

// hostCorpus is about who is asked (RFC 9112 section 3.2).
func hostCorpus() []hostile {
	hosts := func(values ...string) string {
		head := "GET /x/a HTTP/1.1\r\n"
		for _, v := range values {
			head += "Host: " + v + "\r\n"
		}
		return head + "\r\n"
	}
	all := []hostile{
		{name: "no Host", source: "RFC 9112 3.2", wire: hosts(), want: refused},
		{name: "two Hosts", source: "RFC 9112 3.2", wire: hosts(hygieneHost, "evil.example"), want: refused},
		{name: "two equal Hosts", source: "RFC 9112 3.2", wire: hosts(hygieneHost, hygieneHost), want: refused},
		{name: "Host empty", source: "RFC 9110 4.2.1", wire: hosts(""), want: "GET /x/a 0 | 400"},
		{name: "Host in capitals with a port", source: "RFC 9110 4.2.3", wire: hosts("FRONT.example.:8080"), want: "GET /x/a 0"},
		{name: "Host of IPv6", source: "RFC 9110 7.2", wire: hosts("[2001:db8::1]:80"), want: "GET /x/a 0"},
		{name: "Host and X-Forwarded-Host", source: "host header attacks", wire: asks("GET /x/a", "X-Forwarded-Host: evil.example", "X-Host: evil.example"), want: "GET /x/a 0"},
		{name: "Host with an underscore name beside it", source: "CGI confusion", wire: asks("GET /x/a", "Host_: evil.example"), want: "GET /x/a 0"},

		{name: "absolute target", source: "RFC 9112 3.2.2", wire: asks("GET http://front.example/x/a"), want: "GET /x/a 0"},
		{name: "absolute target in capitals", source: "RFC 9110 4.2.3", wire: asks("GET HTTP://FRONT.EXAMPLE:80/x/a"), want: "GET /x/a 0"},
		{name: "absolute target of another host", source: "RFC 9112 3.2.2; host confusion", wire: asks("GET http://evil.example/x/a"), want: "400"},
		{name: "absolute target of a routed host", source: "RFC 9112 3.2.2; host confusion", wire: asks("GET http://shop.example/shop/a"), want: "400"},
		{name: "absolute target of another port", source: "RFC 9112 3.2.2", wire: asks("GET http://front.example:81/x/a"), want: "400"},
		{name: "absolute target without Host", source: "RFC 9112 3.2", wire: "GET http://front.example/x/a HTTP/1.1\r\n\r\n", want: refused},
		{name: "absolute target with userinfo", source: "RFC 9110 4.2.4", wire: asks("GET http://front.example@evil.example/x/a"), want: "400"},
		{name: "absolute target with a backslash", source: "RFC 3986 3.2", wire: asks(`GET http://front.example\@evil.example/x/a`), want: "400"},
		{name: "absolute target of another scheme", source: "RFC 9112 3.2.2", wire: asks("GET ftp://front.example/x/a"), want: "400"},
		{name: "absolute target of a file", source: "SSRF", wire: asks("GET file:///etc/passwd"), want: "400"},
		{name: "absolute target without a host", source: "RFC 9110 4.2.1", wire: asks("GET http:///x/a"), want: "400"},
		{name: "absolute target without slashes", source: "RFC 3986 3", wire: asks("GET http:x/a"), want: "400"},
		{name: "absolute target with dots", source: "RFC 3986 5.2.4", wire: asks("GET http://front.example/x/../a"), want: "400"},
		{name: "authority target", source: "RFC 9112 3.2.3", wire: asks("GET front.example:80"), want: "400"},
		{name: "asterisk target", source: "RFC 9112 3.2.4", wire: asks("GET *"), want: "400"},
		{name: "asterisk target of OPTIONS", source: "RFC 9112 3.2.4", wire: asks("OPTIONS *"), want: "400"},
		{name: "target without a slash", source: "RFC 9112 3.2.1", wire: asks("GET x/a"), want: "400"},
		{name: "target of a host without scheme", source: "RFC 3986 4.2", wire: asks("GET //evil.example/x/a"), want: "400"},
		{name: "the routed host", source: "RFC 9110 7.2", wire: strings.Replace(asks("GET /shop/a"), hygieneHost, hygieneRoutedHost, 1), want: "GET /shop/a 0"},
		{name: "an unknown host on a host's route", source: "RFC 9110 7.4: misdirected", wire: asks("GET /shop/a"), want: "400"},
		{name: "a host in front of the routed one", source: "RFC 9110 7.4", wire: strings.Replace(asks("GET /shop/a"), hygieneHost, "evil.shop.example", 1), want: "400"},
		{name: "the routed host without route", source: "RFC 9110 15.5.5", wire: strings.Replace(asks("GET /nowhere"), hygieneHost, hygieneRoutedHost, 1), want: "404"},
	}
	for _, bad := range []string{
		"a@front.example", "front.example/x", "front.example?x", "front.example#x", "front.example:80x", "front.example:80:80", "[::1", "::1",
		"front example", "front.example,evil.example", `front.example"`, "<front.example>", "front.example\\x", ":80", "{front}",
	} {
		all = append(all, hostile{name: "Host " + bad, source: "RFC 9110 7.2", wire: hosts(bad), want: "400"})
	}
	return all
}

// targetCorpus is about paths and queries: there is one path that is routed by
// and forwarded, and the query is nobody's business.
func targetCorpus() (all []hostile) {
	for _, path := range []string{
		"/x/.", "/x/..", "/x/../y", "/x/./y", "/x/a/..", "/../x/a", "/x/%2e", "/x/%2E%2e/y", "/x/.%2e/y", "/x/%2e./y", "/x/..;/y", "/x/..;v=1/y", "/x/.;/y",
		"//x/a", "/x//a", "/x/a//", "///x/a", "/x%2fa", "/x/a%2Fb", "/x/..%2fy", "/x/%2e%2e%2fy", "/x/a%5cb", `/x/a\b`, `/x/..\y`, "/x/%2e%2e%5cy",
		"/x/%00", "/x/a%00.png", "/x/a%", "/x/a%2", "/x/%zz", "/x/%u002e%u002e/y", "/x/a#b", "/x/%5c%2e%2e", "/x;/../y", "/xy", "/X/a",
	} {
		all = append(all, hostile{name: "path " + path, source: "RFC 3986 5.2.4, 6.2.2; RFC 9110 4.2.3", wire: asks("GET " + path), want: "400"})
	}
	for _, c := range [][2]string{
		{"/x/%61", "/x/a"}, {"/%78/a", "/x/a"}, {"/x/%7Ea%2Db%5Fc", "/x/~a-b_c"}, {"/x/%41%5a%30", "/x/AZ0"},
		{"/x", "/x"}, {"/x/", "/x/"}, {"/x/a;v=1;w", "/x/a;v=1;w"}, {"/x/...", "/x/..."}, {"/x/..a", "/x/..a"}, {"/x/%252e%252e/y", "/x/%252e%252e/y"},
		{"/x/%c0%ae%c0%ae/y", "/x/%c0%ae%c0%ae/y"}, {"/x/%0d%0aX:%20y", "/x/%0d%0aX:%20y"}, {"/x/%20%23%3f", "/x/%20%23%3f"}, {"/x/é", "/x/é"}, {`/x/"<>[]{}|^'`, `/x/"<>[]{}|^'`},
		{"/x/a?", "/x/a?"}, {"/x/a?b?c=/d//e/../f", "/x/a?b?c=/d//e/../f"}, {"/x/a?a;b=c&d=%zz&%", "/x/a?a;b=c&d=%zz&%"}, {`/x/a?%2f=%2F&a=\..\`, `/x/a?%2f=%2F&a=\..\`},
		{"/x/a?%00&%0d%0a", "/x/a?%00&%0d%0a"}, {"/x/a?a[]=1&a[]=2&é={}", "/x/a?a[]=1&a[]=2&é={}"}, {"/x/a?b=http://evil.example/", "/x/a?b=http://evil.example/"},
		{"/x/a?" + strings.Repeat("p=1&", 4000), "/x/a?" + strings.Repeat("p=1&", 4000)},
	} {
		name := "target " + c[0]
		all = append(all, hostile{name: name[:min(len(name), 60)], source: "RFC 9110 4.2.3, RFC 3986 6.2.2.2", wire: asks("GET " + c[0]), want: "GET " + c[1] + " 0"})
	}
	for _, path := range []string{"/raw/a/../b", "/raw//a", "/raw/a%2fb", "/raw/a%5Cb", `/raw/a\b`, "/raw/./a", "/raw/%61", "/raw/a//"} {
		all = append(all, hostile{name: "path " + path, source: "PATH=raw: as it was sent", wire: asks("GET " + path + "?q"), want: "GET " + strings.Replace(path, "%61", "a", 1) + "?q 0"})
	}
	for _, path := range []string{"/raw/..", "/raw/../x/a", "/raw/%2e%2e/x/a", "/raw/..%2fx/a", "/raw/..%5cx/a", `/raw/..\x/a`, "/raw/a/../../x/a", "/raw/a%2f../../x/a", "/raw/..;/x/a", "/raw//../../x/a", "/raw/%00"} {
		all = append(all, hostile{name: "path " + path, source: "PATH=raw: not out of the route", wire: asks("GET " + path), want: "400"})
	}
	return append(all,
		hostile{name: "number sign in the query", source: "RFC 9112 3.2", wire: asks("GET /x/a?b#c"), want: "GET /x/a?b#c 0 | 400"},
		hostile{name: "control byte in the query", source: "RFC 9112 3.2", wire: asks("GET /x/a?b\x01c"), want: "400"},
		hostile{name: "DEL in the query", source: "RFC 9112 3.2", wire: asks("GET /x/a?b\x7f"), want: "400"},
		hostile{name: "NUL in the path", source: "RFC 9112 3.2", wire: asks("GET /x/a\x00b"), want: "400"},
	)
}

// fieldCorpus is about fields that would change who is believed, and what of
// the request reaches the backend (RFC 9110 section 7.6).
func fieldCorpus() (all []hostile) {
	for _, field := range []string{
		"X-Forwarded-For: 10.0.0.1", "x-forwarded-for: 10.0.0.1, 10.0.0.2", "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-For: 10.0.0.1", "X-FORWARDED-PROTO: https",
		"X-Forwarded-Host: evil.example", "X-Forwarded-Port: 1", "X-Forwarded-Prefix: /admin", "X-Forwarded-Server: evil", "X-Forwarded-Anything: x", "X-Forwarded-: x",
		"Forwarded: for=10.0.0.1;proto=https", "Forwarded: for=127.0.0.1;\r\nForwarded: for=10.0.0.1", "X-Real-IP: 10.0.0.1",
		"X_Forwarded_For: 10.0.0.1", "X_Real_IP: 10.0.0.1", "X-Forwarded_For: 10.0.0.1", "x_tenant: evil", "_: x", "Content_Type: text/html",
		"X-Request-Id: a b", `X-Request-Id: a", "reason":"x`, "X-Request-Id: a\r\nX-Request-Id: b", "X-Request-Id: " + strings.Repeat("a", 200),
		"Keep-Alive: timeout=1000", "Proxy-Connection: keep-alive", "Proxy-Authorization: Basic eDp5", "HTTP2-Settings: AAMAAABk", "Upgrade: h2c", "Upgrade: websocket",
		"TE: gzip", "TE: trailers, gzip;q=0.5", "Trailer: X-Sum", "Via: 1.0 evil", "Max-Forwards: 0",
		"Connection: keep-alive, TE\r\nTE: trailers", "Connection: ,, ,", "Connection: Keep-Alive\r\nConnection: keep-alive",
		"Connection: Upgrade, Upgrade\r\nUpgrade: WebSocket\r\nUpgrade: h2c", "Range: bytes=0-", "Accept-Encoding: x;q=2", "X-HTTP-Method-Override: DELETE", "Content-Type: application/x\r\nContent-Type: text/html",
	} {
		all = append(all, hostile{name: "field " + field[:min(len(field), 60)], source: "RFC 9110 7.6; RFC 7239 8.1", wire: asks("GET /x/a", field), want: "GET /x/a 0"})
	}
	for _, named := range []string{
		"Authorization", "close, X-Tenant", "X-Forwarded-For", "Cookie", "Host", "X-Request-Id", "keep-alive,X-Real-IP", `"close"`, "close X-Tenant", "Content-Type", "Set-Cookie", "*", "Forwarded", "x_tenant", "close;x",
	} {
		all = append(all, hostile{name: "Connection: " + named, source: "RFC 9110 7.6.1; hop-by-hop abuse (CVE-2021-33197)", wire: asks("GET /x/a", "Authorization: Basic eDp5", "X-Tenant: edx", "Connection: "+named), want: "400"})
	}
	for _, named := range []string{"Content-Length", "Transfer-Encoding", "Expect"} {
		all = append(all, hostile{name: "Connection: " + named + " with a body", source: "RFC 9110 7.6.1; framing dropped by name", wire: posts(smuggled, fmt.Sprint("Content-Length: ", len(smuggled)), "Connection: "+named), want: "400"})
	}
	return all
}

// sizeCorpus is about what is too large to be taken.
func sizeCorpus() []hostile {
	filler := func(n int) string { return strings.Repeat("a", n) }
	hundred := strings.Repeat("X-F: y\r\n", 99)
	return []hostile{
		{name: "target of 16 KiB", source: "RFC 9110 15.5.15", wire: asks("GET /x/" + filler(16<<10-3)), want: "GET /x/" + filler(16<<10-3) + " 0"},
		{name: "target over 16 KiB", source: "RFC 9110 15.5.15", wire: asks("GET /x/" + filler(16<<10)), want: "414"},
		{name: "query over 16 KiB", source: "RFC 9110 15.5.15", wire: asks("GET /x/a?" + filler(32<<10)), want: "414"},
		{name: "target of 200 KiB", source: "RFC 9110 15.5.15", wire: asks("GET /x/" + filler(200<<10)), want: "431; close | 414; close"},
		{name: "100 fields", source: "RFC 6585 5", wire: asks("GET /x/a", hundred[:len(hundred)-2], "X-G: y"), want: "GET /x/a 0"},
		{name: "101 fields", source: "RFC 6585 5", wire: asks("GET /x/a", hundred+"X-G: y", "X-H: y"), want: "431"},
		{name: "10,000 fields", source: "RFC 6585 5; CVE-2023-24534 class", wire: asks("GET /x/a", strings.Repeat("A:b\r\n", 10_000)+"X-G: y"), want: "431"},
		{name: "a value of 60 KiB", source: "RFC 6585 5", wire: asks("GET /x/a", "Cookie: "+filler(60<<10)), want: "GET /x/a 0"},
		{name: "a value over 64 KiB", source: "RFC 6585 5", wire: asks("GET /x/a", "Cookie: "+filler(65<<10)), want: "431"},
		{name: "a name over 64 KiB", source: "RFC 6585 5", wire: asks("GET /x/a", filler(65<<10)+": x"), want: "431"},
		{name: "a head of 200 KiB", source: "RFC 6585 5", wire: asks("GET /x/a", "Cookie: "+filler(200<<10)), want: "431; close"},
		{name: "underscored fields of 80 KiB", source: "RFC 6585 5", wire: asks("GET /x/a", "X_A: "+filler(80<<10)), want: "431"},
		{name: "an Expect of 60 KiB", source: "RFC 9110 10.1.1", wire: asks("GET /x/a", "Expect: "+filler(60<<10)), want: "417; close | 400; close"},
	}
}
