package backend_test

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"commerce.example/coordinator/ipc/backend"
	"commerce.example/coordinator/ipc/exchange"
)

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// capture is a backend that hands over the heads it gets.
func capture(t testing.TB) (*rawBackend, <-chan string) {
	heads := make(chan string, 16)
	return serve(t, func(p *peer) {
		for h := p.head(); h != ""; h = p.head() {
			heads <- h
			p.say(ok)
		}
	}), heads
}

func TestRequestHead(t *testing.T) {
	noLeak(t)
	b, heads := capture(t)
	tr := newTransport(t)
	for _, tc := range []struct {
		name string
		make func(*http.Request)
		want []string
	}{
		{"plain", func(r *http.Request) {}, []string{"GET /p?q=1 HTTP/1.1", "Host: " + b.addr}},
		{"host", func(r *http.Request) { r.Host = "shop.example" },
			[]string{"GET /p?q=1 HTTP/1.1", "Host: shop.example"}},
		{"opaque", func(r *http.Request) { r.URL.Opaque = "//a%2f../%zz/;x"; r.URL.RawQuery = "a;b=%&&c" },
			[]string{"GET //a%2f../%zz/;x?a;b=%&&c HTTP/1.1", "Host: " + b.addr}},
		{"empty query", func(r *http.Request) { r.URL.Opaque = "/x"; r.URL.RawQuery = ""; r.URL.ForceQuery = true },
			[]string{"GET /x? HTTP/1.1", "Host: " + b.addr}},
		{"order of a repeated field", func(r *http.Request) { r.Header = http.Header{"A": {"1", "2"}} },
			[]string{"GET /p?q=1 HTTP/1.1", "Host: " + b.addr, "A: 1", "A: 2"}},
		{"fields of the transport are not the caller's", func(r *http.Request) {
			r.Header = header("Connection", "close", "Content-Length", "7", "Transfer-Encoding", "x", "Trailer", "y", "Host", "z")
			r.Header["content-length"] = []string{"8"}
		}, []string{"GET /p?q=1 HTTP/1.1", "Host: " + b.addr}},
		{"post without a body", func(r *http.Request) { r.Method = "POST" },
			[]string{"POST /p?q=1 HTTP/1.1", "Host: " + b.addr, "Content-Length: 0"}},
		{"te", func(r *http.Request) { r.Header.Set("TE", "trailers") },
			[]string{"GET /p?q=1 HTTP/1.1", "Host: " + b.addr, "Te: trailers", "Connection: TE"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req := newRequest(t, b, "GET", "/p?q=1", nil)
			tc.make(req)
			if _, body, err := run(tr, req); err != nil || body != "ok" {
				t.Fatal(body, err)
			}
			got := strings.Split(strings.TrimSuffix(<-heads, "\r\n"), "\r\n")
			if !slices.Equal(got, tc.want) {
				t.Errorf("got\n%q, want\n%q", got, tc.want)
			}
		})
	}
	if n := b.conns.Load(); n != 1 {
		t.Errorf("%d connections for requests in turn, want 1", n)
	}
}

func TestBadRequestTouchesNoBackend(t *testing.T) {
	b, _ := capture(t)
	for name, spoil := range map[string]func(*http.Request){
		"line feed in a value":  func(r *http.Request) { r.Header.Set("A", "x\nB: y") },
		"CR in a value":         func(r *http.Request) { r.Header.Set("A", "x\ry") },
		"NUL in a value":        func(r *http.Request) { r.Header.Set("A", "x\x00y") },
		"CRLF in a name":        func(r *http.Request) { r.Header["A\r\nB"] = []string{"x"} },
		"colon in a name":       func(r *http.Request) { r.Header["A:"] = []string{"x"} },
		"empty name":            func(r *http.Request) { r.Header[""] = []string{"x"} },
		"method":                func(r *http.Request) { r.Method = "GET / HTTP/1.1\r\nX:" },
		"blank in the target":   func(r *http.Request) { r.URL.Opaque = "/ HTTP/1.1" },
		"CRLF in the query":     func(r *http.Request) { r.URL.RawQuery = "a\r\nB: c" },
		"host":                  func(r *http.Request) { r.Host = "a b" },
		"host with CRLF":        func(r *http.Request) { r.Host = "a\r\nX: y" },
		"scheme":                func(r *http.Request) { r.URL.Scheme = "ftp" },
		"no host":               func(r *http.Request) { r.URL.Host = "" },
		"length without a body": func(r *http.Request) { r.ContentLength = 3 },
		"trailer name": func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader("x")), -1
			r.Trailer = http.Header{"Content-Length": nil}
		},
		"short body at hand": func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader("x")), 2
			r.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("never called") }
		},
	} {
		for proto, tr := range map[string]*backend.Transport{"http1": newTransport(t), "http2": newHTTP2(t)} {
			if proto == "http2" && name == "short body at hand" {
				continue // it is read when there is a connection
			}
			t.Run(name+" "+proto, func(t *testing.T) {
				req := newRequest(t, b, "GET", "/", nil)
				spoil(req)
				_, _, err := run(tr, req)
				wantFault(t, err, exchange.BadRequest, exchange.Taken)
			})
		}
	}
	if n := b.conns.Load(); n != 0 {
		t.Errorf("the backend saw %d connections", n)
	}
}

type seen struct {
	req  *http.Request
	body string
	err  error
}

// record is a backend that hands over whole requests.
func record(t testing.TB) (*rawBackend, <-chan seen) {
	ch := make(chan seen, 16)
	return serve(t, func(p *peer) {
		for {
			req, body, err := p.request()
			if errors.Is(err, io.EOF) && req == nil {
				return
			}
			ch <- seen{req, body, err}
			if err != nil {
				return
			}
			p.say(ok)
		}
	}), ch
}

func TestRequestBodies(t *testing.T) {
	noLeak(t)
	b, requests := record(t)
	tr := newTransport(t)
	big := strings.Repeat("0123456789abcdef", 20_000)
	for _, tc := range []struct {
		name   string
		body   io.Reader
		length int64
		want   string
	}{
		{"in memory", strings.NewReader("small"), 5, "small"},
		{"length, stream", io.MultiReader(strings.NewReader("sm"), strings.NewReader("all")), 5, "small"},
		{"chunked", io.MultiReader(strings.NewReader("sm"), strings.NewReader("all")), -1, "small"},
		{"chunked and empty", io.MultiReader(), -1, ""},
		{"big by length", strings.NewReader(big), int64(len(big)), big},
		{"big chunked", io.MultiReader(strings.NewReader(big)), -1, big},
		{"last bytes with EOF", iotest.DataErrReader(strings.NewReader(big)), -1, big},
		{"more than it said", io.MultiReader(strings.NewReader("sm"), strings.NewReader("all and more")), 5, "small"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req := newRequest(t, b, "PUT", "/", tc.body)
			req.ContentLength = tc.length
			if _, body, err := run(tr, req); err != nil || body != "ok" {
				t.Fatal(body, err)
			}
			got := <-requests
			if got.err != nil || got.body != tc.want || got.req.ContentLength != tc.length {
				t.Errorf("got %d bytes of %d, error %v", len(got.body), got.req.ContentLength, got.err)
			}
		})
	}
}

func TestRequestTrailers(t *testing.T) {
	b, requests := record(t)
	tr := newTransport(t)
	req := newRequest(t, b, "POST", "/", io.MultiReader(strings.NewReader("body")))
	req.ContentLength = -1
	req.Trailer = http.Header{"X-Sum": nil}
	req.Body = io.NopCloser(io.TeeReader(req.Body, writerFunc(func(p []byte) (int, error) {
		req.Trailer.Set("X-Sum", "42")
		return len(p), nil
	})))
	if _, _, err := run(tr, req); err != nil {
		t.Fatal(err)
	}
	got := <-requests
	if got.body != "body" || got.req.Trailer.Get("X-Sum") != "42" {
		t.Errorf("body %q, trailer %v", got.body, got.req.Trailer)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestRequestBodyFails(t *testing.T) {
	noLeak(t)
	broken := errors.New("the caller's wire broke")
	for _, tc := range []struct {
		name   string
		err    error
		length int64
		fault  exchange.Fault
		is     error
	}{
		{"chunked", broken, -1, exchange.ClientGone, broken},
		{"length", broken, 100, exchange.ClientGone, broken},
		{"shorter than it said", io.EOF, 100, exchange.BadRequest, io.ErrUnexpectedEOF},
		{"with a fault of its own", &exchange.Error{Fault: exchange.ClientTimeout, Err: broken}, -1,
			exchange.ClientTimeout, broken},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, requests := record(t)
			req := newRequest(t, b, "POST", "/", io.MultiReader(strings.NewReader("begun"), iotest.ErrReader(tc.err)))
			req.ContentLength = tc.length
			_, _, err := run(newTransport(t), req)
			wantFault(t, err, tc.fault, exchange.Sent)
			if !errors.Is(err, tc.is) {
				t.Errorf("%v does not wrap %v", err, tc.is)
			}
			if got := <-requests; got.err == nil {
				t.Error("the backend took half a body for a whole one")
			}
		})
	}
}
