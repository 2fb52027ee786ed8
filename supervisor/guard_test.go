package supervisor_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
)

// fronts runs a test on a front without and one with TLS. say opens a
// connection that speaks HTTP/1 and writes to it.
func fronts(t *testing.T, test func(t *testing.T, r *running, say func(string) (net.Conn, *bufio.Reader))) {
	upgrades := func(c *supervisor.BulkheadConfig) { c.UpgradeLimit = 100 }
	t.Run("cleartext", func(t *testing.T) {
		r := start(t, one("a", upgrades))
		test(t, r, r.raw)
	})
	t.Run("TLS", func(t *testing.T) {
		cert, key := pair(t, t.TempDir(), 1)
		r := start(t, one("a", upgrades), func(o *supervisor.Options) { o.Config.TLSCert, o.Config.TLSKey = cert, key })
		test(t, r, r.rawTLS)
	})
}

// rawTLS is raw over TLS.
func (r *running) rawTLS(text string) (net.Conn, *bufio.Reader) {
	r.t.Helper()
	nc, _ := r.raw("")
	secured := tls.Client(nc, insecure())
	if _, err := io.WriteString(secured, text); err != nil {
		r.t.Fatal(err)
	}
	return secured, bufio.NewReader(secured)
}

// answer reads one answer whole.
func answer(t testing.TB, br *bufio.Reader, method string) (*http.Response, string) {
	t.Helper()
	resp, err := http.ReadResponse(br, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	return resp, string(b)
}

// refusal reads a problem that ends its connection.
func refusal(t *testing.T, br *bufio.Reader, method string, status int, reason, detail string) {
	t.Helper()
	resp, body := answer(t, br, method)
	h := resp.Header
	if resp.StatusCode != status || !resp.Close || h.Get("Content-Type") != "application/problem+json" || h.Get("Date") == "" ||
		!strings.Contains(h.Get("Proxy-Status"), reason) || len(h.Get("X-Request-Id")) < 30 {
		t.Errorf("%s %v, want %d %s", resp.Status, h, status, reason)
	}
	if method != "HEAD" {
		var p struct {
			Status                  int
			Reason, Outcome, Detail string
			Retry                   bool `json:"retry_safe"`
		}
		if err := json.Unmarshal([]byte(body), &p); err != nil || p.Status != status || p.Reason != reason ||
			p.Outcome != "refused" || !p.Retry || !strings.Contains(p.Detail, detail) {
			t.Errorf("%q (%v), want %d %s about %q", body, err, status, reason, detail)
		}
	}
	if rest, err := io.ReadAll(br); len(rest) > 0 || err != nil {
		t.Errorf("behind the refusal: %q %v", rest, err)
	}
}

func TestGuardRefuses(t *testing.T) {
	fronts(t, func(t *testing.T, r *running, say func(string) (net.Conn, *bufio.Reader)) {
		for _, c := range []struct{ head, detail string }{
			{"POST /a/sum HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "Content-Length and a Transfer-Encoding"},
			{"POST /a/sum HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "more than one Content-Length"},
			{"POST /a/sum HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nhello", "decimal number"},
			{"POST /a/sum HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.0"},
			{"POST /a/sum HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "chunked"},
			{"GET /a HTTP/1.1\nHost: x\n\n", "LF"},
			{"GET /a HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n", "folded"},
			{"GET /a HTTP/1.1\r\nHost : x\r\n\r\n", "colon"},
			{"GET /a HTTP/3.0\r\nHost: x\r\n\r\n", "version"},
			{"\x16\x03\x01", "control byte"},
		} {
			_, br := say(c.head)
			refusal(t, br, "GET", 400, "bad_request", c.detail)
			_, br = say("GET /a HTTP/1.1\r\nHost: x\r\n\r\n" + c.head)
			if resp, body := answer(t, br, "GET"); resp.StatusCode != 200 || body != "a" {
				t.Errorf("before %q: %s %q", c.head, resp.Status, body)
			}
			refusal(t, br, "GET", 400, "bad_request", c.detail)
		}
		_, br := say("GET /a HTTP/1.1\r\nHost: x\r\nExpect: 200-maybe\r\n\r\n")
		refusal(t, br, "GET", 417, "bad_request", "100-continue")
		_, br = say("HEAD /a HTTP/1.1\r\nHost: x\r\nHost : y\r\n\r\n")
		refusal(t, br, "HEAD", 400, "bad_request", "")

		all := scrape(t, r.socket)
		if !strings.Contains(all, `coordinator_refused_total{bulkhead="none",reason="bad_request"} 22`) ||
			!strings.Contains(all, `coordinator_requests_total{bulkhead="none",code="400",outcome="refused"} 21`) {
			t.Error("refusals are not counted as such")
		}
	})
}

// What net/http refuses by itself has the form of all other refusals.
func TestNoPlainTextOfNetHTTP(t *testing.T) {
	fronts(t, func(t *testing.T, r *running, say func(string) (net.Conn, *bufio.Reader)) {
		const malformed = "malformed or ambiguous"
		for _, c := range []struct {
			head   string
			status int
			detail string
		}{
			{"GET /a HTTP/1.1\r\n\r\n", 400, malformed},
			{"GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400, malformed},
			{"GET /a HTTP/1.1\r\nHost: a b\r\n\r\n", 400, malformed},
			{"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400, malformed},
			{"\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n", 400, malformed},
			{"GET /a HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 200<<10) + "\r\n\r\n", 431, "larger"},
		} {
			nc, br := say(c.head)
			refusal(t, br, "GET", c.status, "bad_request", c.detail)
			nc.Close()
			// The rest of a head that was read ahead is not what is refused.
			_, br = say("GET /a HTTP/1.1\r\nHost: x\r\n\r\n" + c.head + "\x00")
			if resp, _ := answer(t, br, "GET"); resp.StatusCode != 200 {
				t.Error(resp.Status)
			}
			refusal(t, br, "GET", c.status, "bad_request", c.detail)
		}
	})
}

func TestHTTPToAPortWithTLS(t *testing.T) {
	cert, key := pair(t, t.TempDir(), 1)
	r := start(t, one("a"), func(o *supervisor.Options) { o.Config.TLSCert, o.Config.TLSKey = cert, key })
	_, br := r.raw("GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
	refusal(t, br, "GET", 400, "bad_request", "without TLS")
	nc, br := r.raw("nonsense, and no HTTP either")
	nc.(*net.TCPConn).CloseWrite()
	if b, _ := io.ReadAll(br); strings.Contains(string(b), "HTTP") {
		t.Errorf("%q", b)
	}
}

// A fault in a body is met by the request's own handler: one request, one answer.
func TestGuardRefusesInABody(t *testing.T) {
	fronts(t, func(t *testing.T, r *running, say func(string) (net.Conn, *bufio.Reader)) {
		for _, rest := range []string{
			"5\nhello\r\n0\r\n\r\n", "5\r\nhelloX\r\n", "+5\r\n", "5;\x00\r\nhello\r\n0\r\n\r\n", "0\r\nHost: y\r\n\r\n", "0\r\nX : y\r\n\r\n",
		} {
			for _, path := range []string{"/a/sum", "/a", "/none"} { // read, ignored, refused before
				nc, br := say("POST " + path + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n" + rest +
					"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
				resp, body := answer(t, br, "POST")
				if path == "/a/sum" && (resp.StatusCode != 400 || !strings.Contains(body, `"bad_request"`)) {
					t.Errorf("%q: %s %s", rest, resp.Status, body)
				}
				if more, err := io.ReadAll(br); len(more) > 0 || err != nil {
					t.Errorf("%s %q: a second answer: %q %v", path, rest, more, err)
				}
				nc.Close()
			}
		}
	})
}

// A request in flight is not disturbed by what follows it.
func TestBadRequestBehindOneInFlight(t *testing.T) {
	fronts(t, func(t *testing.T, r *running, say func(string) (net.Conn, *bufio.Reader)) {
		nc, br := say("POST /a/sum HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello")
		eventually(t, 5*time.Second, "in flight", func() bool { return r.bulkhead("a").InFlight == 1 })
		io.WriteString(nc, "worldGET /a HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n")
		if resp, body := answer(t, br, "POST"); resp.StatusCode != 200 || body != "10" {
			t.Errorf("%s %q", resp.Status, body)
		}
		refusal(t, br, "GET", 400, "bad_request", "more than one")
	})
}

// The answer is not lost in a reset, whatever the client still sends.
func TestRefusalSurvivesAnUpload(t *testing.T) {
	fronts(t, func(t *testing.T, r *running, say func(string) (net.Conn, *bufio.Reader)) {
		_, br := say("POST /a/sum HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\n" + strings.Repeat("x", 64<<10))
		refusal(t, br, "POST", 400, "bad_request", "decimal")
	})
}

func TestGoodTrafficPassesTheGuard(t *testing.T) {
	fronts(t, func(t *testing.T, r *running, say func(string) (net.Conn, *bufio.Reader)) {
		t.Run("1000 pipelined", func(t *testing.T) {
			nc, br := say("")
			wrote := make(chan error, 1)
			go func() {
				bw := bufio.NewWriterSize(nc, 1000)
				for i := range 1000 {
					switch i % 3 {
					case 0:
						fmt.Fprintf(bw, "GET /a/bytes?n=%d HTTP/1.1\r\nHost: x\r\n\r\n", i)
					case 1:
						body := strings.Repeat("\r\n", i)
						fmt.Fprintf(bw, "POST /a/sum HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
					case 2:
						fmt.Fprintf(bw, "POST /a/sum HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x;a=b\r\n%s\r\n0\r\nX: y\r\n\r\n", i, strings.Repeat("\n", i))
					}
				}
				wrote <- bw.Flush()
			}()
			for i := range 1000 {
				resp, body := answer(t, br, "GET")
				want := [...]string{"", strconv.Itoa(2 * i), strconv.Itoa(i)}[i%3]
				if resp.StatusCode != 200 || i%3 == 0 && len(body) != i || i%3 > 0 && body != want {
					t.Fatalf("answer %d: %s %.100q", i, resp.Status, body)
				}
			}
			if err := <-wrote; err != nil {
				t.Error(err)
			}
		})
		t.Run("WebSocket", func(t *testing.T) {
			const head = "GET /a/upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
			for _, early := range []string{"", "\x81", "\x81\x05hello", "GET / HTTP/9\n\n\x00", strings.Repeat("\x81\x00\r\n", 5000)} {
				nc, br := say("GET /a HTTP/1.1\r\nHost: x\r\n\r\n" + head + early)
				answer(t, br, "GET")
				resp, err := http.ReadResponse(br, nil)
				if err != nil || resp.StatusCode != 101 {
					t.Fatalf("%v %v", resp, err)
				}
				io.WriteString(nc, "\x00later\n")
				got := make([]byte, len(early)+len("\x00later\n"))
				if _, err := io.ReadFull(br, got); err != nil || string(got) != early+"\x00later\n" {
					t.Fatalf("%.40q came back as %.40q %v", early, got, err)
				}
				nc.Close()
			}
			// An upgrade that does not come about.
			_, br := say("GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nPOST /a/sum HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/9.0\r\n\r\n")
			answer(t, br, "GET")
			if _, body := answer(t, br, "POST"); body != "5" {
				t.Errorf("behind it: %q", body)
			}
			refusal(t, br, "GET", 400, "bad_request", "version")
		})
		t.Run("Expect", func(t *testing.T) {
			nc, br := say("POST /a/sum HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
			if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != 100 {
				t.Fatalf("%v %v", resp, err)
			}
			io.WriteString(nc, "hello")
			if resp, body := answer(t, br, "POST"); resp.StatusCode != 200 || body != "5" {
				t.Errorf("%s %q", resp.Status, body)
			}
		})
		t.Run("trailers", func(t *testing.T) {
			_, br := say("POST /a/trailer?name=Digest HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: Digest\r\n\r\n5\r\nhello\r\n0\r\nDigest: abc\r\n\r\n")
			if resp, body := answer(t, br, "POST"); resp.StatusCode != 200 || body != "abc" {
				t.Errorf("%s %q", resp.Status, body)
			}
		})
		t.Run("byte by byte", func(t *testing.T) {
			nc, br := say("")
			for range 2 {
				for _, c := range []byte("POST /a/sum HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n") {
					nc.Write([]byte{c})
				}
				if resp, body := answer(t, br, "POST"); resp.StatusCode != 200 || body != "5" {
					t.Errorf("%s %q", resp.Status, body)
				}
			}
		})
	})
}

// HTTP/2 is served as without a guard.
func TestHTTP2PassesTheGuard(t *testing.T) {
	cert, key := pair(t, t.TempDir(), 1)
	plain := new(http.Protocols)
	plain.SetUnencryptedHTTP2(true)
	for name, c := range map[string]struct {
		scheme string
		tr     *http.Transport
		front  option
	}{
		"TLS":             {"https", &http.Transport{TLSClientConfig: insecure(), ForceAttemptHTTP2: true}, func(o *supervisor.Options) { o.Config.TLSCert, o.Config.TLSKey = cert, key }},
		"prior knowledge": {"http", &http.Transport{Protocols: plain}, func(*supervisor.Options) {}},
	} {
		t.Run(name, func(t *testing.T) {
			defer c.tr.CloseIdleConnections()
			r := start(t, one("a"), c.front)
			for i := range 20 {
				body := strings.Repeat("\x00\r\n", 10000*(i%3))
				req, _ := http.NewRequest("POST", c.scheme+"://"+r.addr+"/a/trailer?name=Digest", io.MultiReader(strings.NewReader(body)))
				req.Trailer = http.Header{"Digest": {strconv.Itoa(i)}}
				resp, err := c.tr.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.ProtoMajor != 2 || resp.StatusCode != 200 || string(got) != strconv.Itoa(i) || err != nil {
					t.Fatalf("%s %s %q %v", resp.Proto, resp.Status, got, err)
				}
			}
		})
	}
}
