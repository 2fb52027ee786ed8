// Package framing follows the HTTP/1 requests in the bytes that a server reads
// from a connection, and refuses those whose beginning or end two readers could
// see in different places (RFC 9112 sections 2.2, 5, 6, 7.1 and 11.2).
//
// net/http settles such ambiguities silently: it drops a Content-Length beside
// chunked, takes two equal Content-Lengths for one, unfolds fields, accepts bare
// line feeds, and a handler never learns of it. A proxy or a backend that
// settles one of them otherwise sees another request in the same bytes. A Guard
// stands under the server and stops there instead.
//
// # What passes
//
// A request line of three parts with one space between, in HTTP/1.0 or HTTP/1.1;
// fields of a token, a colon and text; CRLF after each line; then no body, the
// one that a single Content-Length of digits announces, or one in chunks, that a
// single Transfer-Encoding of "chunked" announces and trailers end. Requests may
// follow each other without waiting (RFC 9112 section 9.3.2). What passes is not
// changed. A Guard knows framing only: methods, targets and the number of fields
// are the business of who handles the request. The one exception is a target in
// absolute form, which has to name the same host as Host: net/http forgets the
// latter, so nobody behind it could compare them.
//
// A Guard steps aside for good when HTTP/2 begins (the preface of prior
// knowledge, RFC 9113 section 3.3), and when it is told that the connection has
// left HTTP/1.
//
// # How it is built
//
// Follow is a state machine that stops and goes on at any byte, since a read can
// end anywhere. It keeps no bytes but the beginning of a field name that a read
// cut in two. Most field lines lie whole in what was read and say nothing about
// framing; these are passed eight bytes at a time. Nothing is allocated, but for a
// target in absolute form.
package framing
