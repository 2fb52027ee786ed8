//go:build linux

package main_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// httpbin runs go-httpbin in a process of its own and returns its origin.
func httpbin(t *testing.T) string {
	t.Helper()
	cmd := exec.Command(self(t), "e2e-httpbin")
	lifeline, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lifeline.Close(); _ = cmd.Wait() })
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + strings.TrimSpace(addr)
}

func binSite(t *testing.T, origin string, settings ...string) *site {
	return runSite(t, append([]string{
		"COORDINATOR_BULKHEADS=bin", "BULKHEAD_BIN_ROUTES=/", "BULKHEAD_BIN_BACKEND=" + origin,
		"BULKHEAD_BIN_HOST_HEADER=preserve", "BULKHEAD_BIN_BREAKER_MODE=observe",
	}, settings...)...)
}

// probe is a request that must not show whether the coordinator is between.
type probe struct {
	method, target string
	header         http.Header
	body           string
}

func get(target string) probe { return probe{method: http.MethodGet, target: target} }

func send(method, target, contentType, body string) probe {
	return probe{method, target, http.Header{"Content-Type": {contentType}}, body}
}

func (p probe) with(name, value string) probe {
	p.header = p.header.Clone()
	if p.header == nil {
		p.header = http.Header{}
	}
	p.header.Set(name, value)
	return p
}

func probes() []probe {
	var form bytes.Buffer
	parts := multipart.NewWriter(&form)
	_ = parts.SetBoundary("e2eboundary")
	_ = parts.WriteField("field", "välue")
	file, _ := parts.CreateFormFile("upload", "a b.txt")
	_, _ = file.Write([]byte("file\x00content"))
	_ = parts.Close()
	const json, text, encoded = "application/json", "text/plain; charset=utf-8", "application/x-www-form-urlencoded"

	all := []probe{
		get("/get?a=1&a=2"), get("/get").with("Accept", "*/*").with("X-Tenant", "edx"),
		send("POST", "/post", json, `{"a": [1, 2.50, "é"]}`),
		send("POST", "/post", encoded, "a=1&b=%20&a=2"),
		send("POST", "/post", "multipart/form-data; boundary=e2eboundary", form.String()),
		send("POST", "/post", text, strings.Repeat("body ", 40_000)),
		send("PUT", "/put", text, "put"), send("PATCH", "/patch", text, "patch"), send("DELETE", "/delete", text, "delete"),
		{method: "DELETE", target: "/delete"}, send("POST", "/upload", text, strings.Repeat("u", 300_000)),
		{method: "HEAD", target: "/head"}, {method: "HEAD", target: "/get"}, {method: "HEAD", target: "/bytes/1000?seed=1"},
		{method: "HEAD", target: "/image/png"}, {method: "OPTIONS", target: "/get"}, {method: "OPTIONS", target: "/anything"},
		get("/anything/a/b?x=;y&&=&%zz&k=%2F%20+"), send("LOCK", "/anything/x", text, "a method of WebDAV"),
		get("/headers").with("X-Long", strings.Repeat("l", 8000)), get("/ip"), get("/user-agent"), get("/uuid"), get("/version"), get("/env"),
		get("/gzip"), get("/deflate"), get("/brotli"), get("/html"), get("/json"), get("/xml"), get("/robots.txt"), get("/deny"),
		get("/jsonl"), get("/forms/post"), get("/encoding/utf8"), get("/image").with("Accept", "image/webp"),
		get("/image/png"), get("/image/jpeg"), get("/image/svg"), get("/links/10/3"), get("/links/5"),
		get("/cookies").with("Cookie", "a=1; b=2; c=\"q\""), get("/cookies/set?a=1"),
		get("/redirect/2"), get("/relative-redirect/2"), get("/absolute-redirect/2"), get("/redirect-to?url=%2Fget&status_code=307"),
		get("/etag/tag"), get("/etag/tag").with("If-None-Match", `"tag"`), get("/etag/tag").with("If-Match", `"other"`),
		get("/cache"), get("/cache").with("If-None-Match", `"any"`), get("/cache/60"),
		get("/range/5000"), get("/range/5000").with("Range", "bytes=100-199"), get("/range/5000").with("Range", "bytes=0-9,20-29"), get("/range/5000").with("Range", "bytes=9000-"),
		get("/bytes/70000?seed=7"), get("/bytes/0"), get("/stream-bytes/100000?seed=7&chunk_size=1000"), get("/stream-bytes/65536?seed=1&chunk_size=65536"),
		get("/stream/20"), get("/drip?numbytes=5&duration=300ms&delay=50ms"), get("/drip?numbytes=3&duration=100ms&delay=0&code=201"),
		get("/sse?count=4&duration=200ms&delay=10ms"), get("/delay/1"), get("/base64/aGVsbG8gd29ybGQ="), get("/base64/encode/hello"),
		get("/basic-auth/u/p"), get("/basic-auth/u/p").with("Authorization", "Basic dTpw"), get("/bearer"), get("/bearer").with("Authorization", "Bearer t"),
		get("/hidden-basic-auth/u/p"), get("/unstable?seed=3&failure_rate=0.5"), get("/unstable?failure_rate=1"), get("/unstable?failure_rate=0"),
		get("/response-headers?X-A=1&X-A=2&Content-Language=de"), get("/dump/request?q=1").with("X-B", "2"),
		send("POST", "/dump/request", text, "dumped"), get("/trailers?X-Sum=abc&X-Count=2"), send("POST", "/trailers?X-Sum=p", text, "body"), get("/trailers"),
		get("/hostname"), get("/no/such/path"), get("/"),
	}
	for _, status := range []string{"200", "201", "204", "205", "304", "400", "401", "403", "404", "418", "429", "500", "502", "503", "504"} {
		all = append(all, get("/status/"+status), probe{method: "POST", target: "/status/" + status})
	}
	return all
}

// answer is what a client can see of one.
type answer struct {
	status  string
	header  http.Header
	body    string
	length  int64 // -1: not announced
	trailer http.Header
}

func (p probe) ask(client *http.Client, origin string) (a answer, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var body io.Reader
	if p.body != "" {
		body = strings.NewReader(p.body)
	}
	req, err := http.NewRequestWithContext(ctx, p.method, origin, body)
	if err != nil {
		return a, err
	}
	path, query, _ := strings.Cut(p.target, "?")
	req.URL.Opaque, req.URL.RawQuery = path, query // byte for byte
	for name, values := range p.header {
		req.Header[name] = values
	}
	req.Host = "bin.example"
	resp, err := client.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.Status, resp.Header, string(text), resp.ContentLength, resp.Trailer}, err
}

// ours are fields that a proxy sets or that differ from one answer to the next.
var (
	hopByHop = []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Date", "X-Request-Id"}
	echoed   = regexp.MustCompile(`(?im)^(x-forwarded-[a-z]+|forwarded|x-real-ip|x-request-id):.*\r?\n`)
	instant  = regexp.MustCompile(`"timestamp":\s*\d+|[0-9a-f]{8}-[0-9a-f-]{27}|\b[0-9a-f]{60}\b|total_duration;dur=[0-9.]+`)
)

// normal is a without what must differ: our fields, and in bodies that echo the
// request those fields again. Such a body is compared as what it means.
func (a answer) normal(t *testing.T, target string) answer {
	a.header = a.header.Clone()
	for _, name := range hopByHop {
		delete(a.header, name)
	}
	if target == "/cache" { // both tell the time
		delete(a.header, "Last-Modified")
		delete(a.header, "Etag")
	}
	plain := a.body
	switch a.header.Get("Content-Encoding") {
	case "gzip":
		plain = inflate(t, func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }, a.body)
	case "deflate":
		plain = inflate(t, func(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) }, a.body)
	}
	echo := true
	switch {
	case strings.Contains(plain, `"headers"`):
		plain = withoutEchoes(t, plain)
	case strings.HasPrefix(target, "/dump/"):
		plain = echoed.ReplaceAllString(plain, "")
	default:
		echo = false
	}
	if echo {
		a.length = -1
		delete(a.header, "Content-Length")
	}
	a.body = instant.ReplaceAllString(plain, "INSTANT")
	a.trailer = a.trailer.Clone()
	for _, fields := range []http.Header{a.header, a.trailer} {
		for name, values := range fields {
			fields[name] = []string{instant.ReplaceAllString(strings.Join(values, "\n"), "INSTANT")}
		}
	}
	return a
}

func inflate(t *testing.T, open func(io.Reader) (io.Reader, error), body string) string {
	t.Helper()
	r, err := open(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// withoutEchoes takes our fields out of each JSON value of a body.
func withoutEchoes(t *testing.T, body string) string {
	t.Helper()
	var out strings.Builder
	for dec := json.NewDecoder(strings.NewReader(body)); ; {
		var value map[string]any
		if err := dec.Decode(&value); err == io.EOF {
			return out.String()
		} else if err != nil {
			return body // no JSON after all
		}
		headers, _ := value["headers"].(map[string]any)
		for name := range headers {
			if echoed.MatchString(name + ": \n") {
				delete(headers, name)
			}
		}
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(text, '\n'))
	}
}

func newClient(t *testing.T) *http.Client {
	tr := &http.Transport{DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{
		Transport:     tr,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (p probe) compare(t *testing.T, client *http.Client, origin, front string) {
	direct, err := p.ask(client, origin)
	if err != nil {
		t.Fatalf("direct %s: %v", p.target, err)
	}
	through, err := p.ask(client, front)
	if err != nil {
		t.Fatalf("%s: %v", p.target, err)
	}
	if through.header.Get("X-Request-Id") == "" {
		t.Errorf("%s: no X-Request-Id", p.target)
	}
	want, got := direct.normal(t, p.target), through.normal(t, p.target)
	if !reflect.DeepEqual(want, got) {
		t.Errorf("%s:\ndirect  %.600q\nthrough %.600q", p.target, fmt.Sprint(want), fmt.Sprint(got))
	}
}

func TestE2ETransparency(t *testing.T) {
	origin := httpbin(t)
	s := binSite(t, origin)
	client := newClient(t)
	endpoints := map[string]bool{}
	t.Run("requests", func(t *testing.T) {
		for _, p := range probes() {
			path, _, _ := strings.Cut(p.target, "?")
			endpoint, _, _ := strings.Cut(path[1:], "/")
			endpoints[endpoint] = true
			t.Run(p.method+"_"+endpoint, func(t *testing.T) {
				t.Parallel()
				p.compare(t, client, origin, s.url)
			})
		}
	})
	t.Logf("%d requests to %d endpoints are the same direct and through the coordinator", len(probes()), len(endpoints))
	if len(endpoints) < 40 {
		t.Errorf("%d endpoints, want 40", len(endpoints))
	}
}

// What has arrived is passed on before more comes.
func TestE2EStreaming(t *testing.T) {
	origin := httpbin(t)
	s := binSite(t, origin)
	resp, err := newClient(t).Get(s.url + "/drip?numbytes=4&duration=900ms&delay=0")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	begun := time.Now()
	var gaps []time.Duration
	for one := make([]byte, 1); ; {
		n, err := resp.Body.Read(one)
		if n == 1 {
			gaps = append(gaps, time.Since(begun))
			begun = time.Now()
		}
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("bytes of /drip came after %v", gaps)
	if len(gaps) != 4 || slices.Min(gaps[1:]) < 100*time.Millisecond {
		t.Errorf("got bytes after %v, want 4, each some 300 ms after the last", gaps)
	}
}

func TestE2EWebSocket(t *testing.T) {
	origin := httpbin(t)
	s := binSite(t, origin)
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, s.url+"/websocket/echo?max_message_size=200000&max_fragment_size=200000", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	conn.SetReadLimit(1 << 20)
	if resp.Header.Get("X-Request-Id") == "" {
		t.Error("no X-Request-Id on the switch")
	}
	for _, size := range []int{0, 1, 125, 126, 65_536, 150_000} {
		message := bytes.Repeat([]byte{byte(size)}, size)
		if err := conn.Write(ctx, websocket.MessageBinary, message); err != nil {
			t.Fatal(err)
		}
		kind, echo, err := conn.Read(ctx)
		if err != nil || kind != websocket.MessageBinary || !bytes.Equal(echo, message) {
			t.Fatalf("size %d: %v, %d bytes, %v", size, kind, len(echo), err)
		}
	}
	if got := s.bulkhead("bin"); got.Upgrades != 1 || got.InFlight != 0 {
		t.Errorf("%d upgrades and %d in flight, want 1 and 0", got.Upgrades, got.InFlight)
	}
	if err := conn.Close(websocket.StatusNormalClosure, "bye"); err != nil {
		t.Error(err)
	}
	eventually(t, 2*time.Second, "the upgrade's slot is back", func() bool { return s.bulkhead("bin").Upgrades == 0 })
}
