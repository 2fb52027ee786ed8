//go:build linux

package main_test

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// A hostileH2 is what one client writes on one HTTP/2 connection.
type hostileH2 struct {
	name   string
	source string
	fields []string // of stream 1
	body   string   // behind them; "" ends the stream with the head
	ends   []string // the trailers; nil: none
	write  func(*h2conn)
	sent   string // what the backend may have got all the same: the head was well
	// What comes of stream 1, as in hostile, or "RST"; "GOAWAY": the connection
	// is over. Others are separated by " | ".
	want string
}

// TestHygieneHTTP2 is TestHygieneCorpus for HTTP/2: what is malformed there must
// not be made a request of HTTP/1.1 (RFC 9113 section 8.1.1).
func TestHygieneHTTP2(t *testing.T) {
	s, r := hygieneSite(t)
	bystander := s.bystander(t)
	corpus := slices.Concat(pseudoCorpus(), messageCorpus(), frameCorpus())
	for _, c := range corpus {
		c.try(t, s, r)
		bystander.ask(r)
	}
	if _, faults := r.since(0); len(faults) > 0 {
		t.Errorf("the backend got %q", faults)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	t.Logf("%d entries; the backend got %d requests on %d connections, %d broke off", len(corpus), len(r.seen), r.conns, r.cut)
}

func (c *hostileH2) try(t *testing.T, s *site, r *recorder) {
	t.Helper()
	before := func() int { r.mu.Lock(); defer r.mu.Unlock(); return len(r.seen) }()
	conn := s.dialH2(t)
	defer conn.nc.Close()
	if c.write != nil {
		c.write(conn)
	} else {
		conn.ask(1, c.body == "" && c.ends == nil, c.fields...)
		if c.body != "" {
			conn.wrote(conn.fr.WriteData(1, c.ends == nil, []byte(c.body)))
		}
		if c.ends != nil {
			conn.ask(1, true, c.ends...)
		}
	}
	const after = 99
	conn.ask(after, true, asksH2("GET", "/x/after")...)
	got, gone := conn.answers(1, after)
	word, want := got[1].word(), strings.Split(c.want, " | ")
	if gone {
		word = "GOAWAY"
	}
	seen, faults := r.since(before)
	if len(faults) > 0 {
		r.mu.Lock()
		r.faults = nil
		r.mu.Unlock()
		t.Errorf("%s (%s): the backend got %q", c.name, c.source, faults)
	}
	if !slices.Contains(want, word) {
		t.Errorf("%s (%s): got %q, want %q", c.name, c.source, word, c.want)
	}
	if gone {
		return // what the backend still got of the others is not this connection's to tell
	}
	if last := got[after].word(); last != afterwardsSeen {
		t.Errorf("%s (%s): the stream behind it got %q", c.name, c.source, last)
	}
	seen = slices.DeleteFunc(seen, func(s string) bool { return s == afterwardsSeen })
	if c.sent != "" && slices.Equal(seen, []string{c.sent}) {
		return
	}
	if passed := got[1].seen; passed == "" && len(seen) > 0 || passed != "" && !slices.Equal(seen, []string{passed}) {
		t.Errorf("%s (%s): the client was answered for %q, the backend got %q", c.name, c.source, passed, seen)
	}
}

// pseudoCorpus is about pseudo-header fields (RFC 9113 section 8.3).
func pseudoCorpus() []hostileH2 {
	get := asksH2("GET", "/x/a")
	path := func(path string) []string { return asksH2("GET", path) }
	const malformed = "RST | 400 | 400 RST" // the last: more came behind the head
	return []hostileH2{
		{name: "a request", source: "RFC 9113 8.3.1", fields: get, want: "GET /x/a 0"},
		{name: "a body", source: "RFC 9113 8.1", fields: asksH2("POST", "/x/a"), body: "hello", want: "POST /x/a 5"},
		{name: "two :path", source: "RFC 9113 8.3: not repeated", fields: append(path("/x/a"), ":path", "/x/smuggled"), want: malformed},
		{name: "two :method", source: "RFC 9113 8.3", fields: append([]string{":method", "POST"}, get...), want: malformed},
		{name: "two :authority", source: "RFC 9113 8.3", fields: append([]string{":authority", "evil.example"}, get...), want: malformed},
		{name: "two :scheme", source: "RFC 9113 8.3", fields: append([]string{":scheme", "https"}, get...), want: malformed},
		{name: "no :path", source: "RFC 9113 8.3.1", fields: []string{":method", "GET", ":scheme", "http", ":authority", hygieneHost}, want: malformed},
		{name: "no :method", source: "RFC 9113 8.3.1", fields: []string{":path", "/x/a", ":scheme", "http", ":authority", hygieneHost}, want: malformed},
		{name: "no :scheme", source: "RFC 9113 8.3.1", fields: []string{":method", "GET", ":path", "/x/a", ":authority", hygieneHost}, want: malformed},
		{name: ":path empty", source: "RFC 9113 8.3.1", fields: path(""), want: malformed},
		{name: ":path without a slash", source: "RFC 9113 8.3.1", fields: path("x/a"), want: malformed},
		{name: ":path absolute", source: "RFC 9113 8.3.1: path and query only", fields: path("http://" + hygieneHost + "/x/a"), want: malformed},
		{name: ":path absolute of another host", source: "RFC 9113 8.3.1", fields: path("http://evil.example/x/a"), want: malformed},
		{name: ":path of a host", source: "RFC 3986 4.2", fields: path("//evil.example/x/a"), want: malformed},
		{name: ":path asterisk", source: "RFC 9113 8.3.1", fields: path("*"), want: malformed},
		{name: ":path with a request line", source: "H2.X request splitting (CVE-2021-33193)", fields: path("/x/a HTTP/1.1\r\nHost: evil.example\r\n\r\nGET /x/smuggled"), want: malformed},
		{name: ":path with a blank", source: "request line injection", fields: path("/x/a HTTP/1.1"), want: malformed},
		{name: ":path with a fragment", source: "RFC 9113 8.3.1", fields: path("/x/a#b"), want: malformed},
		{name: ":path with dots", source: "RFC 3986 5.2.4", fields: path("/x/../a"), want: malformed},
		{name: ":path with an escaped slash", source: "RFC 3986 6.2.2", fields: path("/x/..%2fa"), want: malformed},
		{name: ":path canonical", source: "RFC 3986 6.2.2.2", fields: path("/%78/%61?%61;b"), want: "GET /x/a?%61;b 0"},
		{name: ":method with a request line", source: "CVE-2021-33193 (mod_proxy)", fields: asksH2("GET /x/smuggled HTTP/1.1\r\nHost: x\r\n\r\nGET", "/x/a"), want: malformed},
		{name: ":method with a blank", source: "CVE-2021-33193 class", fields: asksH2("GET /x/smuggled", "/x/a"), want: malformed},
		{name: ":method empty", source: "RFC 9110 9.1", fields: asksH2("", "/x/a"), want: malformed},
		{name: ":method with a colon", source: "RFC 9110 9.1", fields: asksH2("GET:", "/x/a"), want: malformed},
		{name: ":method with bytes outside ASCII", source: "RFC 9110 9.1", fields: asksH2("G\xc3\xa9T", "/x/a"), want: malformed},
		{name: ":scheme of another kind", source: "RFC 9113 8.3.1", fields: append([]string{":method", "GET", ":scheme", "ftp"}, get[4:]...), want: malformed},
		{name: ":scheme with a URL", source: "H2 scheme injection", fields: append([]string{":method", "GET", ":scheme", "http://evil.example/?"}, get[4:]...), want: malformed},
		{name: ":scheme https on cleartext", source: "RFC 9113 8.3.1", fields: append([]string{":method", "GET", ":scheme", "https"}, get[4:]...), want: "GET /x/a 0 | RST | 400"},
		{name: ":authority with userinfo", source: "RFC 9113 8.3.1", fields: []string{":method", "GET", ":scheme", "http", ":authority", "a@front.example", ":path", "/x/a"}, want: malformed},
		{name: ":authority with a path", source: "RFC 9113 8.3.1", fields: []string{":method", "GET", ":scheme", "http", ":authority", "front.example/x", ":path", "/x/a"}, want: malformed},
		{name: ":authority with a blank", source: "RFC 9113 8.3.1", fields: []string{":method", "GET", ":scheme", "http", ":authority", "front example", ":path", "/x/a"}, want: malformed},
		{name: ":authority and the same host", source: "RFC 9113 8.3.1", fields: append(slices.Clone(get), "host", "FRONT.example:80"), want: "GET /x/a 0"},
		{name: ":authority and another host", source: "RFC 9113 8.3.1; host confusion", fields: append(slices.Clone(get), "host", "evil.example"), want: malformed},
		{name: ":authority and two hosts", source: "RFC 9110 7.2", fields: append(slices.Clone(get), "host", hygieneHost, "host", hygieneHost), want: malformed},
		{name: "host alone", source: "RFC 9113 8.3.1", fields: []string{":method", "GET", ":scheme", "http", ":path", "/x/a", "host", hygieneHost}, want: "GET /x/a 0"},
		{name: "two hosts alone", source: "RFC 9110 7.2", fields: []string{":method", "GET", ":scheme", "http", ":path", "/x/a", "host", hygieneHost, "host", "evil.example"}, want: malformed},
		{name: "pseudo-header behind a field", source: "RFC 9113 8.3", fields: append([]string{"x-a", "b"}, get...), want: malformed},
		{name: "pseudo-header unknown", source: "RFC 9113 8.3", fields: append([]string{":foo", "bar"}, get...), want: malformed},
		{name: "pseudo-header of answers", source: "RFC 9113 8.3", fields: append([]string{":status", "200"}, get...), want: malformed},
		{name: "TRACE", source: "RFC 9110 9.3.8", fields: asksH2("TRACE", "/x/a"), want: "405"},
		{name: "CONNECT", source: "RFC 9113 8.5", fields: []string{":method", "CONNECT", ":authority", "front.example:443"}, want: "405"},
		{name: "CONNECT with a path", source: "RFC 9113 8.5", fields: asksH2("CONNECT", "/x/a"), want: "RST | 405"},
		{name: "extended CONNECT", source: "RFC 8441: not offered", fields: append([]string{":method", "CONNECT", ":protocol", "websocket"}, get[2:]...), want: "RST | 405"},
	}
}

// messageCorpus is about fields, framing and trailers (RFC 9113 sections 8.1, 8.2).
func messageCorpus() []hostileH2 {
	get := func(more ...string) []string { return asksH2("GET", "/x/a", more...) }
	post := func(more ...string) []string { return asksH2("POST", "/x/a", more...) }
	const malformed = "RST | 400 | 400 RST" // the last: more came behind the head
	many := get()
	for range 101 {
		many = append(many, "x-f", "y")
	}
	return []hostileH2{
		{name: "name in capitals", source: "RFC 9113 8.2.1", fields: get("X-Tenant", "edx"), want: malformed},
		{name: "name empty", source: "CVE-2019-9516", fields: get("", "x"), want: malformed},
		{name: "name with a colon", source: "RFC 9113 8.2.1; header splitting", fields: get("x-a: b", "c"), want: malformed},
		{name: "name with a line", source: "RFC 9113 8.2.1; H2.TE by CRLF", fields: get("x-a: b\r\ntransfer-encoding", "chunked"), want: malformed},
		{name: "name with a blank", source: "RFC 9113 8.2.1", fields: get("content-length ", "5"), want: malformed},
		{name: "value with a line", source: "RFC 9113 8.2.1; H2.TE by CRLF", fields: get("x-a", "b\r\nTransfer-Encoding: chunked"), want: malformed},
		{name: "value with a bare LF", source: "RFC 9113 8.2.1", fields: get("x-a", "b\nX-B: c"), want: malformed},
		{name: "value with a NUL", source: "RFC 9113 8.2.1", fields: get("x-a", "b\x00c"), want: malformed},
		{name: "transfer-encoding", source: "RFC 9113 8.2.2; H2.TE (CVE-2021-21295 class)", fields: post("transfer-encoding", "chunked"), body: "0\r\n\r\n" + smuggled, want: malformed},
		{name: "connection", source: "RFC 9113 8.2.2", fields: get("connection", "close"), want: malformed},
		{name: "connection names fields", source: "RFC 9113 8.2.2", fields: get("connection", "authorization"), want: malformed},
		{name: "keep-alive", source: "RFC 9113 8.2.2", fields: get("keep-alive", "timeout=5"), want: malformed},
		{name: "proxy-connection", source: "RFC 9113 8.2.2", fields: get("proxy-connection", "keep-alive"), want: malformed},
		{name: "upgrade", source: "RFC 9113 8.2.2", fields: get("upgrade", "websocket"), want: malformed},
		{name: "te other than trailers", source: "RFC 9113 8.2.2", fields: get("te", "gzip"), want: malformed},
		{name: "te", source: "RFC 9113 8.2.2", fields: get("te", "trailers"), want: "GET /x/a 0"},
		{name: "content-length", source: "RFC 9113 8.1.1", fields: post("content-length", "5"), body: "hello", want: "POST /x/a 5"},
		{name: "content-length above the data", source: "RFC 9113 8.1.1; H2.CL (CVE-2021-21295 class)", fields: post("content-length", "50"), body: "hello", want: malformed},
		{name: "content-length below the data", source: "RFC 9113 8.1.1; H2.CL", fields: post("content-length", "3"), body: "hello", want: malformed},
		{name: "content-length 0 with data", source: "RFC 9113 8.1.1; H2.0", fields: post("content-length", "0"), body: smuggled, want: malformed, sent: "POST /x/a 0"},
		{name: "content-length without data", source: "RFC 9113 8.1.1; H2.CL", fields: post("content-length", "5"), want: malformed},
		{name: "content-length of GET without data", source: "RFC 9113 8.1.1; H2.CL", fields: get("content-length", "5"), want: malformed},
		{name: "content-length of words", source: "RFC 9110 8.6", fields: post("content-length", "five"), want: malformed},
		{name: "content-length of words with data", source: "RFC 9110 8.6", fields: post("content-length", "five"), body: "hello", want: malformed},
		{name: "content-length signed", source: "RFC 9110 8.6", fields: post("content-length", "+5"), body: "hello", want: malformed},
		{name: "content-length twice", source: "RFC 9110 8.6", fields: post("content-length", "5", "content-length", "6"), body: "hello", want: malformed},
		{name: "content-length twice the same", source: "RFC 9110 8.6", fields: post("content-length", "5", "content-length", "5"), body: "hello", want: malformed},
		{name: "forged way", source: "RFC 7239 8.1", fields: get("x-forwarded-for", "10.0.0.1", "forwarded", "for=10.0.0.1", "x-real-ip", "10.0.0.1"), want: "GET /x/a 0"},
		{name: "names with underscores", source: "CGI confusion", fields: get("x_forwarded_for", "10.0.0.1", "content_length", "9"), want: "GET /x/a 0"},
		{name: "expect", source: "RFC 9110 10.1.1", fields: post("expect", "100-continue"), body: "hello", want: "POST /x/a 5"},
		{name: "expect something else", source: "RFC 9110 10.1.1", fields: post("expect", "the unexpected"), body: "hello", want: malformed},
		{name: "http2-settings", source: "RFC 9113 3.1", fields: get("http2-settings", "AAMAAABk"), want: "GET /x/a 0"},
		{name: "101 fields", source: "RFC 6585 5", fields: many, want: "431"},
		{name: "a value of 70 KiB", source: "RFC 6585 5", fields: get("cookie", strings.Repeat("a", 70<<10)), want: "431"},
		{name: "a value of 200 KiB", source: "RFC 9113 10.5.1", fields: get("cookie", strings.Repeat("a", 200<<10)), want: "431 | GOAWAY"},
		{name: "a target of 20 KiB", source: "RFC 9110 15.5.15", fields: asksH2("GET", "/x/"+strings.Repeat("a", 20<<10)), want: "414"},
		{name: "trailers", source: "RFC 9113 8.1", fields: post("trailer", "x-sum"), body: "hello", ends: []string{"x-sum", "1"}, want: "POST /x/a 5"},
		{name: "trailers with a pseudo-header", source: "RFC 9113 8.1", fields: post(), body: "hello", ends: []string{":path", "/x/smuggled"}, want: malformed},
		{name: "trailers in capitals", source: "RFC 9113 8.2.1", fields: post(), body: "hello", ends: []string{"X-Sum", "1"}, want: malformed},
		{name: "trailers with framing", source: "RFC 9110 6.5.1", fields: post("trailer", "content-length"), body: "hello", ends: []string{"content-length", "9"}, want: "POST /x/a 5 | RST | 400"},
		{name: "trailers with another client's address", source: "RFC 9110 6.5.1", fields: post("trailer", "x-forwarded-for, x_tenant"), body: "hello", ends: []string{"x-forwarded-for", "10.0.0.1", "x_tenant", "evil"}, want: "POST /x/a 5"},
	}
}

// frameCorpus is about frames that no message may be made of.
func frameCorpus() []hostileH2 {
	get := asksH2("GET", "/x/a")
	return []hostileH2{
		{name: "DATA on an idle stream", source: "RFC 9113 5.1", want: "GOAWAY", write: func(c *h2conn) { c.wrote(c.fr.WriteData(1, true, []byte("hello"))) }},
		{name: "DATA on stream 0", source: "RFC 9113 6.1", want: "GOAWAY", write: func(c *h2conn) { c.wrote(c.fr.WriteData(0, true, []byte("hello"))) }},
		{name: "HEADERS on an even stream", source: "RFC 9113 5.1.1", want: "GOAWAY", write: func(c *h2conn) { c.ask(2, true, get...) }},
		{name: "HEADERS on a lower stream", source: "RFC 9113 5.1.1", want: "GOAWAY", write: func(c *h2conn) {
			c.ask(5, true, asksH2("GET", "/x/five")...)
			c.answers(5)
			c.ask(3, true, get...)
		}},
		{name: "CONTINUATION without HEADERS", source: "RFC 9113 6.10", want: "GOAWAY", write: func(c *h2conn) { c.wrote(c.fr.WriteContinuation(1, true, c.encode(get...))) }},
		{name: "another frame within a head", source: "RFC 9113 6.10", want: "GOAWAY", write: func(c *h2conn) {
			c.wrote(c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.encode(get...), EndStream: true}))
			c.wrote(c.fr.WritePing(false, [8]byte{}))
		}},
		{name: "a block that is no HPACK", source: "RFC 7541 2.3.3", want: "GOAWAY", write: func(c *h2conn) {
			c.wrote(c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff, 0xff, 0x7f}, EndStream: true, EndHeaders: true}))
		}},
		{name: "a frame over the limit", source: "RFC 9113 4.2", want: "GOAWAY", write: func(c *h2conn) {
			c.ask(1, false, asksH2("POST", "/x/a")...)
			c.wrote(c.fr.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, 2<<20)))
		}},
		{name: "a PING of 7 bytes", source: "RFC 9113 6.7", want: "GOAWAY", write: func(c *h2conn) { c.wrote(c.fr.WriteRawFrame(http2.FramePing, 0, 0, make([]byte, 7))) }},
		{name: "a window update of 0", source: "RFC 9113 6.9", want: "GOAWAY", write: func(c *h2conn) { c.wrote(c.fr.WriteRawFrame(http2.FrameWindowUpdate, 0, 0, make([]byte, 4))) }},
		{name: "a window that overflows", source: "RFC 9113 6.9.1", want: "GOAWAY", write: func(c *h2conn) {
			c.wrote(c.fr.WriteWindowUpdate(0, 1<<31-1))
			c.wrote(c.fr.WriteWindowUpdate(0, 1<<31-1))
		}},
		{name: "PUSH_PROMISE of a client", source: "RFC 9113 8.4", want: "GOAWAY", write: func(c *h2conn) {
			c.wrote(c.fr.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: c.encode(get...), EndHeaders: true}))
		}},
		{name: "RST_STREAM of an idle stream", source: "RFC 9113 6.4", want: "GOAWAY", write: func(c *h2conn) { c.wrote(c.fr.WriteRSTStream(1, http2.ErrCodeCancel)) }},
		{name: "an unknown frame", source: "RFC 9113 5.5: ignored", want: "GET /x/a 0", write: func(c *h2conn) {
			c.wrote(c.fr.WriteRawFrame(0xfa, 0xff, 1, []byte("grease")))
			c.ask(1, true, get...)
		}},
		{name: "padding", source: "RFC 9113 6.1", want: "POST /x/a 5", write: func(c *h2conn) {
			c.ask(1, false, asksH2("POST", "/x/a")...)
			c.wrote(c.fr.WriteDataPadded(1, true, []byte("hello"), make([]byte, 200)))
		}},
		{name: "padding longer than its frame", source: "RFC 9113 6.1", want: "GOAWAY", write: func(c *h2conn) {
			c.ask(1, false, asksH2("POST", "/x/a")...)
			c.wrote(c.fr.WriteRawFrame(http2.FrameData, http2.FlagDataPadded|http2.FlagDataEndStream, 1, []byte{200, 'h', 'i'}))
		}},
	}
}
