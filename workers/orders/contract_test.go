package orders_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strings"
	"testing"

	"commerce.example/coordinator/ipc/target"
	"commerce.example/coordinator/workers/orders"
)

// Every page is what the contract says, member by member, whoever holds the orders.
func TestPages(t *testing.T) {
	all := history(47)
	eachAdapter(t, all, func(t *testing.T, s *shop) {
		self := "http://" + strings.TrimPrefix(s.front.URL, "http://") + orders.Path
		for _, tc := range []struct {
			query          string
			from, to       int
			next, previous any
		}{
			{"username=alice", 0, 20, self + "?username=alice&page=2", nil},
			{"username=alice&page=1&page_size=5", 0, 5, self + "?username=alice&page=2&page_size=5", nil},
			{"page=3&page_size=20&username=alice", 40, 47, nil, self + "?page=2&page_size=20&username=alice"},
			{"username=%61lice&page=2&page_size=10&_=173", 10, 20, self + "?username=%61lice&page=3&page_size=10", self + "?username=%61lice&page=1&page_size=10"},
			{"username=alice&page_size=1000", 0, 47, nil, nil},
			{"username=nobody", 0, 0, nil, nil},
		} {
			results := []any{}
			for _, r := range all[tc.from:tc.to] {
				results = append(results, r.contract())
			}
			count := len(all)
			if tc.query == "username=nobody" {
				count = 0
			}
			want, _ := json.Marshal(map[string]any{"count": count, "next": tc.next, "previous": tc.previous, "results": results})
			resp, body := s.do("GET", orders.Path+"?"+tc.query)
			if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" || !sameJSON(t, body, string(want)) {
				t.Errorf("%s: %s %s\nwant %s", tc.query, resp.Status, body, want)
			}
			head, nothing := s.do("HEAD", orders.Path+"?"+tc.query)
			if head.StatusCode != 200 || nothing != "" || head.ContentLength != int64(len(body)) {
				t.Errorf("HEAD %s: %s, length %d, want %d", tc.query, head.Status, head.ContentLength, len(body))
			}
		}
	})
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal([]byte(a), &x); err != nil {
		t.Errorf("%v in %.200s", err, a)
	}
	if err := json.Unmarshal([]byte(b), &y); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}

// Who follows next from the first page sees every order once.
func TestLinksLeadThroughAll(t *testing.T) {
	all := history(47)
	eachAdapter(t, all, func(t *testing.T, s *shop) {
		at, seen, pages := orders.Path+"?username=alice&page_size=10", 0, 0
		for at != "" {
			_, body := s.do("GET", at)
			l := listOf(t, body)
			if (l.Previous == nil) != (pages == 0) {
				t.Errorf("page %d: previous %v", pages+1, l.Previous)
			}
			for _, o := range l.Results {
				if o.Number != all[seen].number {
					t.Fatalf("order %d is %s, want %s", seen, o.Number, all[seen].number)
				}
				seen++
			}
			pages++
			if at = ""; l.Next != nil {
				at = strings.TrimPrefix(*l.Next, s.front.URL)
			}
		}
		if seen != 47 || pages != 5 {
			t.Errorf("%d orders on %d pages", seen, pages)
		}
	})
}

// A page behind the last one is 404, and no empty page.
func TestNoSuchPage(t *testing.T) {
	eachAdapter(t, history(20), func(t *testing.T, s *shop) {
		for _, query := range []string{"username=alice&page=2", "username=nobody&page=2", "username=alice&page=1000000&page_size=100"} {
			if resp, body := s.do("GET", orders.Path+"?"+query); resp.StatusCode != 404 || strings.Contains(body, "results") {
				t.Errorf("%s: %s %s", query, resp.Status, body)
			}
		}
	})
}

// Links lead to the coordinator as the client sees it, in front of which there may
// be others.
func TestLinksAreTheClients(t *testing.T) {
	s := newShop(t, "legacy", func(w http.ResponseWriter, r *http.Request) { legacyService(w, r, history(3)) },
		func(s *orders.Settings) { s.StripPrefix = "/shop"; s.Backend += "/base/" })
	s.service.play(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = strings.TrimPrefix(r.URL.Path, "/base")
		legacyService(w, r, history(3))
	})
	const query = "?page_size=1&username=alice"
	for _, tc := range []struct {
		fields []string
		want   string
	}{
		{nil, s.front.URL + "/shop/orders/order_history/"},
		{[]string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "shop.example:8443"}, "https://shop.example:8443/shop/orders/order_history/"},
		{[]string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "shop.example", "X-Forwarded-Prefix", "/eu/de é/"},
			"https://shop.example/eu/de%20%C3%A9/shop/orders/order_history/"},
		{[]string{"X-Forwarded-Proto", "javascript", "X-Forwarded-Prefix", "//evil.example"}, s.front.URL + "/shop/orders/order_history/"},
	} {
		_, body := s.do("GET", "/shop"+orders.Path+query, tc.fields...)
		if l := listOf(t, body); l.Next == nil || *l.Next != tc.want+query+"&page=2" {
			t.Errorf("%v: next is %s", tc.fields, body)
		}
	}
	if _, body := s.do("GET", "/shop"+strings.TrimSuffix(orders.Path, "/")+query); !strings.Contains(body, "/shop/orders/order_history?page_size=1") {
		t.Errorf("without the slash at its end: %s", body)
	}
}

// The backend sees the caller, and the caller what the backend says of caches; what
// is about the bytes of the backend's page is not passed on, either way.
func TestFields(t *testing.T) {
	passed := [][2]string{
		{"Authorization", "JWT abc.def"}, {"Cookie", "sessionid=1; csrftoken=2"}, {"Use-Jwt-Cookie", "true"}, {"X-Request-Id", "r-1"},
		{"Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, {"Accept-Language", "de"}, {"Origin", "https://shop.example"},
		{"X-Forwarded-For", "192.0.2.7"}, {"Cache-Control", "no-cache"},
	}
	withheld := [][2]string{
		{"Accept-Encoding", "gzip"}, {"If-None-Match", `"x"`}, {"If-Modified-Since", "Wed, 02 Nov 2022 14:03:11 GMT"}, {"Range", "bytes=0-9"},
	}
	back := [][2]string{
		{"Cache-Control", "private, max-age=60, stale-if-error=600"}, {"Vary", "Accept, Cookie"}, {"Set-Cookie", "sessionid=3"},
		{"Access-Control-Allow-Origin", "https://shop.example"}, {"Age", "7"}, {"X-Request-Id", "r-1"},
	}
	kept := [][2]string{
		{"ETag", `"abc"`}, {"Last-Modified", "Wed, 02 Nov 2022 14:03:11 GMT"}, {"Link", "<http://internal/>; rel=next"},
		{"Content-Location", "http://internal/"}, {"Content-Md5", "x"}, {"Accept-Ranges", "bytes"},
	}
	eachAdapter(t, history(3), func(t *testing.T, s *shop) {
		serve := legacyService
		if strings.HasSuffix(t.Name(), "vendor") {
			serve = vendorService
		}
		s.service.play(func(w http.ResponseWriter, r *http.Request) {
			for _, f := range append(back, kept...) {
				w.Header().Add(f[0], f[1])
			}
			serve(w, r, history(3))
		})
		var fields []string
		for _, f := range append(passed, withheld...) {
			fields = append(fields, f[0], f[1])
		}
		resp, body := s.do("GET", orders.Path+"?username=alice", fields...)
		if resp.StatusCode != 200 {
			t.Fatalf("%s %s", resp.Status, body)
		}
		asked := s.service.requests()[0]
		for _, f := range passed {
			if got := asked.Header.Get(f[0]); got != f[1] {
				t.Errorf("the backend was sent %s: %q", f[0], got)
			}
		}
		for _, f := range withheld {
			if got, found := asked.Header[f[0]]; found {
				t.Errorf("the backend was sent %s: %q", f[0], got)
			}
		}
		if asked.Header.Get("Accept") != "application/json" || asked.Method != "GET" {
			t.Errorf("%s, Accept %q", asked.Method, asked.Header.Get("Accept"))
		}
		for _, f := range back {
			if got := resp.Header.Get(f[0]); got != f[1] {
				t.Errorf("the client got %s: %q", f[0], got)
			}
		}
		for _, f := range kept {
			if got, found := resp.Header[http.CanonicalHeaderKey(f[0])]; found {
				t.Errorf("the client got %s: %q", f[0], got)
			}
		}
	})
}

// The legacy service gets the query in the client's bytes.
func TestQueryAsItCame(t *testing.T) {
	s := newShop(t, "legacy", func(w http.ResponseWriter, r *http.Request) { legacyService(w, r, nil) })
	s.do("GET", orders.Path+"?page_size=%35&utm=1&username=al%2Bice+x&page=1")
	if got := s.service.requests()[0].URL; got.RawQuery != "page_size=%35&username=al%2Bice+x&page=1" || got.Path != "/api/v2/orders/" {
		t.Errorf("asked for %s", got)
	}
}

// A query that cannot be understood is answered here, and why.
func TestBadQueries(t *testing.T) {
	eachAdapter(t, history(3), func(t *testing.T, s *shop) {
		s.service.play(nil)
		for query, why := range map[string]string{
			"":                                   "username",
			"username=":                          "username",
			"page=2":                             "username",
			"username=alice&page=abc":            "page: want",
			"username=alice&page=0":              "page: want",
			"username=alice&page=-1":             "page: want",
			"username=alice&page=%2B1":           "page: want",
			"username=alice&page=1.5":            "page: want",
			"username=alice&page=":               "page: want",
			"username=alice&page=1000001":        "page: want",
			"username=alice&page_size=0":         "page_size: want",
			"username=alice&page_size=x":         "page_size: want",
			"username=alice&username=bob":        "username: given more than once",
			"username=alice&%75sername=alice":    "username: given more than once",
			"username=alice&page=1&page=2":       "page: given more than once",
			"username=alice;page=2":              "semicolon",
			"username=alice&page=%zz":            "escape",
			"username=alice&page=99999999999999": "page: want",
		} {
			resp, body := s.do("GET", orders.Path+"?"+query, "X-Request-Id", "r-9")
			var problem struct {
				Type, Detail, Reason, Outcome string
				Status                        int
				RetrySafe                     bool   `json:"retry_safe"`
				RequestID                     string `json:"request_id"`
			}
			if err := json.Unmarshal([]byte(body), &problem); err != nil || resp.StatusCode != 400 ||
				resp.Header.Get("Content-Type") != "application/problem+json" || problem.Status != 400 || problem.Reason != "bad_request" ||
				problem.Outcome != "never_sent" || !problem.RetrySafe || problem.RequestID != "r-9" || !strings.Contains(problem.Detail, why) {
				t.Errorf("%q: %s %s %v, want %q", query, resp.Status, body, err, why)
			}
		}
		if asked := s.service.requests(); len(asked) > 0 {
			t.Errorf("the backend was asked for %s", asked[0].URL)
		}
	})
}

func TestOtherPathsAndMethods(t *testing.T) {
	s := newShop(t, "vendor", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) })
	for _, path := range []string{"/", "/orders/", "/orders/order_history/1", "/orders/order_historys", "/api/v2/orders/", "/x/orders/order_history/"} {
		if resp, body := s.do("GET", path+"?username=alice"); resp.StatusCode != 404 || !strings.Contains(body, `"no_route"`) {
			t.Errorf("%s: %s %s", path, resp.Status, body)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
		resp, body := s.do(method, orders.Path+"?username=alice")
		if resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET, HEAD, OPTIONS" || !strings.Contains(body, `"bad_request"`) {
			t.Errorf("%s: %s %s", method, resp.Status, body)
		}
	}
	if asked := s.service.requests(); len(asked) > 0 {
		t.Errorf("the backend was asked for %s", asked[0].URL)
	}
}

// A page on another origin is admitted by the backend.
func TestPreflight(t *testing.T) {
	eachAdapter(t, nil, func(t *testing.T, s *shop) {
		s.service.play(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Access-Control-Allow-Headers", r.Header.Get("Access-Control-Request-Headers"))
			w.Header().Set("Allow", r.Method)
			w.WriteHeader(http.StatusNoContent)
		})
		resp, _ := s.do("OPTIONS", orders.Path+"?username=alice", "Origin", "https://shop.example",
			"Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization")
		if resp.StatusCode != 204 || resp.Header.Get("Access-Control-Allow-Headers") != "authorization" || resp.Header.Get("Allow") != "OPTIONS" {
			t.Errorf("%s %v", resp.Status, resp.Header)
		}
	})
}

// The page that the legacy service really gives.
func TestLegacyPageOfRecord(t *testing.T) {
	text, err := os.ReadFile("testdata/legacy-orders-page.json")
	if err != nil {
		t.Fatal(err)
	}
	s := newShop(t, "", func(w http.ResponseWriter, _ *http.Request) { w.Write(text) })
	_, body := s.do("GET", historyPath(url.Values{"username": {"test_learner_1"}, "page": {"1"}}))
	const want = `{"count":2,"next":null,"previous":null,"results":[` +
		`{"number":"TEST-100002","date_placed":"2022-11-02T14:03:11Z","currency":"USD","total_excl_tax":"149.00",` +
		`"lines":[{"title":"Seat in TEST Course A with verified certificate","quantity":1,"description":"Seat in TEST Course A with verified certificate"}]},` +
		`{"number":"TEST-100001","date_placed":"2021-03-15T08:30:00Z","currency":"USD","total_excl_tax":"79.00",` +
		`"lines":[{"title":"Seat in TEST Course B","quantity":1,"description":"Seat in TEST Course B"}]}]}` + "\n"
	if body != want {
		t.Errorf("%s\nwant %s", body, want)
	}
}

func TestSettingsRefused(t *testing.T) {
	for want, env := range map[string]map[string]string{
		"no URL":                             {},
		`"nosuch": must be one of legacy, v`: {"ORDERS_ADAPTER": "nosuch"}, // with the missing URL, every error at once
		"CONN_MAX_AGE":                       {"WORKER_BACKEND": "http://x", "WORKER_BACKEND_CONN_MAX_AGE": "5"},
	} {
		if _, err := orders.FromEnv(func(name string) string { return env[name] }); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", env, err, want)
		}
	}
	if _, err := orders.New(orders.Settings{Settings: target.Settings{Backend: "http://x"}, Adapter: "vendor"}); err != nil {
		t.Error(err)
	}
}
