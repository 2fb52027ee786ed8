package backend_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"reflect"
	"strings"
	"testing"

	"commerce.example/coordinator/ipc/backend"
	"commerce.example/coordinator/ipc/exchange"
)

func TestAnswers(t *testing.T) {
	noLeak(t)
	big := strings.Repeat("x", 300<<10)
	for _, tc := range []struct {
		name, method, raw string
		code              int
		length            int64
		body              string
		header            http.Header
		reused            bool
	}{
		{"length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-a:\t b \r\n\r\nhello", 200, 5, "hello",
			header("Content-Length", "5", "X-A", "b"), true},
		{"no reason", "GET", "HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", 404, 0, "", header("Content-Length", "0"), true},
		{"odd status", "GET", "HTTP/1.1 799 Odd\r\nContent-Length: 0\r\n\r\n", 799, 0, "", header("Content-Length", "0"), true},
		{"repeated fields", "GET", "HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nX: 1\r\nset-cookie: b\r\nContent-Length: 0\r\n\r\n",
			200, 0, "", header("Set-Cookie", "a", "Set-Cookie", "b", "X", "1", "Content-Length", "0"), true},
		{"chunked", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5;x=\"y\"\r\nhello\r\n00a \r\n, world...\r\n0\r\n\r\n",
			200, -1, "hello, world...", header(), true},
		{"until close", "GET", "HTTP/1.1 200 OK\r\n\r\nall of it", 200, -1, "all of it", header(), false},
		{"1.0", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, 2, "hi", header("Content-Length", "2"), false},
		{"1.0 kept", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: Keep-Alive\r\n\r\nhi", 200, 2, "hi",
			header("Content-Length", "2", "Connection", "Keep-Alive"), true},
		{"close", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x, close\r\n\r\nhi", 200, 2, "hi",
			header("Content-Length", "2", "Connection", "x, close"), false},
		{"head", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, 5, "", header("Content-Length", "5"), true},
		{"head chunked", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, -1, "", header(), true},
		{"204", "GET", "HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", 204, 0, "", header(), true},
		{"204 with a length", "GET", "HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", 204, 0, "", header(), false},
		{"304", "GET", "HTTP/1.1 304 Same\r\nContent-Length: 5\r\nETag: x\r\n\r\n", 304, 5, "",
			header("Content-Length", "5", "Etag", "x"), true},
		{"short keep-alive", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKeep-Alive: timeout=1, max=5\r\n\r\n", 200, 0, "",
			header("Content-Length", "0", "Keep-Alive", "timeout=1, max=5"), false},
		{"big head", "GET", "HTTP/1.1 200 OK\r\nBig: " + big + "\r\nContent-Length: 2\r\n\r\nhi", 200, 2, "hi",
			header("Big", big, "Content-Length", "2"), true},
		{"too much", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi there", 200, 2, "hi", header("Content-Length", "2"), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := serve(t, func(p *peer) {
				for h := p.head(); h != ""; h = p.head() {
					p.say(tc.raw)
					if !tc.reused {
						return
					}
				}
			})
			tr := newTransport(t)
			for range 2 {
				resp, body, err := run(tr, newRequest(t, b, tc.method, "/", nil))
				if err != nil {
					t.Fatal(err)
				}
				if resp.StatusCode != tc.code || resp.ContentLength != tc.length || body != tc.body {
					t.Errorf("got %d, length %d, %q", resp.StatusCode, resp.ContentLength, body)
				}
				if !reflect.DeepEqual(resp.Header, tc.header) {
					t.Errorf("fields %v, want %v", resp.Header, tc.header)
				}
			}
			want := int64(2)
			if tc.reused {
				want = 1
			}
			if n := b.conns.Load(); n != want {
				t.Errorf("%d connections, want %d", n, want)
			}
		})
	}
}

// A head that is refused is refused before its end: these backends do not close.
func TestHeadsRefused(t *testing.T) {
	const line = "HTTP/1.1 200 OK\r\n"
	for name, tc := range map[string]struct {
		raw   string
		stage exchange.Stage
	}{
		"garbage":                   {"SSH-2.0-OpenSSH", exchange.Sent},
		"HTTP/2 line":               {"HTTP/2.0 200 OK\r\n\r\n", exchange.Sent},
		"HTTP/1.2":                  {"HTTP/1.2 200 OK\r\n\r\n", exchange.Sent},
		"blank line first":          {"\r\n" + line + "\r\n", exchange.Sent},
		"two digits":                {"HTTP/1.1 20 OK!\r\n\r\n", exchange.Sent},
		"four digits":               {"HTTP/1.1 2000 OK\r\n\r\n", exchange.Sent},
		"status 099":                {"HTTP/1.1 099 Low\r\n\r\n", exchange.Sent},
		"status with a sign":        {"HTTP/1.1 +20 OK\r\n\r\n", exchange.Sent},
		"NUL in the reason":         {"HTTP/1.1 200 O\x00K\r\n\r\n", exchange.Sent},
		"status line with LF":       {"HTTP/1.1 200 OK\nA: b\r\n\r\n", exchange.Sent},
		"bare LF":                   {line + "A: b\nC: d\r\n\r\n", exchange.Answered},
		"bare CR":                   {line + "A: b\rC: d\r\n\r\n", exchange.Answered},
		"folded":                    {line + "A: b\r\n c\r\n\r\n", exchange.Answered},
		"blank before the colon":    {line + "Content-Length : 0\r\n\r\n", exchange.Answered},
		"no colon":                  {line + "A\r\n\r\n", exchange.Answered},
		"empty name":                {line + ": b\r\n\r\n", exchange.Answered},
		"NUL in a value":            {line + "A: \x00\r\n\r\n", exchange.Answered},
		"two lengths":               {line + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n12", exchange.Answered},
		"two equal lengths":         {line + "Content-Length: 1\r\ncontent-length: 1\r\n\r\n1", exchange.Answered},
		"a list of lengths":         {line + "Content-Length: 1, 1\r\n\r\n1", exchange.Answered},
		"length with a sign":        {line + "Content-Length: +1\r\n\r\n1", exchange.Answered},
		"negative length":           {line + "Content-Length: -1\r\n\r\n", exchange.Answered},
		"hexadecimal length":        {line + "Content-Length: 0x1\r\n\r\n1", exchange.Answered},
		"length with underscore":    {line + "Content-Length: 1_0\r\n\r\n1", exchange.Answered},
		"empty length":              {line + "Content-Length:\r\n\r\n", exchange.Answered},
		"huge length":               {line + "Content-Length: 99999999999999999999\r\n\r\n", exchange.Answered},
		"both framings":             {line + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", exchange.Answered},
		"gzip, chunked":             {line + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", exchange.Answered},
		"identity":                  {line + "Transfer-Encoding: identity\r\n\r\n", exchange.Answered},
		"chunked twice":             {line + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", exchange.Answered},
		"chunked in 1.0":            {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", exchange.Answered},
		"12 MiB":                    {line + "A: " + strings.Repeat("x", 12<<20) + "\r\n\r\n", exchange.Answered},
		"endless status line":       {line[:12] + strings.Repeat("x", 2<<20), exchange.Sent},
		"too many fields":           {line + strings.Repeat("A: b\r\n", 2000) + "\r\n", exchange.Answered},
		"trailer that frames":       {line + "Transfer-Encoding: chunked\r\nTrailer: content-length\r\n\r\n0\r\n\r\n", exchange.Answered},
		"upgrade nobody asked for":  {"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n", exchange.Sent},
		"flood of interim answers":  {strings.Repeat("HTTP/1.1 103 Early\r\nLink: x\r\n\r\n", 1000) + line, exchange.Sent},
		"flood of 100":              {strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 1000) + line, exchange.Sent},
		"garbage in the second one": {"HTTP/1.1 103 Early\r\n\r\nfoo", exchange.Sent},
	} {
		t.Run(name, func(t *testing.T) {
			b := serve(t, func(p *peer) {
				p.head()
				p.say(tc.raw)
				io.Copy(io.Discard, p)
			})
			_, _, err := get(t, newTransport(t), b)
			wantFault(t, err, exchange.BackendProtocol, tc.stage)
		})
	}
}

func TestBodiesCutShortOrMalformed(t *testing.T) {
	noLeak(t)
	const line = "HTTP/1.1 200 OK\r\n"
	const chunks = line + "Transfer-Encoding: chunked\r\n\r\n"
	for name, tc := range map[string]struct {
		raw   string
		fault exchange.Fault
		body  string
	}{
		"short length":         {line + "Content-Length: 10\r\n\r\nhello", exchange.BackendReset, "hello"},
		"no body at all":       {line + "Content-Length: 10\r\n\r\n", exchange.BackendReset, ""},
		"inside a chunk":       {chunks + "5\r\nhel", exchange.BackendReset, "hel"},
		"after a chunk":        {chunks + "5\r\nhello", exchange.BackendReset, "hello"},
		"before the last":      {chunks + "5\r\nhello\r\n", exchange.BackendReset, "hello"},
		"in the last":          {chunks + "5\r\nhello\r\n0\r\n", exchange.BackendReset, "hello"},
		"size is no number":    {chunks + "5\r\nhello\r\nxyz\r\n", exchange.BackendProtocol, "hello"},
		"0x":                   {chunks + "0x5\r\nhello\r\n", exchange.BackendProtocol, ""},
		"negative":             {chunks + "-5\r\nhello\r\n", exchange.BackendProtocol, ""},
		"empty size":           {chunks + "\r\nhello\r\n", exchange.BackendProtocol, ""},
		"blank first":          {chunks + " 5\r\nhello\r\n", exchange.BackendProtocol, ""},
		"too many digits":      {chunks + "0000000000000005\r\nhello\r\n", exchange.BackendProtocol, ""},
		"size line with LF":    {chunks + "5\nhello\r\n", exchange.BackendProtocol, ""},
		"chunk runs over":      {chunks + "5\r\nhello!\r\n0\r\n\r\n", exchange.BackendProtocol, "hello"},
		"chunk ends with LF":   {chunks + "5\r\nhello\n0\r\n\r\n", exchange.BackendProtocol, "hello"},
		"endless extension":    {chunks + "5;" + strings.Repeat("x", 64<<10), exchange.BackendProtocol, ""},
		"CR in an extension":   {chunks + "5;a\rb\r\nhello\r\n", exchange.BackendProtocol, ""},
		"folded trailer":       {chunks + "0\r\nA: b\r\n c\r\n\r\n", exchange.BackendProtocol, ""},
		"trailer with LF":      {chunks + "0\r\nA: b\n\r\n", exchange.BackendProtocol, ""},
		"trailer that frames":  {chunks + "0\r\nContent-Length: 3\r\n\r\n", exchange.BackendProtocol, ""},
		"trailers without end": {chunks + "0\r\nA: " + strings.Repeat("x", 2<<20), exchange.BackendProtocol, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := serve(t, once(tc.raw))
			_, body, err := get(t, newTransport(t), b)
			wantFault(t, err, tc.fault, exchange.Answered)
			if tc.fault == exchange.BackendReset && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%v does not wrap io.ErrUnexpectedEOF", err)
			}
			if body != tc.body {
				t.Errorf("body %q, want %q", body, tc.body)
			}
		})
	}
}

func TestResetInsideABody(t *testing.T) {
	read := make(chan struct{})
	b := serve(t, func(p *peer) {
		p.head()
		p.say("HTTP/1.1 200 OK\r\n\r\nuntil close, but")
		<-read
		p.Conn.(*net.TCPConn).SetLinger(0) // its close is a reset
	})
	resp, err := newTransport(t).RoundTrip(newRequest(t, b, "GET", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	if n, err := io.ReadFull(resp.Body, buf); err != nil {
		t.Fatal(n, err)
	}
	close(read)
	_, err = resp.Body.Read(buf)
	wantFault(t, err, exchange.BackendReset, exchange.Answered)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v does not wrap io.ErrUnexpectedEOF", err)
	}
}

func TestReadGivesWhatIsThere(t *testing.T) {
	next := make(chan string)
	b := serve(t, func(p *peer) {
		p.head()
		for s := range next {
			p.say(s)
		}
	})
	defer close(next)
	tr := newTransport(t)
	got := make(chan *http.Response)
	go func() {
		resp, err := tr.RoundTrip(newRequest(t, b, "GET", "/", nil))
		if err != nil {
			t.Error(err)
		}
		got <- resp
	}()
	next <- "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n2\r\nde\r\n4\r\nfg"
	resp := <-got
	if resp == nil {
		t.FailNow()
	}
	defer resp.Body.Close()
	if v, announced := resp.Trailer["X-Sum"]; !announced || v != nil {
		t.Errorf("trailer %v", resp.Trailer)
	}
	body := resp.Body.(interface {
		io.ReadCloser
		Buffered() int
	})
	buf := make([]byte, 64)
	read := func(p []byte, want string, wantErr error, left int) {
		t.Helper()
		n, err := body.Read(p)
		if string(p[:n]) != want || err != wantErr || body.Buffered() != left {
			t.Errorf("read %q, %v, %d left; want %q, %v, %d", p[:n], err, body.Buffered(), want, wantErr, left)
		}
	}
	read(buf[:1], "a", nil, 2)
	read(buf[:2], "bc", nil, 2) // it looked ahead into the next chunk
	read(buf, "defg", nil, 0)
	next <- "hi\r\n0\r\nX-Sum: 42\r\nX-More: yes\r\n\r\n"
	read(buf, "hi", io.EOF, 0)
	read(buf, "", io.EOF, 0)
	if want := header("X-Sum", "42", "X-More", "yes"); !reflect.DeepEqual(resp.Trailer, want) {
		t.Errorf("trailer %v, want %v", resp.Trailer, want)
	}
}

// Where the reads fall must not matter.
func TestAnswerByteByByte(t *testing.T) {
	const answer = "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n" +
		"5;x\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 42\r\n\r\n"
	b := serve(t, func(p *peer) {
		for h := p.head(); h != ""; h = p.head() {
			for i := range len(answer) {
				p.say(answer[i : i+1])
			}
		}
	})
	tr := newTransport(t)
	for range 20 {
		resp, body, err := get(t, tr, b)
		if err != nil || body != "hello!" || resp.Trailer.Get("X-Sum") != "42" || resp.Header.Get("A") != "b" {
			t.Fatal(body, err)
		}
	}
	if n := b.conns.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestInformationalAnswers(t *testing.T) {
	var raw strings.Builder
	raw.WriteString("HTTP/1.1 100 Continue\r\n\r\n")
	for i := range 7 {
		fmt.Fprintf(&raw, "HTTP/1.1 103 Early Hints\r\nLink: %d\r\n\r\n", i)
	}
	b := serve(t, always(raw.String()+ok))
	tr := newTransport(t)

	var traced []string
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		traced = append(traced, fmt.Sprint(code, " ", h.Get("Link")))
		return nil
	}}
	rep := newReporter(httptrace.WithClientTrace(t.Context(), trace))
	if _, body, err := run(tr, newRequest(t, b, "GET", "/", nil).WithContext(rep)); err != nil || body != "ok" {
		t.Fatal(body, err)
	}
	if len(traced) != 5 || traced[0] != "103 0" || len(rep.informed) != len(traced) {
		t.Errorf("traced %v, informed %v", traced, rep.informed)
	}
	if got := rep.story(); got != "attach sent answered detach" {
		t.Errorf("the exchange was told %q", got)
	}

	rep = newReporter(t.Context())
	rep.refuse = errors.New("no")
	_, _, err := run(tr, newRequest(t, b, "GET", "/", nil).WithContext(rep))
	wantFault(t, err, exchange.ClientGone, exchange.Sent)
}

func TestUpgrade(t *testing.T) {
	noLeak(t)
	b := serve(t, func(p *peer) {
		p.head()
		p.say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst ")
		io.Copy(p, p.r) // until the client closes its half
		p.say(" last")
	})
	rep := newReporter(t.Context())
	req := newRequest(t, b, "GET", "/", nil).WithContext(rep)
	req.Header.Set("Upgrade", "websocket")
	resp, err := newTransport(t).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	rw := resp.Body.(interface {
		io.ReadWriteCloser
		CloseWrite() error
	})
	io.WriteString(rw, "echo")
	rw.CloseWrite()
	got, err := io.ReadAll(rw)
	if err != nil || string(got) != "first echo last" {
		t.Fatalf("%q, %v", got, err)
	}
	if !rep.attached() {
		t.Error("detached while the connection is in use")
	}
	rw.Close()
	if got := rep.story(); got != "attach sent answered detach" {
		t.Errorf("the exchange was told %q", got)
	}
}

func TestCancelledUpgrade(t *testing.T) {
	b := serve(t, func(p *peer) {
		p.head()
		p.say("HTTP/1.1 101 Switching Protocols\r\n\r\n")
		p.head()
	})
	rep := newReporter(t.Context())
	req := newRequest(t, b, "GET", "/", nil).WithContext(rep)
	req.Header.Set("Upgrade", "websocket")
	resp, err := newTransport(t).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	go rep.cancel()
	_, err = resp.Body.Read(make([]byte, 1))
	wantFault(t, err, exchange.ClientGone, exchange.Answered)
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

var _ backend.Informer = (*reporter)(nil)
