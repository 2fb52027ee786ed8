package supervisor_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
)

func with(r *http.Request, fields ...string) *http.Request {
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	return r
}

func withHost(r *http.Request, host string) *http.Request {
	r.Host = host
	return r
}

func over2(r *http.Request) *http.Request {
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
	return r
}

// usual are the bounds of a head that nobody set.
var usual = supervisor.HeadLimits{}.WithDefaults()

func TestCheckRequestRefuses(t *testing.T) {
	many := request("GET", "/")
	for i := range 101 {
		many.Header[fmt.Sprint("X-", i)] = []string{"1"}
	}
	repeated := request("GET", "/")
	repeated.Header["X"] = make([]string, 101)
	for _, c := range []struct {
		name   string
		r      *http.Request
		status int
		detail string
	}{
		{"TRACE", request("TRACE", "/"), 405, "method"},
		{"CONNECT", request("CONNECT", "shop.example:443"), 405, "method"},
		{"long target", request("GET", "/"+strings.Repeat("x", 16<<10)), 414, "16 KiB"},
		{"many fields", many, 431, "100"},
		{"one field many times", repeated, 431, "100"},
		{"large fields", with(request("GET", "/"), "Cookie", strings.Repeat("x", 64<<10)), 431, "64 KiB"},
		{"Connection drops credentials", with(request("GET", "/"), "Connection", "Authorization, X-Tenant"), 400, "Connection"},
		{"Connection drops after close", with(request("GET", "/"), "Connection", "close", "Connection", "keep-alive,x-tenant"), 400, "Connection"},
		{"Connection drops our own", with(request("GET", "/"), "Connection", "X-Forwarded-For"), 400, "Connection"},
		{"Kelvin", with(request("GET", "/"), "Connection", "\u212aeep-alive"), 400, "Connection"},
		{"host with a path", withHost(request("GET", "/"), "shop.example/a"), 400, "Host"},
		{"host with userinfo", withHost(request("GET", "/"), "a@shop.example"), 400, "Host"},
		{"host list", withHost(request("GET", "/"), "shop.example,evil"), 400, "Host"},
		{"host with a quote", withHost(request("GET", "/"), `shop.example"`), 400, "Host"},
		{"host port", withHost(request("GET", "/"), "shop.example:80x"), 400, "Host"},
		{"host IPv6", withHost(request("GET", "/"), "[::1"), 400, "Host"},
		{"host IPv6 bare", withHost(request("GET", "/"), "::1"), 400, "Host"},
		{"Expect obfuscated", with(request("POST", "/"), "Expect", "y 100-continue"), 400, "expects"},
		{"Expect twice", with(request("POST", "/"), "Expect", "100-continue", "Expect", "100-continue"), 400, "expects"},
		{"no method", request("", "/"), 400, "method"},
		{"method with a blank", request("GET /x HTTP/1.1\r\n", "/"), 400, "method"},
		{"HTTP/2: length of words", over2(with(request("POST", "/"), "Content-Length", "five")), 400, "Content-Length"},
		{"HTTP/2: length signed", over2(with(request("POST", "/"), "Content-Length", "+0")), 400, "Content-Length"},
		{"HTTP/2: two lengths", over2(with(request("POST", "/"), "Content-Length", "0", "Content-Length", "0")), 400, "Content-Length"},
		{"HTTP/2: length of a body that does not come", over2(with(request("POST", "/"), "Content-Length", "5")), 400, "Content-Length"},
		{"another Host beside the authority", with(request("GET", "/"), "Host", "evil"), 400, "different hosts"},
		{"two Hosts", with(request("GET", "/"), "Host", "shop.example", "Host", "shop.example"), 400, "different hosts"},
	} {
		refusal := supervisor.CheckRequest(c.r, usual)
		if refusal == nil || refusal.Status != c.status || refusal.Reason != "bad_request" || !strings.Contains(refusal.Detail, c.detail) {
			t.Errorf("%s: %+v, want %d about %s", c.name, refusal, c.status, c.detail)
		}
	}
}

func TestCheckRequestLetsThrough(t *testing.T) {
	full := request("GET", "/"+strings.Repeat("x", 16<<10-1))
	for i := range 100 {
		full.Header[fmt.Sprint("X-", i)] = []string{"1"}
	}
	for name, r := range map[string]*http.Request{
		"at the bounds":  full,
		"connection":     with(request("GET", "/"), "Connection", "Keep-Alive, TE,, close", "Connection", "HTTP2-Settings, upgrade, Trailers"),
		"same Host":      with(request("GET", "/"), "Host", "SHOP.example:80"),
		"no Host":        withHost(request("GET", "/"), ""),
		"IPv6 with port": withHost(request("GET", "/"), "[2001:db8::1]:8080"),
		"underscore":     withHost(request("GET", "/"), "my_service.local:"),
		"HTTP/2 length":  over2(with(request("POST", "/"), "Content-Length", "0")),
		"Expect":         with(request("POST", "/"), "Expect", "100-Continue "),
		"a new method":   request("M-SEARCH", "/"),
	} {
		if refusal := supervisor.CheckRequest(r, usual); refusal != nil {
			t.Errorf("%s: %+v", name, refusal)
		}
		if r.Header["Host"] != nil {
			t.Errorf("%s: Host left in the header", name)
		}
	}
	tlsRequest := withHost(with(request("GET", "/"), "Host", "shop.example"), "shop.example:443")
	tlsRequest.TLS = &tls.ConnectionState{}
	if refusal := supervisor.CheckRequest(tlsRequest, usual); refusal != nil {
		t.Errorf("default port of https: %+v", refusal)
	}
}

func TestCheckRequestCleans(t *testing.T) {
	r := with(request("GET", "/"), "X_Forwarded_For", "1.2.3.4", "X_tenant", "a", "X-Tenant", "b", "Content_Length", "3")
	if refusal := supervisor.CheckRequest(r, usual); refusal != nil {
		t.Fatal(refusal.Detail)
	}
	if len(r.Header) != 1 || r.Header.Get("X-Tenant") != "b" {
		t.Errorf("left: %v", r.Header)
	}
	for _, c := range []struct {
		method, connection, upgrade string
		minor                       int
		length                      int64
		want                        bool
	}{
		{"GET", "Upgrade", "websocket", 1, 0, true},
		{"GET", "keep-alive, UPGRADE", "h2c, WebSocket", 1, 0, true},
		{"GET", "Upgrade, HTTP2-Settings", "h2c", 1, 0, false},
		{"GET", "Upgrade", "TLS/1.0", 1, 0, false},
		{"GET", "keep-alive", "websocket", 1, 0, false},
		{"POST", "Upgrade", "websocket", 1, 0, false},
		{"GET", "Upgrade", "websocket", 0, 0, false},
		{"GET", "Upgrade", "websocket", 1, 7, false},
		{"GET", "Upgrade", "websocket", 1, -1, false},
	} {
		r := with(request(c.method, "/"), "Connection", c.connection, "Upgrade", c.upgrade)
		r.ProtoMinor, r.ContentLength = c.minor, c.length
		if refusal := supervisor.CheckRequest(r, usual); refusal != nil {
			t.Errorf("%+v: %s", c, refusal.Detail)
		}
		if got := supervisor.IsUpgrade(r); got != c.want {
			t.Errorf("%+v: upgrade %v", c, got)
		}
		if c.want && r.Header.Get("Upgrade") != "websocket" {
			t.Errorf("%+v: Upgrade %q", c, r.Header["Upgrade"])
		}
	}
}

// TestRouteOnARealServer sends bytes and sees what the handler of a real server
// makes of them: the route and target it would forward, or the problem.
func TestRouteOnARealServer(t *testing.T) {
	routes := routesOf("shop.example/api/orders/", "shop.example/api", "shop.example/files")
	routes[2].Raw = true
	rt := mustRouter(t, routes)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		route, refusal := rt.Route(r)
		if refusal != nil {
			p := supervisor.Problem{Reason: refusal.Reason, Status: refusal.Status, Detail: refusal.Detail, Outcome: supervisor.OutcomeRefused}
			p.ServeHTTP(w, r)
			return
		}
		fmt.Fprintf(w, "%d %s", route.To, r.RequestURI)
	}))
	defer srv.Close()
	address := strings.TrimPrefix(srv.URL, "http://")
	for _, c := range []struct {
		head   string // of the request line, then fields
		status int
		body   string // in full for 200, a part else
	}{
		{"GET /api/orders/?a;b=%zz HTTP/1.1\r\nHost: shop.example", 200, "0 /api/orders/?a;b=%zz"},
		{"GET /api/%6frders/%7Ex HTTP/1.1\r\nHost: SHOP.example:80", 200, "0 /api/orders/~x"},
		{"GET http://shop.example/api/x?y HTTP/1.1\r\nHost: shop.example", 200, "1 /api/x?y"},
		{"GET /files/a/../b%2fc//d HTTP/1.1\r\nHost: shop.example", 200, "2 /files/a/../b%2fc//d"},
		{"GET /files/../api/orders/ HTTP/1.1\r\nHost: shop.example", 400, "lead out"},
		{"GET /api/orders/%2e%2e/x HTTP/1.1\r\nHost: shop.example", 400, "dot segment"},
		{"GET //api/orders/ HTTP/1.1\r\nHost: shop.example", 400, "empty segment"},
		{"GET /nowhere/../x HTTP/1.1\r\nHost: shop.example", 400, "dot segment"},
		{"GET /api/orders/ HTTP/1.1\r\nHost: evil.example", 400, "Host"},
		{"GET /nowhere HTTP/1.1\r\nHost: shop.example", 404, `"reason":"no_route"`},
		{"GET /api/orders/ HTTP/1.1\r\nHost: shop.example\r\nConnection: Authorization", 400, "Connection"},
		{"TRACE /api/orders/ HTTP/1.1\r\nHost: shop.example", 405, "method"},
		{"CONNECT shop.example:443 HTTP/1.1\r\nHost: shop.example", 405, "method"},
		{"GET /api/" + strings.Repeat("x", 16<<10) + " HTTP/1.1\r\nHost: shop.example", 414, "16 KiB"},
		{"GET /api HTTP/1.1\r\nHost: shop.example" + strings.Repeat("\r\nX: y", 101), 431, "100"},
	} {
		status, body := exchangeRaw(t, address, c.head+"\r\n\r\n")
		if status != c.status || c.status == 200 && body != c.body || !strings.Contains(body, c.body) {
			t.Errorf("%.60s...: %d %s, want %d %s", c.head, status, body, c.status, c.body)
		}
	}
}

func exchangeRaw(t *testing.T, address, request string) (int, string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// browserRequest has what a browser sends.
func browserRequest() *http.Request {
	r := with(request("GET", "/api/orders/order_history/?username=U&page=1&page_size=20"),
		"Accept", "application/json", "Accept-Language", "en-GB,en;q=0.5", "Accept-Encoding", "gzip, deflate, br",
		"User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
		"Cookie", "session=0123456789abcdef; csrftoken=0123456789abcdef", "Connection", "keep-alive",
		"Origin", "https://shop.example", "Referer", "https://shop.example/orders", "Sec-Fetch-Mode", "cors")
	r.RemoteAddr = "192.0.2.7:50412"
	r.URL, _ = url.ParseRequestURI(r.RequestURI)
	return r
}

func TestRouteOfACleanRequestAllocatesNothing(t *testing.T) {
	rt := mustRouter(t, routesOf("shop.example/api/orders", "/api"))
	r := browserRequest()
	if n := testing.AllocsPerRun(100, func() {
		if _, refusal := rt.Route(r); refusal != nil {
			t.Fatal(refusal.Detail)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRoute(b *testing.B) {
	b.ReportAllocs()
	rt := mustRouter(b, routesOf("shop.example/api/orders", "/api"))
	r := browserRequest()
	for b.Loop() {
		if _, refusal := rt.Route(r); refusal != nil {
			b.Fatal(refusal.Detail)
		}
	}
}

func BenchmarkParseTarget(b *testing.B) {
	b.ReportAllocs()
	r := browserRequest()
	for b.Loop() {
		if _, refusal := supervisor.ParseTarget(r); refusal != nil {
			b.Fatal(refusal.Detail)
		}
	}
}
