//go:build linux

package main_test

import (
	"fmt"
	"strings"
)

// posts is a POST with a body as it stands behind its head.
func posts(body string, fields ...string) string { return asks("POST /x/a", fields...) + body }

// refused is the end that ambiguity has.
const refused = "400; close"

// framingCorpus is about where a body ends (RFC 9112 section 6).
func framingCorpus() []hostile {
	const te = "Transfer-Encoding: chunked"
	length := func(n int) string { return fmt.Sprint("Content-Length: ", n) }
	chunked := func(data string) string { return fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(data), data) }
	whole := fmt.Sprintf("POST /x/a %d", len(smuggled))
	all := []hostile{
		{name: "CL.TE", source: "RFC 9112 6.1; request smuggling CL.TE", wire: posts("0\r\n\r\nG", length(6), te), want: refused},
		{name: "CL.TE with a request", source: "RFC 9112 6.3 item 3; CVE-2019-18277 class", wire: posts("0\r\n\r\n"+smuggled, length(5+len(smuggled)), te), want: refused},
		{name: "TE.CL", source: "RFC 9112 6.1; request smuggling TE.CL", wire: posts(chunked(smuggled), te, length(4)), want: refused},
		{name: "TE and CL that agree", source: "RFC 9112 6.1", wire: posts(chunked("hello"), te, length(5)), want: refused},
		{name: "TE with CL 0", source: "RFC 9112 6.1; TE.0", wire: posts(chunked(smuggled), length(0), te), want: refused},
		{name: "TE.TE identity second", source: "request smuggling TE.TE", wire: posts(chunked("hello"), te, "Transfer-Encoding: identity"), want: refused},
		{name: "TE.TE cow", source: "request smuggling TE.TE", wire: posts(chunked("hello"), te, "Transfer-encoding: cow"), want: refused},
		{name: "TE twice", source: "RFC 9112 6.1", wire: posts(chunked("hello"), te, te), want: refused},
		{name: "TE xchunked", source: "request smuggling TE.TE; CVE-2019-16276 class", wire: posts(chunked("hello"), "Transfer-Encoding: xchunked", length(5)), want: refused},
		{name: "TE chunked, identity", source: "RFC 9112 6.3 item 4", wire: posts(chunked("hello"), "Transfer-Encoding: chunked, identity"), want: refused},
		{name: "TE identity, chunked", source: "RFC 9112 6.1", wire: posts(chunked("hello"), "Transfer-Encoding: identity, chunked"), want: refused},
		{name: "TE chunked, chunked", source: "RFC 9112 6.1: not more than once", wire: posts(chunked("hello"), "Transfer-Encoding: chunked, chunked"), want: refused},
		{name: "TE gzip, chunked", source: "RFC 9112 6.1", wire: posts(chunked("hello"), "Transfer-Encoding: gzip, chunked"), want: refused},
		{name: "TE identity with CL", source: "RFC 2616 4.4, gone in RFC 9112", wire: posts("hello", "Transfer-Encoding: identity", length(5)), want: refused},
		{name: "TE with a parameter", source: "RFC 9112 7", wire: posts(chunked("hello"), "Transfer-Encoding: chunked;q=1"), want: refused},
		{name: "TE in quotes", source: "request smuggling TE.TE", wire: posts(chunked("hello"), `Transfer-Encoding: "chunked"`), want: refused},
		{name: "TE empty", source: "RFC 9112 6.1", wire: posts("", "Transfer-Encoding:"), want: refused},
		{name: "TE with a vertical tab", source: "CVE-2019-20372 class; request smuggling TE.TE", wire: posts(chunked("hello"), "Transfer-Encoding: \x0bchunked"), want: refused},
		{name: "TE with a NUL", source: "RFC 9110 5.5", wire: posts(chunked("hello"), "Transfer-Encoding: chunked\x00"), want: refused},
		{name: "TE with a no-break space", source: "request smuggling TE.TE", wire: posts(chunked("hello"), "Transfer-Encoding: chunked\xa0"), want: refused},
		{name: "TE folded", source: "RFC 9112 5.2; obs-fold", wire: posts(chunked("hello"), "Transfer-Encoding:\r\n chunked"), want: refused},
		{name: "TE folded behind another field", source: "RFC 9112 5.2", wire: posts(chunked("hello"), "X-A: b\r\n Transfer-Encoding: chunked", length(10)), want: refused},
		{name: "TE behind a bare LF", source: "RFC 9112 2.2; request smuggling TE.TE", wire: posts(chunked(smuggled), "X-A: b\nTransfer-Encoding: chunked", length(4)), want: refused},
		{name: "TE with a blank before the colon", source: "RFC 9112 5.1; CVE-2019-16869", wire: posts(chunked("hello"), "Transfer-Encoding : chunked", length(5)), want: refused},
		{name: "TE behind a tab", source: "RFC 9112 5.1", wire: posts(chunked("hello"), "\tTransfer-Encoding: chunked"), want: refused},
		{name: "TE with an underscore", source: "CGI confusion; CVE-2021-33197 class", wire: posts("hello", "Transfer_Encoding: chunked", length(5)), want: "POST /x/a 5"},
		{name: "TE in upper case", source: "RFC 9112 7: case-insensitive", wire: posts(chunked("hello"), "TRANSFER-ENCODING: CHUNKED"), want: "POST /x/a 5"},
		{name: "TE behind a tab and blanks", source: "RFC 9112 5.1: OWS", wire: posts(chunked("hello"), "Transfer-Encoding:\t chunked \t"), want: "POST /x/a 5"},
		{name: "TE in HTTP/1.0", source: "RFC 9112 6.1: faulty framing", wire: "POST /x/a HTTP/1.0\r\nHost: front.example\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(smuggled), want: refused},
		{name: "TE and CL in HTTP/1.0", source: "RFC 9112 6.1", wire: "POST /x/a HTTP/1.0\r\nHost: front.example\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello", want: refused},

		{name: "two different CL", source: "RFC 9112 6.3 item 5", wire: posts("hello", length(5), length(6)), want: refused},
		{name: "two equal CL", source: "RFC 9110 8.6", wire: posts("hello", length(5), length(5)), want: refused},
		{name: "CL list of equals", source: "RFC 9110 8.6", wire: posts("hello", "Content-Length: 5, 5"), want: refused},
		{name: "CL list", source: "RFC 9112 6.3 item 5", wire: posts("hello", "Content-Length: 5,6"), want: refused},
		{name: "CL signed", source: "RFC 9110 8.6: 1*DIGIT; CVE-2018-7159", wire: posts("hello", "Content-Length: +5"), want: refused},
		{name: "CL negative", source: "RFC 9110 8.6", wire: posts("hello", "Content-Length: -5"), want: refused},
		{name: "CL in hexadecimal", source: "RFC 9110 8.6", wire: posts("hello", "Content-Length: 0x5"), want: refused},
		{name: "CL with a blank inside", source: "CVE-2018-7159", wire: posts("hello", "Content-Length: 1 5"), want: refused},
		{name: "CL with an underscore inside", source: "number syntax of some languages", wire: posts("hello", "Content-Length: 0_5"), want: refused},
		{name: "CL empty", source: "RFC 9110 8.6", wire: posts("hello", "Content-Length:"), want: refused},
		{name: "CL fraction", source: "RFC 9110 8.6", wire: posts("hello", "Content-Length: 5.0"), want: refused},
		{name: "CL over 63 bits", source: "RFC 9110 8.6: overflow", wire: posts("hello", "Content-Length: 9223372036854775808"), want: refused},
		{name: "CL that wraps to 5", source: "RFC 9110 8.6: overflow", wire: posts("hello", "Content-Length: 18446744073709551621"), want: refused},
		{name: "CL with digits of another script", source: "number syntax of some languages", wire: posts("hello", "Content-Length: \u0665"), want: refused},
		{name: "CL with a blank before the colon", source: "RFC 9112 5.1; CVE-2021-34798 class", wire: posts("hello", "Content-Length : 5"), want: refused},
		{name: "CL with a tab before the colon", source: "RFC 9112 5.1", wire: posts("hello", "Content-Length\t: 5"), want: refused},
		{name: "CL folded", source: "RFC 9112 5.2; 0.CL", wire: posts(smuggled, "Content-Length:\r\n "+fmt.Sprint(len(smuggled))), want: refused},
		{name: "CL of another name", source: "CGI confusion", wire: posts(smuggled, "Content_Length: "+fmt.Sprint(len(smuggled)), "Content-Length: 0"), want: "POST /x/a 0; GET /x/smuggled 0"},
		{name: "CL with leading zeros", source: "RFC 9110 8.6: 1*DIGIT", wire: posts("hello", "Content-Length: 005"), want: "POST /x/a 5 | " + refused},
		{name: "CL among blanks", source: "RFC 9112 5.1: OWS", wire: posts("hello", "Content-Length:  \t 5 \t"), want: "POST /x/a 5"},

		{name: "CL.0", source: "request smuggling CL.0", wire: posts(smuggled, length(len(smuggled))), want: whole},
		{name: "CL.0 on GET", source: "RFC 9110 9.3.1; CL.0", wire: asks("GET /x/a", length(len(smuggled))) + smuggled, want: strings.Replace(whole, "POST", "GET", 1)},
		{name: "chunked on GET", source: "RFC 9110 9.3.1", wire: asks("GET /x/a", te) + chunked(smuggled), want: strings.Replace(whole, "POST", "GET", 1)},
		{name: "body on DELETE", source: "RFC 9110 9.3.5", wire: asks("DELETE /x/a", length(len(smuggled))) + smuggled, want: strings.Replace(whole, "POST", "DELETE", 1)},
		{name: "body on OPTIONS", source: "RFC 9110 9.3.7", wire: asks("OPTIONS /x/a", length(len(smuggled))) + smuggled, want: strings.Replace(whole, "POST", "OPTIONS", 1)},
		{name: "body on HEAD", source: "RFC 9110 9.3.2", wire: asks("HEAD /x/a", length(len(smuggled))) + smuggled, want: strings.Replace(whole, "POST", "HEAD", 1), head: true},
		{name: "body behind a refusal", source: "CL.0 on an error page", wire: asks("POST /x/../a", length(len(smuggled))) + smuggled, want: "400"},
		{name: "chunked body behind a refusal", source: "TE.0 on an error page", wire: asks("POST /x/../a", te) + chunked(smuggled), want: "400"},
		{name: "body behind a path without route", source: "CL.0 on an error page", wire: strings.Replace(asks("POST /nowhere", length(len(smuggled))), hygieneHost, hygieneRoutedHost, 1) + smuggled, want: "404"},
		{name: "body behind TRACE", source: "RFC 9110 9.3.8: no content", wire: asks("TRACE /x/a", length(len(smuggled))) + smuggled, want: "405"},
		{name: "two requests, CL 0", source: "RFC 9112 9.3.2", wire: posts(smuggled, length(0)), want: "POST /x/a 0; GET /x/smuggled 0"},
		{name: "two requests, no framing", source: "RFC 9112 6.3 item 7", wire: posts(smuggled), want: "POST /x/a 0; GET /x/smuggled 0"},
		{name: "Expect with a request in the body", source: "RFC 9110 10.1.1; CL.0 by Expect", wire: posts(smuggled, "Expect: 100-continue", length(len(smuggled))), want: whole},
		{name: "Expect, chunked", source: "RFC 9110 10.1.1", wire: posts(chunked(smuggled), "Expect: 100-continue", te), want: whole},
		{name: "Expect without a body", source: "RFC 9110 10.1.1", wire: asks("GET /x/a", "Expect: 100-continue"), want: "GET /x/a 0"},
		{name: "Expect folded", source: "obfuscated Expect; obs-fold", wire: posts(smuggled, "Expect:\r\n 100-continue", length(len(smuggled))), want: refused},
		{name: "Expect something else", source: "RFC 9110 10.1.1", wire: posts("hello", "Expect: the unexpected", length(5)), want: "417; close | 400; close"},
		{name: "Expect obfuscated", source: "RFC 9110 10.1.1; vanilla Expect desync", wire: posts("hello", "Expect: y 100-continue", length(5)), want: "400 | 417"},
		{name: "Expect twice", source: "RFC 9110 10.1.1", wire: posts("hello", "Expect: 100-continue", "Expect: 100-continue", length(5)), want: "400 | 417 | POST /x/a 5"},
	}
	return all
}

// chunkCorpus is about chunked bodies (RFC 9112 section 7.1).
func chunkCorpus() []hostile {
	body := func(wire string) string { return posts(wire, "Transfer-Encoding: chunked") }
	const end = "0\r\n\r\n"
	return []hostile{
		{name: "chunks", source: "RFC 9112 7.1", wire: body("3\r\nhel\r\n2\r\nlo\r\n" + end), want: "POST /x/a 5"},
		{name: "chunk size in capitals", source: "RFC 9112 7.1: HEXDIG", wire: body("A\r\n0123456789\r\n" + end), want: "POST /x/a 10"},
		{name: "chunk size with zeros", source: "RFC 9112 7.1: 1*HEXDIG", wire: body("0005\r\nhello\r\n" + end), want: "POST /x/a 5 | " + refused},
		{name: "last chunk of many zeros", source: "RFC 9112 7.1: 1*(\"0\")", wire: body("5\r\nhello\r\n0000\r\n\r\n"), want: "POST /x/a 5 | " + refused},
		{name: "chunk extension", source: "RFC 9112 7.1.1", wire: body("5;a=b\r\nhello\r\n" + end), want: "POST /x/a 5"},
		{name: "chunk extension in quotes", source: "RFC 9112 7.1.1", wire: body("5;a=\"b;c\"\r\nhello\r\n0;z\r\n\r\n"), want: "POST /x/a 5"},
		{name: "chunk extension with a bare LF", source: "CVE-2025-22871", wire: body("5;\nhello\r\n" + end), want: refused},
		{name: "chunk extension hides a chunk", source: "CVE-2025-22871 class", wire: body("2;\nxx\r\n" + fmt.Sprintf("%x", len(smuggled)) + "\r\n0\r\n\r\n" + smuggled), want: refused},
		{name: "chunk extension with a bare CR", source: "RFC 9112 7.1.1; TERM.EXT", wire: body("5;a\rb\r\nhello\r\n" + end), want: refused},
		{name: "chunk extension with a NUL", source: "RFC 9112 7.1.1", wire: body("5;a\x00\r\nhello\r\n" + end), want: refused},
		{name: "chunk extension without end", source: "CVE-2023-39326", wire: body("5;" + strings.Repeat("a", 20<<10) + "\r\nhello\r\n" + end), want: refused},
		{name: "many chunk extensions", source: "CVE-2023-39326", wire: body(strings.Repeat("1;"+strings.Repeat("a", 3000)+"\r\nx\r\n", 20) + end), want: refused},
		{name: "chunk size line with a bare LF", source: "RFC 9112 7.1, erratum 7633", wire: body("5\nhello\r\n" + end), want: refused},
		{name: "chunk size line with a bare CR", source: "RFC 9112 7.1", wire: body("5\rhello\r\n" + end), want: refused},
		{name: "chunk size with 0x", source: "CVE-2020-10188 class", wire: body("0x5\r\nhello\r\n" + end), want: refused},
		{name: "chunk size signed", source: "RFC 9112 7.1", wire: body("+5\r\nhello\r\n" + end), want: refused},
		{name: "chunk size negative", source: "RFC 9112 7.1", wire: body("-5\r\nhello\r\n" + end), want: refused},
		{name: "chunk size with a blank behind", source: "RFC 9112 7.1: BWS is for extensions", wire: body("5 \r\nhello\r\n" + end), want: refused},
		{name: "chunk size with a blank before", source: "RFC 9112 7.1", wire: body(" 5\r\nhello\r\n" + end), want: refused},
		{name: "chunk size with an underscore", source: "CVE-2024-6827 class", wire: body("0_5\r\nhello\r\n" + end), want: refused},
		{name: "chunk size that wraps to 5", source: "RFC 9112 7.1: overflow", wire: body("10000000000000005\r\nhello\r\n" + end), want: refused},
		{name: "chunk size of 64 bits", source: "RFC 9112 7.1: overflow", wire: body("FFFFFFFFFFFFFFFF\r\nhello\r\n" + end), want: refused},
		{name: "chunk size missing", source: "RFC 9112 7.1", wire: body("\r\nhello\r\n" + end), want: refused},
		{name: "chunk size of words", source: "RFC 9112 7.1", wire: body("five\r\nhello\r\n" + end), want: refused},
		{name: "chunk shorter than its data", source: "RFC 9112 7.1", wire: body("5\r\nhelloX\r\n" + end), want: refused},
		{name: "chunk without CRLF behind it", source: "RFC 9112 7.1", wire: body("5\r\nhello" + end), want: refused},
		{name: "chunk with LF behind it", source: "RFC 9112 7.1", wire: body("5\r\nhello\n" + end), want: refused},
		{name: "chunk with two bytes behind it", source: "CVE-2022-24766 class", wire: body("5\r\nhelloXX" + end), want: refused},
		{name: "body that ends with a bare LF", source: "RFC 9112 7.1.2", wire: body("5\r\nhello\r\n0\r\n\n"), want: refused},
		{name: "body that ends with a bare CR", source: "RFC 9112 7.1.2", wire: body("5\r\nhello\r\n0\r\n\r"), want: refused},
		{name: "request in a chunk", source: "TE.0", wire: body(fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(smuggled), smuggled)), want: fmt.Sprintf("POST /x/a %d", len(smuggled))},

		{name: "trailer", source: "RFC 9112 7.1.2", wire: posts("5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", "Transfer-Encoding: chunked", "Trailer: X-Sum"), want: "POST /x/a 5"},
		{name: "trailer unannounced", source: "RFC 9112 7.1.2", wire: body("5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"), want: "POST /x/a 5"},
		{name: "trailer announces CL", source: "RFC 9110 6.5.1", wire: posts("5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n", "Transfer-Encoding: chunked", "Trailer: Content-Length"), want: refused},
		{name: "trailer CL", source: "RFC 9110 6.5.1", wire: body("5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n"), want: "POST /x/a 5 | " + refused},
		{name: "trailer TE", source: "RFC 9110 6.5.1; TE.TE in trailers", wire: body("5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n" + smuggled), want: "POST /x/a 5; GET /x/smuggled 0 | " + refused},
		{name: "trailer Host", source: "RFC 9110 6.5.1: routing", wire: body("5\r\nhello\r\n0\r\nHost: evil.example\r\n\r\n"), want: "POST /x/a 5 | " + refused},
		{name: "trailer Authorization", source: "RFC 9110 6.5.1: authentication", wire: body("5\r\nhello\r\n0\r\nAuthorization: Basic eDp5\r\n\r\n"), want: "POST /x/a 5 | " + refused},
		{name: "trailer Cookie", source: "RFC 9110 6.5.1", wire: body("5\r\nhello\r\n0\r\nCookie: session=evil\r\n\r\n"), want: "POST /x/a 5 | " + refused},
		{name: "trailer X-Forwarded-For", source: "RFC 9110 6.5.1; forged client address", wire: body("5\r\nhello\r\n0\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n"), want: "POST /x/a 5 | " + refused},
		{name: "trailer X-Real-IP, announced", source: "RFC 9110 6.5.1; forged client address", wire: posts("5\r\nhello\r\n0\r\nX-Real-IP: 10.0.0.1\r\n\r\n", "Transfer-Encoding: chunked", "Trailer: X-Real-IP"), want: "POST /x/a 5 | " + refused},
		{name: "trailer with an underscore", source: "CGI confusion", wire: body("5\r\nhello\r\n0\r\nX_Tenant: evil\r\n\r\n"), want: "POST /x/a 5 | " + refused},
		{name: "trailer folded", source: "RFC 9112 5.2", wire: body("5\r\nhello\r\n0\r\nX-Sum: 1\r\n 2\r\n\r\n"), want: refused},
		{name: "trailer with a bare LF", source: "RFC 9112 2.2", wire: body("5\r\nhello\r\n0\r\nX-Sum: 1\nX-B: 2\r\n\r\n"), want: refused},
		{name: "trailer without a colon", source: "RFC 9112 5", wire: body("5\r\nhello\r\n0\r\nX-Sum\r\n\r\n"), want: refused},
		{name: "trailer with a blank before the colon", source: "RFC 9112 5.1", wire: body("5\r\nhello\r\n0\r\nX-Sum : 1\r\n\r\n"), want: "400"},
		{name: "trailer of 16 KiB", source: "CVE-2018-12121 class", wire: body("5\r\nhello\r\n0\r\nX-Sum: " + strings.Repeat("1", 16<<10) + "\r\n\r\n"), want: refused},
	}
}
