package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"commerce.example/coordinator/workers/proxy"
)

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// raw is a TCP server whose every byte the test writes: script runs for each
// connection, which is closed behind it.
func raw(t testing.TB, script func(nc net.Conn, r *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer nc.Close()
				nc.SetDeadline(time.Now().Add(10 * time.Second))
				script(nc, bufio.NewReader(nc))
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return "http://" + l.Addr().String()
}

// head reads a request's head, lines without their ends.
func head(r *bufio.Reader) []string {
	var lines []string
	for {
		line, err := r.ReadString('\n')
		line = strings.TrimSuffix(line, "\r\n")
		if err != nil || line == "" {
			return lines
		}
		lines = append(lines, line)
	}
}

// front is the proxy behind net/http's server. It is closed before the backends
// that were made before it.
func front(t testing.TB, s proxy.Settings) *httptest.Server {
	t.Helper()
	h, err := proxy.New(s)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(func() {
		srv.Close()
		if err := h.(io.Closer).Close(); err != nil {
			t.Error(err)
		}
	})
	return srv
}

// send writes a request as it stands and gives back all that comes.
func send(t testing.TB, srv *httptest.Server, request string) string {
	t.Helper()
	nc, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(nc, request)
	got, err := io.ReadAll(nc)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

// heads is a backend that hands over the heads it gets.
func heads(t testing.TB) (string, <-chan []string) {
	ch := make(chan []string, 64)
	return raw(t, func(nc net.Conn, r *bufio.Reader) {
		for h := head(r); h != nil; h = head(r) {
			ch <- h
			io.WriteString(nc, ok)
		}
	}), ch
}

func TestTargetsByteForByte(t *testing.T) {
	backend, got := heads(t)
	srv := front(t, proxy.Settings{Backend: backend})
	for _, target := range []string{
		"/", "//", "///a", "/a//b", "/a/./b", "/a/../b", "/..", "/.", "/a/", "/%2f", "/%2F", "/a%2fb%2F", "/%5c", "/a%20b", "/a+b",
		"/%41", "/%7e", "/~", "/a;b=c;d", "/a,b", "/a:b", "/a@b", "/a=b&c", "/$&'()*+,;=:@", "/!", "/%e2%82%ac", "/%E2%82%AC",
		"/\xc3\xa9", "/\xff", "/?", "/a?", "/??", "/?a;b", "/?a=%zz", "/?a=%", "/?a=b?c=/d//e", "/?%2f=%2F", "/?a=1&a=1&b", "/?+%20",
		"/{x}|^`", "/\"<>", "/[a]", "/a%00b", "/?q=[]{}|\\^`\"<>",
	} {
		answer := send(t, srv, "GET "+target+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(answer, "HTTP/1.1 200") {
			t.Errorf("%q: %.40q", target, answer)
			continue
		}
		if line := (<-got)[0]; line != "GET "+target+" HTTP/1.1" {
			t.Errorf("%q arrived as %q", target, line)
		}
	}
}

func TestPrefixes(t *testing.T) {
	for _, tc := range []struct{ base, strip, target, want string }{
		{"", "", "/a?b", "/a?b"},
		{"/", "", "/a", "/a"},
		{"/base", "", "/a", "/base/a"},
		{"/base/", "", "/a/", "/base/a/"},
		{"/b%2fse", "", "/a", "/b%2fse/a"},
		{"", "/api", "/api/a", "/a"},
		{"", "/api/", "/api/a", "/a"},
		{"", "/api", "/api", "/"},
		{"", "/api", "/api?x", "/?x"},
		{"", "/api", "/api/", "/"},
		{"", "/api", "/apis/a", "/apis/a"},
		{"", "/api", "/api%2fa", "/api%2fa"},
		{"", "/api", "/api//a", "//a"},
		{"/base", "/api", "/api/a?/api/", "/base/a?/api/"},
		{"/base", "/api", "/api", "/base"},
		{"/base", "/api", "http://x/api/a", "/base/a"},
		{"", "", "http://x", "/"},
		{"", "", "http://x?q", "/?q"},
	} {
		backend, got := heads(t)
		srv := front(t, proxy.Settings{Backend: backend + tc.base, StripPrefix: tc.strip})
		send(t, srv, "GET "+tc.target+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if line := (<-got)[0]; line != "GET "+tc.want+" HTTP/1.1" {
			t.Errorf("%+v: %q", tc, line)
		}
	}
}

func TestRequestFields(t *testing.T) {
	for _, preserve := range []bool{false, true} {
		backend, got := heads(t)
		srv := front(t, proxy.Settings{Backend: backend, PreserveHost: preserve})
		send(t, srv, "GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n"+
			"Proxy-Authorization: x\r\nProxy-Connection: y\r\nTE: gzip, trailers;q=0.5\r\nUpgrade: h2c\r\nAuthorization: me\r\n"+
			"X-Forwarded-For: 1.2.3.4\r\nX-Many: 1\r\nX-Many: 2\r\n\r\n")
		lines := (<-got)[1:]
		slices.Sort(lines)
		host := strings.TrimPrefix(backend, "http://")
		if preserve {
			host = "shop.example"
		}
		want := []string{"Authorization: me", "Connection: TE", "Host: " + host, "Te: trailers",
			"X-Forwarded-For: 1.2.3.4", "X-Many: 1", "X-Many: 2"}
		if !slices.Equal(lines, want) {
			t.Errorf("got %q\nwant %q", lines, want)
		}
	}
}

func TestAnswerFields(t *testing.T) {
	backend := raw(t, func(nc net.Conn, r *bufio.Reader) {
		head(r)
		io.WriteString(nc, "HTTP/1.1 418 Tea\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n"+
			"Date: D\r\nContent-Length: 15\r\n\r\n<html>no type</")
	})
	srv := front(t, proxy.Settings{Backend: backend})
	got := send(t, srv, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	lines := strings.Split(got, "\r\n")
	slices.Sort(lines)
	want := []string{"", "<html>no type</", "Connection: close", "Content-Length: 15", "Date: D",
		"HTTP/1.1 418 I'm a teapot", "Set-Cookie: a", "Set-Cookie: b"}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q\nwant %q", lines, want)
	}
}

func TestFailures(t *testing.T) {
	for name, tc := range map[string]struct {
		script func(nc net.Conn, r *bufio.Reader)
		want   int
	}{
		"garbage":  {func(nc net.Conn, r *bufio.Reader) { head(r); io.WriteString(nc, "SSH-2.0") }, 502},
		"hangs up": {func(nc net.Conn, r *bufio.Reader) { head(r) }, 502},
		"two lengths": {func(nc net.Conn, r *bufio.Reader) {
			head(r)
			io.WriteString(nc, strings.Replace(ok, "Con", "Content-Length: 2\r\nCon", 1))
		}, 502},
		"never answers": {func(nc net.Conn, r *bufio.Reader) { head(r); head(r) }, 504},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := proxy.New(proxy.Settings{Backend: raw(t, tc.script)})
			if err != nil {
				t.Fatal(err)
			}
			defer h.(io.Closer).Close()
			ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer stop()
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/", nil))
			if w.Code != tc.want {
				t.Errorf("status %d, want %d", w.Code, tc.want)
			}
			if strings.Contains(w.Body.String(), "127.0.0.1") {
				t.Error("the answer names an address")
			}
		})
	}
}

// told is a ResponseWriter of the SDK as far as the proxy knows it.
type told struct {
	*httptest.ResponseRecorder
	err error
}

func (w *told) Fail(err error) { w.err = err }

func TestFailGetsTheReason(t *testing.T) {
	backend := raw(t, func(nc net.Conn, r *bufio.Reader) {
		head(r)
		io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
	})
	h, err := proxy.New(proxy.Settings{Backend: backend})
	if err != nil {
		t.Fatal(err)
	}
	defer h.(io.Closer).Close()
	w := &told{ResponseRecorder: httptest.NewRecorder()}
	func() {
		defer func() {
			if p := recover(); p != http.ErrAbortHandler {
				t.Errorf("panic %v", p)
			}
		}()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	}()
	if !errors.Is(w.err, io.ErrUnexpectedEOF) || w.Body.String() != "half" {
		t.Errorf("error %v, body %q", w.err, w.Body)
	}
}

// own is a ResponseWriter that relays by itself.
type own struct {
	told
	relayed int64
}

func (w *own) ReadFrom(src io.Reader) (n int64, err error) {
	if _, ok := src.(interface{ Buffered() int }); !ok {
		return 0, errors.New("the body does not tell what is buffered")
	}
	w.relayed, err = io.Copy(w.ResponseRecorder, src)
	return w.relayed, err
}

func TestRelayIsLeftToTheSDK(t *testing.T) {
	backend, _ := heads(t)
	h, err := proxy.New(proxy.Settings{Backend: backend})
	if err != nil {
		t.Fatal(err)
	}
	defer h.(io.Closer).Close()
	w := &own{told: told{ResponseRecorder: httptest.NewRecorder()}}
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.err != nil || w.relayed != 2 || w.Body.String() != "ok" {
		t.Errorf("relayed %d, %q, %v", w.relayed, w.Body, w.err)
	}
}

func TestCutShortIsNoCleanEnd(t *testing.T) {
	for name, answer := range map[string]string{
		"length":  "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			srv := front(t, proxy.Settings{Backend: raw(t, func(nc net.Conn, r *bufio.Reader) {
				head(r)
				io.WriteString(nc, answer)
			})})
			resp, err := srv.Client().Get(srv.URL)
			if err != nil {
				return // aborted before its head was out
			}
			defer resp.Body.Close()
			if body, err := io.ReadAll(resp.Body); err == nil {
				t.Errorf("a clean end after %q", body)
			}
		})
	}
}

func TestInformationalAndTrailers(t *testing.T) {
	srv := front(t, proxy.Settings{Backend: raw(t, func(nc net.Conn, r *bufio.Reader) {
		head(r)
		io.WriteString(nc, "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"+
			"Trailer: X-Sum\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 42\r\nX-More: yes\r\n\r\n")
	})})
	var hints []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hints = append(hints, fmt.Sprint(code, h))
			return nil
		}})
	req, _ := http.NewRequestWithContext(ctx, "GET", srv.URL, nil)
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, found := resp.Trailer["X-Sum"]; !found {
		t.Errorf("announced %v", resp.Trailer)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "body" || resp.Header.Get("Link") != "" {
		t.Errorf("%q, %v, %v", body, err, resp.Header)
	}
	if want := (http.Header{"X-Sum": {"42"}, "X-More": {"yes"}}); !reflect.DeepEqual(resp.Trailer, want) {
		t.Errorf("trailer %v", resp.Trailer)
	}
	if want := []string{"103 map[Link:[<a>]]"}; !slices.Equal(hints, want) {
		t.Errorf("hints %q", hints)
	}
}

func TestRequestTrailers(t *testing.T) {
	for _, announced := range []string{"", "Trailer: X-Sum\r\n"} {
		got := make(chan http.Header, 1)
		backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			got <- r.Trailer
		}))
		defer backend.Close()
		send(t, front(t, proxy.Settings{Backend: backend.URL}), "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+
			"Transfer-Encoding: chunked\r\n"+announced+"\r\n4\r\nbody\r\n0\r\nX-Sum: 42\r\n\r\n")
		if trailer := <-got; trailer.Get("X-Sum") != "42" {
			t.Errorf("%q: trailer %v", announced, trailer)
		}
	}
}

func TestStreamsAsItComes(t *testing.T) {
	next := make(chan string)
	srv := front(t, proxy.Settings{Backend: raw(t, func(nc net.Conn, r *bufio.Reader) {
		head(r)
		for s := range next {
			io.WriteString(nc, s)
		}
	})})
	got := make(chan *http.Response)
	go func() {
		resp, err := srv.Client().Get(srv.URL)
		if err != nil {
			t.Error(err)
		}
		got <- resp
	}()
	next <- "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
	resp := <-got // the head alone, before any event
	if resp == nil {
		t.FailNow()
	}
	defer resp.Body.Close()
	for i := range 5 {
		event := fmt.Sprintf("data: %d\n\n", i)
		next <- event
		buf := make([]byte, len(event))
		if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != event {
			t.Fatalf("%q, %v", buf, err)
		}
	}
	close(next)
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestClientLeaves(t *testing.T) {
	arrived, left := make(chan struct{}), make(chan struct{})
	srv := front(t, proxy.Settings{Backend: raw(t, func(nc net.Conn, r *bufio.Reader) {
		head(r)
		close(arrived)
		head(r) // until the proxy hangs up
		close(left)
	})})
	nc, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(nc, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-arrived
	nc.Close()
	select {
	case <-left:
	case <-time.After(5 * time.Second):
		t.Error("the backend goes on working for nobody")
	}
}

func TestEarlyAnswerDuringUpload(t *testing.T) {
	srv := front(t, proxy.Settings{Backend: raw(t, func(nc net.Conn, r *bufio.Reader) {
		head(r)
		io.WriteString(nc, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
		io.Copy(io.Discard, r)
	})})
	nc, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(nc, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nbegun")
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 413 || string(body) != "no" {
		t.Errorf("%d %q %v", resp.StatusCode, body, err)
	}
}

// 64 MiB both ways at once, echoed; the heap must not follow.
func TestBigBothWays(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		io.Copy(w, r.Body)
	}))
	defer backend.Close()
	srv := front(t, proxy.Settings{Backend: backend.URL})
	const size = 64 << 20
	resp, err := srv.Client().Post(srv.URL, "", io.LimitReader(zeros{}, size))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var before, peak runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	n, err := io.CopyN(io.Discard, resp.Body, size/2)
	runtime.GC()
	runtime.ReadMemStats(&peak)
	rest, err2 := io.Copy(io.Discard, resp.Body)
	if n+rest != size || err != nil || err2 != nil {
		t.Errorf("%d bytes, %v, %v", n+rest, err, err2)
	}
	if grown := int64(peak.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
		t.Errorf("the heap grew by %d KiB", grown>>10)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestWebSocket(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"echo"}})
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			kind, msg, err := c.Read(r.Context())
			if err != nil || c.Write(r.Context(), kind, msg) != nil {
				return
			}
		}
	}))
	defer backend.Close()
	srv := front(t, proxy.Settings{Backend: backend.URL, PreserveHost: true})
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	c, _, err := websocket.Dial(ctx, srv.URL, &websocket.DialOptions{Subprotocols: []string{"echo"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if c.Subprotocol() != "echo" {
		t.Errorf("subprotocol %q", c.Subprotocol())
	}
	for _, msg := range []string{"a", strings.Repeat("b", 30_000)} {
		if err := c.Write(ctx, websocket.MessageText, []byte(msg)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(ctx); err != nil || string(got) != msg {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
}

// Each direction ends on its own.
func TestUpgradeHalfClose(t *testing.T) {
	srv := front(t, proxy.Settings{Backend: raw(t, func(nc net.Conn, r *bufio.Reader) {
		head(r)
		io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello ")
		got, _ := io.ReadAll(r)
		nc.Write(append(got, " bye"...))
	})})
	nc, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(nc, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nsent")
	r := bufio.NewReader(nc)
	if lines := head(r); len(lines) != 3 || lines[0] != "HTTP/1.1 101 Switching Protocols" {
		t.Fatalf("%q", lines)
	}
	nc.(*net.TCPConn).CloseWrite()
	got, err := io.ReadAll(r)
	if err != nil || string(got) != "hello sent bye" {
		t.Errorf("%q, %v", got, err)
	}
}
