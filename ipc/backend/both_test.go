package backend_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"commerce.example/coordinator/ipc/backend"
)

// speaks is a way to reach site.
type speaks struct {
	name, proto string
	tr          *backend.Transport
	b           *rawBackend
	scheme      string
}

// ways are all combinations of protocol and transport.
func ways(t *testing.T) []speaks {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(site))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	secure := func(p backend.Protocol) *backend.Transport {
		tr := newTransport(t)
		tr.TLS, tr.Protocol = &tls.Config{RootCAs: roots}, p
		return tr
	}
	over := &rawBackend{addr: srv.Listener.Addr().String()}
	return []speaks{
		{"http1", "HTTP/1.1", newTransport(t), plainServer(t, site, func(p *http.Protocols) { p.SetHTTP1(true) }), "http"},
		{"http1 TLS", "HTTP/1.1", secure(backend.HTTP1), over, "https"},
		{"auto TLS", "HTTP/2.0", secure(backend.Auto), over, "https"},
		{"http2 TLS", "HTTP/2.0", secure(backend.HTTP2), over, "https"},
		{"h2c", "HTTP/2.0", newHTTP2(t), h2c(t, site), "http"},
	}
}

// site is a backend with a handler for each thing that HTTP carries.
func site(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	switch r.URL.Path {
	case "/echo":
		control.EnableFullDuplex()
		w.Header().Set("X-Length", fmt.Sprint(r.ContentLength))
		w.WriteHeader(200)
		control.Flush()
		buf := make([]byte, 32<<10)
		for {
			n, err := r.Body.Read(buf)
			w.Write(buf[:n])
			control.Flush()
			if err != nil {
				break
			}
		}
		for name, values := range r.Trailer {
			w.Header()[http.TrailerPrefix+name] = values
		}
	case "/fields":
		w.Header()["Set-Cookie"] = []string{"a=1", "b=2"}
		w.Header()["X-Order"] = r.Header["X-Order"]
		w.Header().Set("X-Cookie", strings.Join(r.Header["Cookie"], "|"))
		w.Header().Set("X-Host", r.Host)
		w.Header().Set("X-Agent", fmt.Sprint(r.Header["User-Agent"], r.Header["Accept-Encoding"]))
		w.Header().Set("X-Target", r.RequestURI)
	case "/early":
		for range 7 {
			w.Header().Set("Link", "</a>")
			w.WriteHeader(103)
		}
		w.Header().Del("Link")
		io.WriteString(w, "ok")
	case "/204":
		w.WriteHeader(204)
	case "/304":
		w.Header().Set("Etag", `"x"`)
		w.WriteHeader(304)
	case "/413":
		w.WriteHeader(413)
		io.WriteString(w, "no")
	default:
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Length", fmt.Sprint(len(body)+len(r.Proto)))
		io.WriteString(w, r.Proto+string(body))
	}
}

func (s speaks) request(t testing.TB, method, path string, body io.Reader) *http.Request {
	req := newRequest(t, s.b, method, path, body)
	req.URL.Scheme = s.scheme
	return req
}

func TestBothProtocols(t *testing.T) {
	for _, s := range ways(t) {
		t.Run(s.name, func(t *testing.T) {
			t.Run("get", func(t *testing.T) {
				rep := newReporter(t.Context())
				resp, body, err := run(s.tr, s.request(t, "GET", "/", nil).WithContext(rep))
				if err != nil || body != s.proto || resp.Proto != s.proto || resp.ContentLength != int64(len(body)) {
					t.Fatalf("%q %v %v", body, resp, err)
				}
				if got := rep.story(); got != "attach sent answered detach" {
					t.Errorf("the exchange was told %q", got)
				}
			})
			t.Run("post", func(t *testing.T) {
				for _, n := range []int{0, 1, 16 << 10, 100_000} {
					text := strings.Repeat("x", n)
					_, body, err := run(s.tr, s.request(t, "POST", "/", strings.NewReader(text)))
					if err != nil || body != s.proto+text {
						t.Fatalf("%d bytes: %d back, %v", n, len(body), err)
					}
				}
			})
			t.Run("fields", func(t *testing.T) { testFields(t, s) })
			t.Run("no body", func(t *testing.T) { testNoBody(t, s) })
			t.Run("10 MiB and trailers", func(t *testing.T) { testLargeEcho(t, s) })
			t.Run("full duplex", func(t *testing.T) { testDuplex(t, s) })
			t.Run("early hints", func(t *testing.T) {
				rep := newReporter(t.Context())
				_, body, err := run(s.tr, s.request(t, "GET", "/early", nil).WithContext(rep))
				if err != nil || body != "ok" || !slices.Equal(rep.informed, []int{103, 103, 103, 103, 103}) {
					t.Errorf("%q, %v, %v", body, err, rep.informed)
				}
			})
			t.Run("expect", func(t *testing.T) {
				for path, want := range map[string]string{"/": s.proto + "body", "/413": "no"} {
					req := s.request(t, "POST", path, strings.NewReader("body"))
					req.Header.Set("Expect", "100-continue")
					if _, body, err := run(s.tr, req); err != nil || body != want {
						t.Errorf("%s: %q, %v", path, body, err)
					}
				}
			})
		})
	}
}

func testFields(t *testing.T, s speaks) {
	req := s.request(t, "GET", "/fields?a;b=%zz", nil)
	req.URL.Opaque, req.URL.RawQuery = "/fields", "a;b=%zz"
	req.Host = "shop.example"
	req.Header["X-Order"] = []string{"2", "1", "3"}
	req.Header["Cookie"] = []string{"a=1", "b=2;c=3"}
	req.Header.Set("Connection", "close")
	resp, _, err := run(s.tr, req)
	if err != nil {
		t.Fatal(err)
	}
	cookie := "a=1|b=2;c=3"
	if s.proto == "HTTP/2.0" {
		cookie = "a=1; b=2;c=3" // joined by the server: RFC 9113 section 8.2.3
	}
	for name, want := range map[string][]string{
		"Set-Cookie": {"a=1", "b=2"}, "X-Order": {"2", "1", "3"}, "X-Cookie": {cookie},
		"X-Host": {"shop.example"}, "X-Agent": {"[] []"}, "X-Target": {"/fields?a;b=%zz"},
	} {
		if got := resp.Header[name]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func testNoBody(t *testing.T, s speaks) {
	for _, tc := range []struct {
		method, path string
		code         int
		length       int64
	}{{"HEAD", "/", 200, int64(len(s.proto))}, {"GET", "/204", 204, 0}, {"GET", "/304", 304, 0}, {"DELETE", "/204", 204, 0}} {
		resp, body, err := run(s.tr, s.request(t, tc.method, tc.path, nil))
		if err != nil || resp.StatusCode != tc.code || body != "" || resp.ContentLength != tc.length {
			t.Errorf("%s %s: %v, %q, %v", tc.method, tc.path, resp, body, err)
		}
	}
}

func testLargeEcho(t *testing.T, s speaks) {
	const size = 10 << 20
	req := s.request(t, "POST", "/echo", io.LimitReader(endless{}, size))
	req.ContentLength = -1
	req.Trailer = http.Header{"X-Sum": nil}
	req.Body = &filler{Reader: req.Body, fill: func() { req.Trailer.Set("X-Sum", "42") }}
	resp, err := s.tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil || n != size || resp.Trailer.Get("X-Sum") != "42" || resp.Header.Get("X-Length") != "-1" {
		t.Errorf("%d bytes, %v, trailer %v, %v", n, err, resp.Trailer, resp.Header)
	}
}

// filler calls fill at the end of its reader.
type filler struct {
	io.Reader
	fill func()
}

func (f *filler) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err == io.EOF {
		f.fill()
	}
	return n, err
}

func (f *filler) Close() error { return nil }

func testDuplex(t *testing.T, s speaks) {
	body, feed := io.Pipe()
	resp, err := s.tr.RoundTrip(s.request(t, "POST", "/echo", body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	for i := range 20 {
		word := fmt.Sprintf("word %d\n", i)
		io.WriteString(feed, word)
		if got, err := r.ReadString('\n'); err != nil || got != word {
			t.Fatalf("%q, %v", got, err)
		}
	}
	feed.Close()
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
}
