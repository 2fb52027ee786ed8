package demo_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/demo"
)

// TestMain makes the test binary the child that Start executes, and a parent that
// can be killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == demo.Subcommand {
		if err := demo.Child(context.Background(), demo.Kind(os.Args[2]), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) > 1 && os.Args[1] == parentCommand {
		parent()
	}
	os.Exit(m.Run())
}

const testTimeout = 10 * time.Second

// quick is a service without latency.
var quick = demo.Options{Latency: -1}

// site is a service in this process.
type site struct {
	t *testing.T
	demo.Addresses
}

func open(t *testing.T, kind demo.Kind, o demo.Options) site {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan demo.Addresses, 1)
	ended := make(chan error, 1)
	go func() { ended <- demo.Serve(ctx, kind, o, func(a demo.Addresses) { ready <- a }) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(testTimeout):
			t.Error("the service did not stop")
		}
	})
	select {
	case a := <-ready:
		return site{t, a}
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
		return site{}
	}
}

// client follows no redirect and keeps no connection, so that each request shows
// what a connect meets.
var client = &http.Client{
	Timeout:       testTimeout,
	Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// do sends a request; fields are pairs of name and value.
func do(t *testing.T, method, url, body string, fields ...string) (*http.Response, string) {
	t.Helper()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, content)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

func (s site) do(method, path, body string, fields ...string) (*http.Response, string) {
	s.t.Helper()
	return do(s.t, method, "http://"+s.Listen+path, body, fields...)
}

// turn sets the fault switch.
func (s site) turn(query string) {
	s.t.Helper()
	if res, body := do(s.t, "POST", "http://"+s.Control+"/fault?"+query, ""); res.StatusCode != http.StatusOK {
		s.t.Fatalf("fault %s: %s", query, body)
	}
}

func (s site) stats() (st demo.Stats) {
	s.t.Helper()
	_, body := do(s.t, "GET", "http://"+s.Control+"/stats", "")
	if err := json.Unmarshal([]byte(body), &st); err != nil {
		s.t.Fatal(err)
	}
	return st
}

// wait polls until ok.
func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(testTimeout); !ok(); <-time.After(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for: %s", testTimeout, what)
		}
	}
}

// conn opens a raw connection and sends a GET on it.
func (s site) conn(path string) (net.Conn, *bufio.Reader) {
	s.t.Helper()
	c, err := net.Dial("tcp", s.Listen)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(testTimeout))
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: legacy.example\r\n\r\n", path)
	return c, bufio.NewReader(c)
}

type page struct {
	Count          int
	Next, Previous *string
	Results        []json.RawMessage
}

func pageOf(t *testing.T, body string) (p page) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("%v in %.200s", err, body)
	}
	return p
}

func TestEveryOrderHasTheShapeOfTheLegacyService(t *testing.T) {
	text, err := os.ReadFile("testdata/order-shape.json")
	if err != nil {
		t.Fatal(err)
	}
	var want any
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	s := open(t, demo.Orders, quick)
	seen, users := map[string]bool{}, map[string]int{}
	kinds := map[string]bool{}
	next := "/api/v2/orders/?page_size=100"
	for next != "" {
		res, body := s.do("GET", next, "", "Authorization", "JWT abc")
		if res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/json" {
			t.Fatalf("%s: %s", next, res.Status)
		}
		p := pageOf(t, body)
		if p.Count != 3000 {
			t.Fatalf("count %d", p.Count)
		}
		for _, raw := range p.Results {
			var o any
			if err := json.Unmarshal(raw, &o); err != nil {
				t.Fatal(err)
			}
			conforms(t, "order", o, []any{want}, kinds)
			checkSums(t, raw)
			m := o.(map[string]any)
			seen[m["number"].(string)] = true
			users[m["user"].(map[string]any)["username"].(string)]++
		}
		next = ""
		if p.Next != nil {
			next = pathOf(t, *p.Next, s.Listen)
		}
	}
	if len(seen) != 3000 || len(users) != 200 {
		t.Errorf("%d orders of %d users", len(seen), len(users))
	}
	for _, k := range []string{"order.lines[].product:null", "order.lines[].product:object", "order.vouchers:null", "order.vouchers:list", "order.lines[].product.expires:null", "order.lines[].product.expires:string"} {
		if !kinds[k] {
			t.Errorf("no order has %s", k)
		}
	}
	if st := s.stats(); st.Requests != 30 || st.Authorized != 30 || st.Answered != 30 || st.InFlight != 0 {
		t.Errorf("%+v", st)
	}
}

// conforms checks v against the alternatives of its shape: type names, and the
// shape of an object or, next to "list", of a list's elements.
func conforms(t *testing.T, at string, v any, shape []any, seen map[string]bool) {
	t.Helper()
	kind := map[bool]string{true: "null"}[v == nil]
	switch v := v.(type) {
	case string:
		kind = "string"
	case bool:
		kind = "bool"
	case float64:
		kind = "number"
	case []any:
		kind = "list"
		for _, e := range v {
			conforms(t, at+"[]", e, shape[1:], seen)
		}
	case map[string]any:
		kind = "object"
		want, ok := shape[len(shape)-1].(map[string]any)
		if !ok || len(v) != len(want) {
			t.Fatalf("%s: %v, want the members of %v", at, v, want)
		}
		for name, shape := range want {
			member, ok := v[name]
			if !ok {
				t.Fatalf("%s has no %s", at, name)
			}
			conforms(t, at+"."+name, member, shape.([]any), seen)
		}
	}
	seen[at+":"+kind] = true
	for _, s := range shape {
		if _, isObject := s.(map[string]any); s == kind || isObject && kind == "object" {
			return
		}
	}
	t.Fatalf("%s is a %s, want %v", at, kind, shape)
}

// checkSums checks that an order's money adds up, in cents.
func checkSums(t *testing.T, raw []byte) {
	t.Helper()
	var o struct {
		Discount     json.Number `json:"discount"`
		TotalExclTax string      `json:"total_excl_tax"`
		Lines        []struct {
			Quantity                           int
			LinePriceExclTax, UnitPriceExclTax string
		}
	}
	text := strings.NewReplacer("line_price_excl_tax", "LinePriceExclTax", "unit_price_excl_tax", "UnitPriceExclTax").Replace(string(raw))
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	cents := func(s string) (n int) {
		if s == "0" {
			return 0
		}
		var whole, part int
		if _, err := fmt.Sscanf(s, "%d.%02d", &whole, &part); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		return 100*whole + part
	}
	total, full := 0, 0
	for _, l := range o.Lines {
		total += cents(l.LinePriceExclTax)
		full += cents(l.UnitPriceExclTax) * l.Quantity
	}
	if cents(o.TotalExclTax) != total || full-total != cents(o.Discount.String()) || len(o.Lines) == 0 {
		t.Fatalf("does not add up: %s", raw)
	}
}

func pathOf(t *testing.T, link, host string) string {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil || u.Host != host || u.Scheme != "http" {
		t.Fatalf("link %q is not to %s: %v", link, host, err)
	}
	return u.RequestURI()
}

func TestOrdersOfOneUser(t *testing.T) {
	s := open(t, demo.Orders, quick)
	_, body := s.do("GET", "/api/v2/orders/?username="+demo.Username(0)+"&page=1&page_size=5", "")
	p := pageOf(t, body)
	if p.Count < 6 || len(p.Results) != 5 || p.Previous != nil || p.Next == nil {
		t.Fatalf("%+v", p)
	}
	if got, want := pathOf(t, *p.Next, s.Listen), "/api/v2/orders/?page=2&page_size=5&username=test_learner_1"; got != want {
		t.Errorf("next is %s, want %s", got, want)
	}
	last := time.Now()
	for _, raw := range p.Results {
		var o struct {
			Number     string
			DatePlaced time.Time `json:"date_placed"`
			User       struct{ Username string }
		}
		if err := json.Unmarshal(raw, &o); err != nil || o.User.Username != demo.Username(0) || o.DatePlaced.After(last) {
			t.Errorf("%+v, %v", o, err)
		}
		last = o.DatePlaced
		if res, one := s.do("GET", "/api/v2/orders/"+o.Number+"/", ""); res.StatusCode != 200 || one != string(raw) {
			t.Errorf("%s alone is %s", o.Number, one)
		}
	}
	_, body = s.do("GET", "/api/v2/orders/?page=2&page_size=5&username="+demo.Username(0), "")
	if p := pageOf(t, body); p.Previous == nil || pathOf(t, *p.Previous, s.Listen) != "/api/v2/orders/?page_size=5&username=test_learner_1" {
		t.Errorf("previous of page 2: %v", *p.Previous)
	}
	for _, c := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/api/v2/orders/?username=nobody", 200, `{"count":0,"next":null,"previous":null,"results":[]}`},
		{"GET", "/api/v2/orders/?page=0", 404, `{"detail":"Invalid page."}`},
		{"GET", "/api/v2/orders/?page=151", 404, `{"detail":"Invalid page."}`},
		{"GET", "/api/v2/orders/?page=x", 404, `{"detail":"Invalid page."}`},
		{"GET", "/api/v2/orders/TEST-1/", 404, `{"detail":"Not found."}`},
		{"GET", "/api/v2/", 404, `{"detail":"Not found."}`},
		{"POST", "/api/v2/orders/", 405, `{"detail":"Method \"POST\" not allowed."}`},
		{"GET", "/api/v2/orders?page=2", 301, ""},
		{"HEAD", "/api/v2/orders/", 200, ""},
	} {
		if res, body := s.do(c.method, c.path, ""); res.StatusCode != c.status || body != c.body {
			t.Errorf("%s %s: %d %q, want %d %q", c.method, c.path, res.StatusCode, body, c.status, c.body)
		}
	}
	if res, _ := s.do("GET", "/api/v2/orders?page=2", ""); res.Header.Get("Location") != "/api/v2/orders/?page=2" {
		t.Errorf("redirect to %q", res.Header.Get("Location"))
	}
}

func TestCatalogIsCacheable(t *testing.T) {
	s := open(t, demo.Catalog, quick)
	plain, text := s.do("GET", "/api/catalog/?page_size=10", "")
	zipped, packed := s.do("GET", "/api/catalog/?page_size=10", "", "Accept-Encoding", "br, gzip;q=0.8")
	if plain.Header.Get("Content-Encoding") != "" || zipped.Header.Get("Content-Encoding") != "gzip" || len(packed) >= len(text) {
		t.Fatalf("encodings %q, %q; %d and %d bytes", plain.Header.Get("Content-Encoding"), zipped.Header.Get("Content-Encoding"), len(text), len(packed))
	}
	if unpacked := gunzip(t, packed); unpacked != text {
		t.Error("unpacked, it is another text")
	}
	tag := plain.Header.Get("ETag")
	if tag == "" || tag == zipped.Header.Get("ETag") {
		t.Errorf("validators %q and %q", tag, zipped.Header.Get("ETag"))
	}
	for _, h := range []http.Header{plain.Header, zipped.Header} {
		if !strings.Contains(h.Get("Cache-Control"), "stale-if-error=") || h.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%v", h)
		}
	}
	for field, status := range map[string]int{tag: 304, `"x", W/` + tag: 304, "*": 304, `"x"`: 200} {
		res, body := s.do("GET", "/api/catalog/?page_size=10", "", "If-None-Match", field)
		if res.StatusCode != status || (body == "") != (status == 304) {
			t.Errorf("If-None-Match: %s gives %d and %d bytes", field, res.StatusCode, len(body))
		}
	}
	if res, _ := s.do("GET", "/api/catalog/?page_size=10", "", "Accept-Encoding", "gzip;q=0"); res.Header.Get("Content-Encoding") != "" {
		t.Error("compressed for a client that refuses it")
	}
	if res, body := s.do("GET", "/api/catalog/"+demo.SKU(7)+"/", ""); res.StatusCode != 200 || !strings.Contains(body, `"sku":"TEST-0008"`) {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	head, _ := s.do("HEAD", "/api/catalog/?page_size=10", "")
	if head.ContentLength != int64(len(text)) || head.Header.Get("ETag") != tag {
		t.Errorf("HEAD: length %d, tag %s", head.ContentLength, head.Header.Get("ETag"))
	}
}

func TestPaymentsAreInTheLedger(t *testing.T) {
	s := open(t, demo.Payments, quick)
	const body = `{"order":"TEST-100007","amount":"12.50","currency":"USD"}`
	pay := func() (*http.Response, demo.Payment) {
		res, text := s.do("POST", "/api/payments/", body, "Content-Type", "application/json", "X-Request-Id", "r-1", "Idempotency-Key", "k-1")
		var p demo.Payment
		if err := json.Unmarshal([]byte(text), &p); err != nil || res.StatusCode != http.StatusCreated {
			t.Fatalf("%d %s", res.StatusCode, text)
		}
		return res, p
	}
	res, p := pay()
	if p.Order != "TEST-100007" || p.Amount != "12.50" || p.RequestID != "r-1" || p.IdempotencyKey != "k-1" {
		t.Errorf("%+v", p)
	}
	if _, text := s.do("GET", res.Header.Get("Location"), ""); !strings.Contains(text, `"id":"`+p.ID+`"`) {
		t.Errorf("at its location: %s", text)
	}
	if _, again := pay(); again.ID == p.ID {
		t.Error("the second payment with the same key was not made: legacy services do")
	}
	_, text := s.do("GET", "/api/payments/", "")
	if l := pageOf(t, text); l.Count != 2 || len(l.Results) != 2 {
		t.Errorf("ledger %s", text)
	}
	for _, bad := range []string{"{", "{}", `{"order":"x","amount":"-1","currency":"USD"}`, `{"order":"x","amount":0.00,"currency":"USD"}`, `{"order":"x","amount":1,"currency":"usd"}`} {
		if res, text := s.do("POST", "/api/payments/", bad, "Content-Type", "application/json"); res.StatusCode != 400 {
			t.Errorf("%s: %d %s", bad, res.StatusCode, text)
		}
	}
	if res, _ := s.do("POST", "/api/payments/", body, "Content-Type", "text/plain"); res.StatusCode != 415 {
		t.Errorf("text: %d", res.StatusCode)
	}
	if res, _ := s.do("POST", "/api/payments/", strings.Repeat(" ", 2<<20), "Content-Type", "application/json"); res.StatusCode != 413 {
		t.Errorf("2 MiB: %d", res.StatusCode)
	}
	for _, path := range []string{"/api/payments/pay_00000009", "/api/payments/pay_1", "/api/payments/-1"} {
		if res, _ := s.do("GET", path, ""); res.StatusCode != 404 {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
	if _, text := do(t, "GET", "http://"+s.Control+"/ledger", ""); strings.Count(text, `"id"`) != 2 {
		t.Errorf("ledger at the control address: %s", text)
	}
}

func TestPaymentWithExpectAndChunks(t *testing.T) {
	s := open(t, demo.Payments, quick)
	c, err := net.Dial("tcp", s.Listen)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(testTimeout))
	io.WriteString(c, "POST /api/payments/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
	r := bufio.NewReader(c)
	if line, _ := r.ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 100") {
		t.Fatalf("%q", line)
	}
	r.ReadString('\n')
	body := `{"order":"TEST-1","amount":3,"currency":"EUR"}`
	fmt.Fprintf(c, "%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", 10, body[:10], len(body)-10, body[10:])
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != http.StatusCreated {
		t.Fatal(res, err)
	}
}

func TestLatencyIsAboutItsMedianAndSeeded(t *testing.T) {
	took := func(o demo.Options) time.Duration {
		s := open(t, demo.Orders, o)
		began := time.Now()
		for range 10 {
			s.do("GET", "/api/v2/orders/?page_size=1", "")
		}
		return time.Since(began) / 10
	}
	if d := took(demo.Options{Latency: 30 * time.Millisecond, Spread: -1}); d < 30*time.Millisecond {
		t.Errorf("%v, want at least the median of 30 ms without spread", d)
	}
	if d := took(quick); d > 30*time.Millisecond {
		t.Errorf("%v without latency", d)
	}
}

func TestBadSettingsAreRefused(t *testing.T) {
	if err := demo.Serve(t.Context(), "vendor", demo.Options{}, nil); err == nil {
		t.Error("served an unknown kind")
	}
	s := open(t, demo.Orders, quick)
	for _, q := range []string{"", "mode=sideways", "mode=errors&rate=0", "mode=errors&rate=1.5", "mode=errors&rate=NaN", "mode=slow&delay=5", "mode=slow&delay=-1s", "mode=slow&delay=20h"} {
		if res, text := do(t, "POST", "http://"+s.Control+"/fault?"+q, ""); res.StatusCode != 400 || text == "" {
			t.Errorf("%q: %d %s", q, res.StatusCode, text)
		}
	}
	s.turn("mode=errors&rate=0.3")
	var f map[string]any
	_, text := do(t, "GET", "http://"+s.Control+"/fault", "")
	if err := json.Unmarshal([]byte(text), &f); err != nil || f["mode"] != "errors" || f["rate"] != 0.3 {
		t.Errorf("%s %v", text, err)
	}
}

func gunzip(t *testing.T, packed string) string {
	t.Helper()
	z, err := gzip.NewReader(strings.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
