package framing_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"commerce.example/coordinator/supervisor/framing"
)

// through gives raw to a guard in pieces as long as cut says. It returns the
// bytes that a server may have, and after how many of them the guard was between
// two requests at the end of a piece.
func through(g *framing.Guard, raw []byte, cut func() int) (passed []byte, ends []int, err error) {
	for len(raw) > 0 {
		piece := raw[:max(1, min(cut(), len(raw)))]
		n, err := g.Follow(piece)
		passed = append(passed, piece[:n]...)
		if err != nil {
			return passed, ends, err
		}
		if n < len(piece) && !g.Held() {
			panic("bytes left without a fault or an upgrade")
		}
		raw = raw[n:]
		if g.Between() && g.Heads() > 0 && (len(ends) == 0 || len(passed) > ends[len(ends)-1]+4) {
			ends = append(ends, len(passed))
		}
	}
	return passed, ends, nil
}

func whole() int    { return 1 << 30 }
func bytewise() int { return 1 }

// served reads requests as net/http's server does. It returns where each ended,
// its body, and why there are no more; heads counts those whose body failed too.
func served(passed []byte) (ends []int, bodies []string, heads int, err error) {
	src := bytes.NewReader(passed)
	br := bufio.NewReader(src)
	for last := ""; ; heads++ {
		if last == http.MethodPost {
			ahead, _ := br.Peek(4)
			br.Discard(len(ahead) - len(bytes.TrimLeft(ahead, "\r\n")))
		}
		r, err := http.ReadRequest(br)
		if err != nil {
			return ends, bodies, heads, err
		}
		last = r.Method
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return ends, bodies, heads + 1, err
		}
		ends, bodies = append(ends, len(passed)-src.Len()-br.Buffered()), append(bodies, string(b))
	}
}

const get = "GET / HTTP/1.1\r\nHost: x\r\n"

var refusals = []struct {
	name, raw string
	want      framing.Fault
}{
	{"absolute target of another host", "GET http://a.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n", framing.OtherHost},
	{"absolute target of another port", "GET http://a.example:81/ HTTP/1.1\r\nHost: a.example\r\n\r\n", framing.OtherHost},
	{"absolute target with the port of another scheme", "GET https://a.example:80 HTTP/1.1\r\nHost: a.example\r\n\r\n", framing.OtherHost},
	{"absolute target and an empty Host", "GET http://a.example?q HTTP/1.1\r\nX: y\r\nhost:\r\n\r\n", framing.OtherHost},
	{"absolute target of a name too long to compare", "GET http://" + strings.Repeat("a", 600) + "/ HTTP/1.1\r\nHost: " + strings.Repeat("a", 600) + "\r\n\r\n", framing.OtherHost},
	{"length and coding", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", framing.LengthAndCoding},
	{"coding and length", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", framing.LengthAndCoding},
	{"coding and no length", "POST / HTTP/1.1\r\nHost: x\r\nTRANSFER-ENCODING: chunked\r\ncontent-length: 0\r\n\r\n0\r\n\r\n", framing.LengthAndCoding},
	{"two lengths", get + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", framing.TwoLengths},
	{"two equal lengths", get + "Content-Length: 5\r\nX: y\r\ncOnTeNt-LeNgTh: 5\r\n\r\nhello", framing.TwoLengths},
	{"length list", get + "Content-Length: 5, 5\r\n\r\nhello", framing.LengthValue},
	{"length list without space", get + "Content-Length: 5,6\r\n\r\nhello", framing.LengthValue},
	{"length +", get + "Content-Length: +5\r\n\r\nhello", framing.LengthValue},
	{"length -", get + "Content-Length: -0\r\n\r\n", framing.LengthValue},
	{"length 0x", get + "Content-Length: 0x5\r\n\r\nhello", framing.LengthValue},
	{"length fraction", get + "Content-Length: 5.0\r\n\r\nhello", framing.LengthValue},
	{"length underscore", get + "Content-Length: 1_0\r\n\r\nhellohello", framing.LengthValue},
	{"length two numbers", get + "Content-Length: 1 0\r\n\r\nhellohello", framing.LengthValue},
	{"length empty", get + "Content-Length:\r\n\r\n", framing.LengthValue},
	{"length blank", get + "Content-Length: \t \r\n\r\n", framing.LengthValue},
	{"length overflow", get + "Content-Length: 9223372036854775808\r\n\r\n", framing.LengthValue},
	{"length wraps to 5", get + "Content-Length: 18446744073709551621\r\n\r\nhello", framing.LengthValue},
	{"length Arabic", get + "Content-Length: \u0665\r\n\r\nhello", framing.LengthValue},
	{"length quoted", get + "Content-Length: \"5\"\r\n\r\nhello", framing.LengthValue},
	{"length vertical tab", get + "Content-Length: \v5\r\n\r\nhello", framing.ControlByte},
	{"length with NUL", get + "Content-Length: 5\x00\r\n\r\nhello", framing.ControlByte},
	{"coding in 1.0", "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", framing.CodingVersion},
	{"two codings", get + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", framing.TwoCodings},
	{"chunked twice", get + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", framing.CodingValue},
	{"chunked last", get + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", framing.CodingValue},
	{"chunked first", get + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", framing.CodingValue},
	{"identity", get + "Transfer-Encoding: identity\r\n\r\n", framing.CodingValue},
	{"xchunked", get + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", framing.CodingValue},
	{"chunkedx", get + "Transfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n", framing.CodingValue},
	{"part of chunked", get + "Transfer-Encoding: chunk\r\n\r\n0\r\n\r\n", framing.CodingValue},
	{"chunked in two", get + "Transfer-Encoding: chu nked\r\n\r\n0\r\n\r\n", framing.CodingValue},
	{"chunked with parameter", get + "Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n", framing.CodingValue},
	{"chunked quoted", get + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", framing.CodingValue},
	{"chunked with Kelvin", get + "Transfer-Encoding: chun\u212aed\r\n\r\n0\r\n\r\n", framing.CodingValue},
	{"coding empty", get + "Transfer-Encoding:\r\n\r\n", framing.CodingValue},
	{"chunked with vertical tab", get + "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", framing.ControlByte},
	{"coding folded", get + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", framing.CodingValue},
	{"bare LF in the request line", "GET / HTTP/1.1\nHost: x\r\n\r\n", framing.BareLF},
	{"bare LF in a field", "GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", framing.BareLF},
	{"bare LF behind a length", get + "Content-Length: 5\n\r\nhello", framing.BareLF},
	{"bare LF ends the head", get + "\n", framing.BareLF},
	{"bare LF in a name", get + "X\nY: z\r\n\r\n", framing.BareLF},
	{"bare LF before the request", "\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", framing.BareLF},
	{"bare CR in a value", get + "X: a\rb\r\n\r\n", framing.BareCR},
	{"bare CR hides a length", get + "X: a\rContent-Length: 5\r\n\r\nhello", framing.BareCR},
	{"CR CR LF", get + "X: a\r\r\n\r\n", framing.BareCR},
	{"CR CR LF at the end", get + "\r\r\n", framing.BareCR},
	{"bare CR in the target", "GET /a\rb HTTP/1.1\r\nHost: x\r\n\r\n", framing.RequestLine},
	{"bare CR behind the version", "GET / HTTP/1.1\rX\r\n\r\n", framing.BareCR},
	{"bare CR in a name", get + "X\rY: z\r\n\r\n", framing.FieldName},
	{"bare CR before the request", "\rGET / HTTP/1.1\r\nHost: x\r\n\r\n", framing.BareCR},
	{"folded", get + "X: a\r\n b\r\n\r\n", framing.LeadingSpace},
	{"folded with tab", get + "X: a\r\n\tb\r\n\r\n", framing.LeadingSpace},
	{"folded length", get + "Content-Length: 1\r\n 0\r\n\r\nhellohello", framing.LeadingSpace},
	{"space before the first field", "GET / HTTP/1.1\r\n Host: x\r\n\r\n", framing.LeadingSpace},
	{"only space in a line", get + " \r\n\r\n", framing.LeadingSpace},
	{"space before the request", " GET / HTTP/1.1\r\nHost: x\r\n\r\n", framing.LeadingSpace},
	{"space before the colon", get + "Content-Length : 5\r\n\r\nhello", framing.SpaceBeforeColon},
	{"tab before the colon", get + "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", framing.SpaceBeforeColon},
	{"space in a name", get + "X Y: z\r\n\r\n", framing.SpaceBeforeColon},
	{"no name", get + ": x\r\n\r\n", framing.FieldName},
	{"no colon", get + "X\r\n\r\n", framing.FieldName},
	{"vertical tab in a name", get + "Content-Length\v: 5\r\n\r\nhello", framing.ControlByte},
	{"form feed before a name", get + "\fContent-Length: 5\r\n\r\nhello", framing.ControlByte},
	{"name beyond ASCII", get + "Content-Length\u00a0: 5\r\n\r\nhello", framing.FieldName},
	{"parenthesis in a name", get + "X(y): z\r\n\r\n", framing.FieldName},
	{"NUL in a value", get + "X: a\x00b\r\n\r\n", framing.ControlByte},
	{"NUL in a long value", get + "X: 0123456789abcdef\x00123456789abcdef\r\n\r\n", framing.ControlByte},
	{"DEL in a value", get + "X: a\x7fb\r\n\r\n", framing.ControlByte},
	{"ESC in a value", get + "X: a\x1bb\r\n\r\n", framing.ControlByte},
	{"unit separator in a value", get + "X: a\x1fb\r\n\r\n", framing.ControlByte},
	{"NUL in the method", "G\x00T / HTTP/1.1\r\nHost: x\r\n\r\n", framing.ControlByte},
	{"NUL in the target", "GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n", framing.ControlByte},
	{"tab in the target", "GET /a\tb HTTP/1.1\r\nHost: x\r\n\r\n", framing.RequestLine},
	{"tab in the request line", "GET\t/\tHTTP/1.1\r\nHost: x\r\n\r\n", framing.RequestLine},
	{"two spaces before the target", "GET  / HTTP/1.1\r\nHost: x\r\n\r\n", framing.RequestLine},
	{"two spaces before the version", "GET /  HTTP/1.1\r\nHost: x\r\n\r\n", framing.RequestLine},
	{"space behind the version", "GET / HTTP/1.1 \r\nHost: x\r\n\r\n", framing.RequestLine},
	{"space in the target", "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", framing.Version},
	{"no method", "/ HTTP/1.1\r\nHost: x\r\n\r\n", framing.RequestLine},
	{"parenthesis in the method", "G(T / HTTP/1.1\r\nHost: x\r\n\r\n", framing.RequestLine},
	{"no version", "GET /\r\n\r\n", framing.RequestLine},
	{"no target", "GET\r\n\r\n", framing.RequestLine},
	{"answer", "HTTP/1.1 200 OK\r\n\r\n", framing.RequestLine},
	{"HTTP/0.9", "GET / HTTP/0.9\r\nHost: x\r\n\r\n", framing.Version},
	{"HTTP/1.2", "GET / HTTP/1.2\r\nHost: x\r\n\r\n", framing.Version},
	{"HTTP/1.10", "GET / HTTP/1.10\r\nHost: x\r\n\r\n", framing.Version},
	{"HTTP/1.", "GET / HTTP/1.\r\nHost: x\r\n\r\n", framing.Version},
	{"HTTP/01.1", "GET / HTTP/01.1\r\nHost: x\r\n\r\n", framing.Version},
	{"HTTP/2.0", "GET / HTTP/2.0\r\nHost: x\r\n\r\n", framing.Version},
	{"http/1.1", "GET / http/1.1\r\nHost: x\r\n\r\n", framing.Version},
	{"preface not allowed", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", framing.Version},
	{"three empty lines", "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", framing.EmptyLines},
	{"Expect", get + "Expect: 200-maybe\r\n\r\n", framing.Expectation},
	{"Expect list", get + "Expect: 100-continue, x\r\n\r\n", framing.Expectation},
}

// chunkRefusals stand behind the head of a request in chunks.
var chunkRefusals = []struct {
	name, raw string
	want      framing.Fault
}{
	{"+", "+5\r\nhello\r\n0\r\n\r\n", framing.ChunkSize},
	{"-", "-5\r\nhello\r\n0\r\n\r\n", framing.ChunkSize},
	{"0x", "0x5\r\nhello\r\n0\r\n\r\n", framing.ChunkSize},
	{"empty", "\r\nhello\r\n0\r\n\r\n", framing.ChunkSize},
	{"no size before the extension", ";a\r\nhello\r\n0\r\n\r\n", framing.ChunkSize},
	{"space before", " 5\r\nhello\r\n0\r\n\r\n", framing.ChunkSize},
	{"space behind", "5 \r\nhello\r\n0\r\n\r\n", framing.ChunkSize},
	{"space before the extension", "5 ;a\r\nhello\r\n0\r\n\r\n", framing.ChunkSize},
	{"tab behind", "5\t\r\nhello\r\n0\r\n\r\n", framing.ChunkSize},
	{"g", "g\r\nhello\r\n0\r\n\r\n", framing.ChunkSize},
	{"underscore", "1_0\r\nhello\r\n0\r\n\r\n", framing.ChunkSize},
	{"2^63", "8000000000000000\r\nhello", framing.ChunkSize},
	{"2^64", "10000000000000000\r\nhello", framing.ChunkSize},
	{"17 digits", "00000000000000005\r\nhello\r\n0\r\n\r\n", framing.ChunkSize},
	{"NUL in the size", "5\x00\r\nhello\r\n0\r\n\r\n", framing.ControlByte},
	{"bare LF behind the size", "5\nhello\r\n0\r\n\r\n", framing.BareLF},
	{"bare CR behind the size", "5\rhello\r\n0\r\n\r\n", framing.BareCR},
	{"bare LF in the extension", "5;a\nhello\r\n0\r\n\r\n", framing.BareLF},
	{"bare CR in the extension", "5;a\rb\r\nhello\r\n0\r\n\r\n", framing.BareCR},
	{"NUL in the extension", "5;a\x00\r\nhello\r\n0\r\n\r\n", framing.ControlByte},
	{"extension too long", "5;" + strings.Repeat("a", 257) + "\r\nhello\r\n0\r\n\r\n", framing.ChunkExtension},
	{"no CRLF behind the data", "5\r\nhello0\r\n\r\n", framing.ChunkEnd},
	{"bare LF behind the data", "5\r\nhello\n0\r\n\r\n", framing.ChunkEnd},
	{"bare CR behind the data", "5\r\nhello\r0\r\n\r\n", framing.ChunkEnd},
	{"more data than said", "4\r\nhello\r\n0\r\n\r\n", framing.ChunkEnd},
	{"two bytes for the CRLF", "5\r\nhelloXX0\r\n\r\n", framing.ChunkEnd},
	{"bare LF behind the last size", "0\n\r\n", framing.BareLF},
	{"bare LF ends the trailers", "0\r\n\n", framing.BareLF},
	{"bare LF behind a trailer", "0\r\nX: y\n\r\n", framing.BareLF},
	{"bare CR in a trailer", "0\r\nX: y\rz\r\n\r\n", framing.BareCR},
	{"folded trailer", "0\r\nX: y\r\n z\r\n\r\n", framing.LeadingSpace},
	{"space before a trailer's colon", "0\r\nX : y\r\n\r\n", framing.SpaceBeforeColon},
	{"request among the trailers", "0\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n", framing.SpaceBeforeColon},
	{"NUL in a trailer", "0\r\nX: \x00\r\n\r\n", framing.ControlByte},
	{"trailer Content-Length", "0\r\nX: y\r\nContent-Length: 5\r\n\r\n", framing.TrailerField},
	{"trailer Transfer-Encoding", "0\r\nTRANSFER-ENCODING: chunked\r\n\r\n", framing.TrailerField},
	{"trailer Host", "0\r\nhost: y\r\n\r\n", framing.TrailerField},
	{"trailer Authorization", "0\r\nAuthorization: y\r\n\r\n", framing.TrailerField},
	{"trailer X-Forwarded-For", "0\r\nX-Forwarded-For: y\r\n\r\n", framing.TrailerField},
	{"trailer with the longest name", "0\r\nProxy-Authentication-Info: y\r\n\r\n", framing.TrailerField},
	{"trailers too large", "0\r\nX: " + strings.Repeat("y", framing.MaxTrailers) + "\r\n\r\n", framing.TrailerSize},
	{"trailers too large by one", "0\r\nX: " + strings.Repeat("y", framing.MaxTrailers-6) + "\r\n\r\n", framing.TrailerSize},
	{"too many trailers", "0\r\n" + strings.Repeat("X: y\r\n", framing.MaxTrailers/6+1) + "\r\n", framing.TrailerSize},
}

func TestRefuses(t *testing.T) {
	const before = "GET /before HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, c := range refusals {
		refuses(t, c.name, c.raw, c.want, 0)
		refuses(t, c.name+", pipelined", before+c.raw, c.want, 1)
	}
	for _, c := range chunkRefusals {
		const head = "POST /chunks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
		refuses(t, "chunk: "+c.name, before+head+c.raw, c.want, 1)
		refuses(t, "chunk: "+c.name+", second", head+"1\r\na\r\n"+c.raw, c.want, 0)
	}
}

// refuses has raw refused after a number of good requests, wherever reads end,
// and has net/http refuse what it would get then.
func refuses(t *testing.T, name, raw string, want framing.Fault, good int) {
	t.Helper()
	for _, cut := range []func() int{whole, bytewise, func() int { return 7 }} {
		var g framing.Guard
		passed, _, err := through(&g, []byte(raw), cut)
		if err != want {
			t.Errorf("%s: %v, want %v", name, err, want)
			return
		}
		if !strings.HasPrefix(raw, string(passed)) {
			t.Errorf("%s: passed %q", name, passed)
		}
		if n, err := g.Follow([]byte(get)); n != 0 || err != want {
			t.Errorf("%s: afterwards %d %v", name, n, err)
		}
		_, inBody := g.Fault()
		ends, _, heads, _ := served(append(passed, framing.Poison...))
		if len(ends) != good || heads != int(g.Heads()) || inBody != (heads > good) {
			t.Errorf("%s: net/http reads %d requests and %d heads, of %d heads; fault in a body: %v", name, len(ends), heads, g.Heads(), inBody)
		}
	}
}

func TestPasses(t *testing.T) {
	for _, c := range []struct {
		name, raw string
		bodies    []string
	}{
		{"plain", get + "\r\n", []string{""}},
		{"no field", "GET / HTTP/1.0\r\n\r\n", []string{""}},
		{"any token", "!#$%&'*+-.^_`|~aZ09 / HTTP/1.1\r\n!#$%&'*+-.^_`|~aZ09:\r\n\r\n", []string{""}},
		{"absolute", "GET http://x/a?b#c HTTP/1.1\r\nHost: x\r\n\r\n", []string{""}},
		{"text beyond ASCII", get + "X: \u00fc \xff\r\n\r\n", []string{""}},
		{"spaces and tabs", get + "X:\t a\tb \t\r\nY:\t\r\n\r\n", []string{""}},
		{"length 0", get + "Content-Length: 0\r\n\r\n" + get + "\r\n", []string{"", ""}},
		{"length", get + "content-length:5\r\n\r\nhello" + get + "Content-Length: \t5 \t\r\n\r\nGET /", []string{"hello", "GET /"}},
		{"length with zeros", get + "Content-Length: 00000000000000000000000000000005\r\n\r\nhello", []string{"hello"}},
		{"Content_Length", get + "Content_Length: 7\r\nXContent-Length: 9\r\nContent-Lengt: 8\r\n\r\n", []string{""}},
		{"chunks", get + "transfer-encoding:\tCHUNKED \r\n\r\n5\r\nhello\r\nA;a=\"b c\"\r\n0123456789\r\n0\r\n\r\n" + get + "\r\n", []string{"hello0123456789", ""}},
		{"sizes with zeros", get + "Transfer-Encoding: chunked\r\n\r\n0000000000000005\r\nhello\r\n00\r\n\r\n", []string{"hello"}},
		{"extension", get + "Transfer-Encoding: chunked\r\n\r\n5;" + strings.Repeat("a", 256) + "\r\nhello\r\n0;\r\n\r\n", []string{"hello"}},
		{"trailers", get + "Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n0\r\nX: y\r\nDigest: z\r\nHostess: a\r\nProxy-Authentication-Information: b\r\n\r\n" + get + "\r\n", []string{"", ""}},
		{"large trailers", get + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + strings.Repeat("y", framing.MaxTrailers-7) + "\r\n\r\n" + get + "\r\n", []string{"", ""}},
		{"empty lines after a POST", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na\r\n\r\n" + get + "\r\n", []string{"a", ""}},
		{"Expect", get + "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\na" + get + "Expect:\r\n\r\n", []string{"a", ""}},
		{"refused upgrades", get + "Upgrade: websocket\r\n\r\n" + get + "Upgrade: h2c\r\nContent-Length: 1\r\n\r\na" + get + "Upgrade: x\r\n\r\n", []string{"", "a", ""}},
		{"HTTP/1.0 and 1.1", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + get + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", []string{"", ""}},
		{"PRI", "PRI * HTTP/1.1\r\nHost: x\r\n\r\n", []string{""}},
	} {
		for _, cut := range []func() int{whole, bytewise, func() int { return 7 }} {
			g := framing.Guard{PriorKnowledge: true}
			passed, _, err := through(&g, []byte(c.raw), cut)
			if err != nil || string(passed) != c.raw || !g.Between() || int(g.Heads()) != len(c.bodies) {
				t.Errorf("%s: %v, %d heads, between %v, after %q", c.name, err, g.Heads(), g.Between(), passed)
				continue
			}
			if _, bodies, _, err := served(passed); err != io.EOF || !slices.Equal(bodies, c.bodies) {
				t.Errorf("%s: net/http reads %q, %v", c.name, bodies, err)
			}
		}
	}
}

func TestHoldsBackWhatFollowsAnUpgrade(t *testing.T) {
	head := get + "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
	var g framing.Guard
	n, err := g.Follow([]byte(head + "\x81\x05hello"))
	if n != len(head) || err != nil || !g.Held() || !g.Between() {
		t.Fatalf("%d of %d, %v", n, len(head), err)
	}
	switched := g
	switched.StepAside()
	if n, err := switched.Follow([]byte("\x81\x05hello")); n != 7 || err != nil {
		t.Errorf("after the upgrade: %d %v", n, err)
	}
	if n, err := g.Follow([]byte("\x81\x05hello")); n != 0 || err == nil || g.Held() {
		t.Errorf("without it: %d %v", n, err)
	}
}

func TestStepsAsideForHTTP2(t *testing.T) {
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frames := preface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	for _, cut := range []func() int{whole, bytewise, func() int { return 14 }} {
		g := framing.Guard{PriorKnowledge: true}
		if passed, _, err := through(&g, []byte(frames), cut); err != nil || string(passed) != frames || !g.Aside() {
			t.Errorf("%q %v", passed, err)
		}
		// Not as a second request, and not half of it.
		for raw, want := range map[string]framing.Fault{
			get + "\r\n" + preface:                    framing.Version,
			"PRI * HTTP/2.0\r\n\r\nSM\r\nX\r\n":       framing.Version,
			"PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n":        framing.Version,
			"PRI  * HTTP/2.0\r\n\r\nSM\r\n\r\n":       framing.RequestLine,
			"PRI * HTTP/2.0\r\nHost: x\r\n\r\nSM\r\n": framing.Version,
		} {
			g := framing.Guard{PriorKnowledge: true}
			if _, _, err := through(&g, []byte(raw), cut); err != want || g.Aside() {
				t.Errorf("%q: %v", raw, err)
			}
		}
	}
}

func TestKnowsWhereItIs(t *testing.T) {
	const head = "\r\nHEAD / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
	g := framing.Guard{PriorKnowledge: true}
	for i := range len(head) {
		if g.InHead() != (i > 2) || g.Between() != (i == 0 || i == 2) || g.HEAD() != (i > len("\r\nHEAD")) {
			t.Errorf("after %q: in head %v, between %v, HEAD %v", head[:i], g.InHead(), g.Between(), g.HEAD())
		}
		if n, err := g.Follow([]byte(head[i : i+1])); n != 1 || err != nil {
			t.Fatalf("after %q: %d %v", head[:i], n, err)
		}
	}
	const body = "2;a\r\nhi\r\n0\r\nX: y\r\n\r\n"
	for i := range len(body) {
		if g.InHead() || g.Between() || g.Heads() != 1 {
			t.Errorf("after %q: in head %v, between %v", body[:i], g.InHead(), g.Between())
		}
		g.Follow([]byte(body[i : i+1]))
	}
	if !g.Between() || g.InHead() {
		t.Error("the request has not ended")
	}
	g.Follow([]byte("\x00"))
	if g.HEAD() {
		t.Error("garbage is taken for the HEAD before it")
	}
	if f, inBody := g.Fault(); f != framing.ControlByte || inBody {
		t.Errorf("%v, in a body: %v", f, inBody)
	}
	g = framing.Guard{PriorKnowledge: true}
	if g.Follow([]byte("PR")); !g.InHead() || g.Between() {
		t.Error("the beginning of a preface is none of a request")
	}
}

func TestEveryFaultHasASentence(t *testing.T) {
	seen := make(map[string]bool)
	for f := framing.RequestLine; f <= framing.TrailerSize; f++ {
		s := f.Error()
		if s == "" || seen[s] || !strings.HasSuffix(s, ".") {
			t.Errorf("fault %d: %q", f, s)
		}
		seen[s] = true
	}
}

// Hosts that are the same in other words pass.
func TestAbsoluteTargetsThatAgree(t *testing.T) {
	for _, raw := range []string{
		"GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n",
		"GET HTTP://A.example:80?q HTTP/1.1\r\nX: y\r\nHOST:\ta.EXAMPLE. \r\n\r\n",
		"GET https://a.example HTTP/1.1\r\nHost: a.example:443\r\n\r\n",
		"GET http://[::1]/ HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
		"GET http://a.example/ HTTP/1.0\r\n\r\n",
		"CONNECT a.example:443 HTTP/1.1\r\nHost: b.example\r\n\r\n", // refused elsewhere
		"OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n",
		"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\nGET / HTTP/1.1\r\nHost: b.example\r\n\r\n",
	} {
		for _, cut := range []func() int{whole, bytewise, func() int { return 7 }} {
			var g framing.Guard
			if passed, _, err := through(&g, []byte(raw), cut); err != nil || string(passed) != raw {
				t.Errorf("%q: %v, passed %q", raw, err, passed)
			}
		}
	}
}
