package orders_test

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"commerce.example/coordinator/workers/orders"
)

const (
	legacyOrder = `{"number":"N","date_placed":"2022-11-02T14:03:11Z","currency":"USD","total_excl_tax":"1.00","lines":[{"title":"T","quantity":1,"description":"D"}]}`
	legacyBody  = `{"count":2,"next":null,"previous":null,"results":[` + legacyOrder + `]}`
	vendorOrder = `{"reference":"N","placedAt":"20221102T140311Z","total":{"minor":100,"digits":2,"currency":"USD"},"items":[{"name":"T","units":1,"details":"D"}]}`
	vendorBody  = `{"data":{"purchases":[` + vendorOrder + `]},"slice":{"offset":0,"limit":20,"total":1}}`
)

// edit is a change of a good answer, and where the error must point to.
type edit struct{ old, new, where string }

var bent = map[string]struct {
	good  string
	edits []edit
}{
	"legacy": {legacyBody, []edit{
		{`"count":2,`, ``, "count: missing"}, {`"count":2`, `"count":"2"`, "count"}, {`"count":2`, `"count":-1`, "count: negative"},
		{`"count":2`, `"count":0`, "count"}, {`"count":2`, `"count":null`, "count: missing"}, {`"count":2`, `"count":2.5`, "count"},
		{`"next":null,`, ``, "next: missing"}, {`"next":null`, `"next":7`, "next"}, {`"next":null`, `"next":"http://x/%zz"`, "next"},
		{`"next":null`, `"next":"http://x/?page=1"`, "next"}, {`"next":null`, `"next":"http://x/?page=3"`, "next"}, {`"next":null`, `"next":"http://x/?cursor=abc"`, "next"},
		{`"previous":null,`, ``, "previous: missing"}, {`"previous":null`, `"previous":"http://x/?page=2"`, "previous"},
		{`"results":[` + legacyOrder + `]`, `"results":null`, "results: missing"}, {`"results":[` + legacyOrder + `]`, `"results":{}`, "results"},
		{`[{"number"`, `[null,{"number"`, "results[0].number: missing"},
		{`"number":"N",`, ``, "results[0].number: missing"}, {`"number":"N"`, `"number":4711`, "number"}, {`"number":"N"`, `"number":""`, "results[0].number: empty"},
		{`2022-11-02T14:03:11Z`, `2022-11-02`, "results[0].date_placed"}, {`2022-11-02T14:03:11Z`, `2022-13-02T14:03:11Z`, "results[0].date_placed"},
		{`"USD"`, `"usd"`, "results[0].currency"}, {`"USD"`, `null`, "results[0].currency: missing"},
		{`"1.00"`, `1.00`, "total_excl_tax"}, {`"1.00"`, `"1,00"`, "results[0].total_excl_tax"}, {`"1.00"`, `"1."`, "results[0].total_excl_tax"}, {`"1.00"`, `"NaN"`, "results[0].total_excl_tax"},
		{`,"lines":[{"title":"T","quantity":1,"description":"D"}]`, ``, "results[0].lines: missing"},
		{`"title":"T"`, `"title":null`, "results[0].lines[0].title: missing"}, {`"quantity":1`, `"quantity":"4711"`, "quantity"},
		{`"quantity":1`, `"quantity":-4`, "results[0].lines[0].quantity: negative"}, {`,"description":"D"`, ``, "results[0].lines[0].description: missing"},
	}},
	"vendor": {vendorBody, []edit{
		{`"data":{"purchases":[` + vendorOrder + `]},`, ``, "data: missing"}, {`"purchases":[` + vendorOrder + `]`, ``, "data.purchases: missing"},
		{`,"slice":{"offset":0,"limit":20,"total":1}`, ``, "slice: missing"}, {`"offset":0`, `"offset":20`, "slice.offset"}, {`"offset":0,`, ``, "slice.offset: missing"},
		{`"total":1}`, `"total":0}`, "slice.total"}, {`"total":1}`, `"total":"1"}`, "slice.total"},
		{`"reference":"N",`, ``, "data.purchases[0].reference: missing"},
		{`20221102T140311Z`, `20221102`, "data.purchases[0].placedAt"}, {`20221102T140311Z`, `2022110XT140311Z`, "data.purchases[0].placedAt"}, {`20221102T140311Z`, `20221302T140311Z`, "data.purchases[0].placedAt"},
		{`"minor":100`, `"minor":1.00`, "minor"}, {`"minor":100,`, ``, "data.purchases[0].total.minor: missing"}, {`"digits":2`, `"digits":9`, "data.purchases[0].total.digits"}, {`"USD"`, `"$"`, "data.purchases[0].total.currency"},
		{`"units":1`, `"units":null`, "data.purchases[0].items[0].units: missing"}, {`"name":"T",`, ``, "data.purchases[0].items[0].name: missing"},
	}},
}

// An answer that is not quite of the backend's shape is a failure as a whole, of
// which the log learns where, and never what stood there.
func TestUnexpectedShape(t *testing.T) {
	for adapter, b := range bent {
		var body string
		s := newShop(t, adapter, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) })
		body = b.good
		if resp, got := s.do("GET", orders.Path+"?username=u"); resp.StatusCode != 200 {
			t.Fatalf("%s: the good one: %s %s", adapter, resp.Status, got)
		}
		for _, e := range b.edits {
			if body = strings.Replace(b.good, e.old, e.new, 1); body == b.good {
				t.Fatalf("%s: %q is not in it", adapter, e.old)
			}
			s.mustFail("backend_protocol", e.where, "%s with %s for %s", adapter, e.new, e.old)
		}
		for why, text := range map[string]string{
			"nothing": "", "HTML": "<!doctype html><title>Sign in</title>", "null": "null", "a list": "[" + b.good + "]", "two": b.good + b.good,
			"cut": b.good[:len(b.good)-1], "half": b.good[:len(b.good)/2], "no UTF-8": strings.Replace(b.good, `"T"`, "\"\xff\"", 1),
			"too deep": strings.Repeat("[", 20_000),
		} {
			body = text
			s.mustFail("backend_protocol", "", "%s: %s", adapter, why)
		}
	}
}

func (s *shop) mustFail(fault, where, format string, args ...any) {
	s.t.Helper()
	resp, body := s.do("GET", orders.Path+"?username=u")
	if resp.Header.Get("X-Fault") != fault || !strings.Contains(body, where) || strings.Contains(body, "results\":") {
		s.t.Errorf(format+": %s %q %s, want %s at %s", append(args, resp.Status, resp.Header.Get("X-Fault"), body, fault, where)...)
	}
	for _, value := range []string{"4711", "%zz", "2022110X", "NaN"} {
		if strings.Contains(body, value) {
			s.t.Errorf(format+": the error quotes the answer: %s", append(args, body)...)
		}
	}
}

// What is no page at all, in the ways in which HTTP can say it.
func TestNoPage(t *testing.T) {
	s := newShop(t, "legacy", nil)
	for why, tc := range map[string]struct {
		play  http.HandlerFunc
		fault string
	}{
		"too large": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"count":0,"next":null,"previous":null,"results":[]`+strings.Repeat(" ", 4<<20)+"}")
		}, "backend_protocol"},
		"endless": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}, "backend_protocol"},
		"no content": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, "backend_protocol"},
		"a redirect to sign in": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://internal/login", http.StatusFound)
		}, "backend_protocol"},
		"compressed": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			io.WriteString(z, legacyBody)
			z.Close()
		}, "backend_protocol"},
		"cut on the wire": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(legacyBody)))
			io.WriteString(w, legacyBody[:30])
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, "backend_reset"},
	} {
		s.service.play(tc.play)
		s.mustFail(tc.fault, "", "%s", why)
	}
	s.service.srv.Close()
	s.mustFail("backend_refused", "", "gone")
}

// What the backend has against a request is its word, in full.
func TestRefusalsOfTheBackendPass(t *testing.T) {
	eachAdapter(t, nil, func(t *testing.T, s *shop) {
		for _, status := range []int{400, 401, 403, 404, 429, 500, 503} {
			s.service.play(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("WWW-Authenticate", `Bearer realm="orders"`)
				w.Header().Set("Retry-After", "7")
				w.Header().Set("Location", "http://internal/")
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(status)
				io.WriteString(w, `{"detail":"no"}`)
			})
			resp, body := s.do("GET", orders.Path+"?username=alice")
			if resp.StatusCode != status || body != `{"detail":"no"}` || resp.Header.Get("Retry-After") != "7" || resp.Header.Get("Location") != "" ||
				resp.Header.Get("WWW-Authenticate") == "" || resp.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%d: %s %v %s", status, resp.Status, resp.Header, body)
			}
		}
	})
}

// Whatever a backend says, what is understood as a page is one.
func FuzzRead(f *testing.F) {
	for adapter, b := range bent {
		f.Add(adapter == "legacy", []byte(b.good))
		for _, e := range b.edits {
			f.Add(adapter == "legacy", []byte(strings.Replace(b.good, e.old, e.new, 1)))
		}
	}
	f.Fuzz(func(t *testing.T, isLegacy bool, body []byte) {
		adapter := "vendor"
		if isLegacy {
			adapter = "legacy"
		}
		count, results, err := orders.Read(adapter, "username=u", body)
		if err != nil {
			return
		}
		text, err := json.Marshal(results)
		if err != nil {
			t.Fatal(err)
		}
		var page []map[string]any
		if err := json.Unmarshal(text, &page); err != nil || count < len(page) {
			t.Fatalf("%d of %d: %v", len(page), count, err)
		}
		for _, o := range page {
			if _, listed := o["lines"].([]any); o["number"] == "" || len(o["date_placed"].(string)) < 19 || len(o["currency"].(string)) != 3 || o["total_excl_tax"] == "" || !listed {
				t.Fatalf("%v of %s", o, body)
			}
		}
	})
}

func BenchmarkLegacyPage(b *testing.B) {
	one, err := os.ReadFile("testdata/legacy-orders-page.json")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(one)))
	for b.Loop() {
		if _, _, err := orders.Read("legacy", "username=u", one); err != nil {
			b.Fatal(err)
		}
	}
}
