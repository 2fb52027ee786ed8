package supervisor_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"commerce.example/coordinator/supervisor"
)

// routesOf reads "METHOD host/prefix" patterns; pattern i leads to bulkhead i.
func routesOf(patterns ...string) []supervisor.RouteTo {
	var routes []supervisor.RouteTo
	for i, pattern := range patterns {
		method, rest, ok := strings.Cut(pattern, " ")
		if !ok {
			method, rest = "", pattern
		}
		slash := strings.IndexByte(rest, '/')
		routes = append(routes, supervisor.RouteTo{
			Route: supervisor.Route{Method: method, Host: rest[:slash], Prefix: rest[slash:]}, To: i,
		})
	}
	return routes
}

func mustRouter(t testing.TB, routes []supervisor.RouteTo) *supervisor.Router {
	t.Helper()
	rt, err := supervisor.NewRouter(routes, supervisor.HeadLimits{})
	if err != nil {
		t.Fatal(err)
	}
	return rt
}

func TestMatch(t *testing.T) {
	patterns := []string{
		"/api/orders/", "/api", "GET shop.example/api/orders", "shop.example/api/orders", "GET /api/orders",
		"POST /api/orders/history", "[2001:DB8::1]/six", "other.example/", "HEAD /api/h", "GET /api/h", "/api/h",
	}
	rt := mustRouter(t, routesOf(patterns...))
	for _, c := range []struct{ method, host, path, want string }{
		{"PUT", "x", "/api/orders/", "/api/orders/"},
		{"PUT", "x", "/api/orders", "/api/orders/"},
		{"PUT", "x", "/api/orders/7/lines", "/api/orders/"},
		{"PUT", "x", "/api/orders2", "/api"},
		{"PUT", "x", "/api/order", "/api"},
		{"PUT", "x", "/apis", ""},
		{"PUT", "x", "/", ""},
		{"OPTIONS", "x", "*", ""},
		{"OPTIONS", "other.example", "*", "other.example/"},
		// host beats method, both beat neither, and case, port and root dot do not count
		{"PUT", "shop.example", "/api/orders/7", "shop.example/api/orders"},
		{"GET", "shop.example", "/api/orders/7", "GET shop.example/api/orders"},
		{"HEAD", "shop.example", "/api/orders/7", "GET shop.example/api/orders"},
		{"GET", "SHOP.Example.:8443", "/api/orders/7", "GET shop.example/api/orders"},
		{"GET", "shop.example.evil", "/api/orders/7", "GET /api/orders"},
		{"GET", "", "/api/orders/7", "GET /api/orders"},
		{"GET", "[2001:db8::1]:80", "/six/x", "[2001:DB8::1]/six"},
		// a longer route of another method or host hides nothing
		{"POST", "x", "/api/orders/history/1", "POST /api/orders/history"},
		{"GET", "x", "/api/orders/history/1", "GET /api/orders"},
		{"GET", "x", "/six/x", ""},
		// HEAD goes with GET unless it has its own
		{"HEAD", "x", "/api/h", "HEAD /api/h"},
		{"GET", "x", "/api/h", "GET /api/h"},
		{"PUT", "x", "/api/h", "/api/h"},
	} {
		got := ""
		if m := rt.Match(c.method, c.host, c.path); m != nil {
			got = patterns[m.To]
		}
		if got != c.want {
			t.Errorf("%s %s %s: %q, want %q", c.method, c.host, c.path, got, c.want)
		}
	}
}

func TestKnownHost(t *testing.T) {
	if !mustRouter(t, routesOf("/a", "/b")).KnownHost("anything") {
		t.Error("a host is unknown though no route names any")
	}
	rt := mustRouter(t, routesOf("shop.example/a", "/b"))
	for host, want := range map[string]bool{
		"shop.example": true, "Shop.Example.:80": true, "shop.example:": true,
		"": false, "evil": false, "shop.example.evil": false, strings.Repeat("x", 300): false,
	} {
		if rt.KnownHost(host) != want {
			t.Errorf("%q known: %v", host, !want)
		}
	}
}

func TestNewRouterRefuses(t *testing.T) {
	route := func(method, host, prefix string, to int, raw bool) supervisor.RouteTo {
		return supervisor.RouteTo{Route: supervisor.Route{Method: method, Host: host, Prefix: prefix}, To: to, Raw: raw}
	}
	for _, c := range []struct {
		name   string
		routes []supervisor.RouteTo
		errs   []string // a part of each line, in order; none: accepted
	}{
		{"claimed twice", routesOf("/a", "/b", "/a/"), []string{`route "/a/" is claimed by two bulkheads`}},
		{"claimed twice with host and method", routesOf("GET h.example/a", "GET H.EXAMPLE:80/a"), []string{"claimed by two"}},
		{"one bulkhead may repeat itself", []supervisor.RouteTo{route("", "", "/a", 1, false), route("", "", "/a/", 1, false)}, nil},
		{"every mistake at once", routesOf("/a/../b", "/a//b", "/a?b", "/a%2fb", "/%61", "/a\tb", "TRACE /a", "get /a", "h@x/a"),
			[]string{"/a/../b", "/a//b", "/a?b", "/a%2fb", "/%61", `/a\tb`, "TRACE", "get", "not a host"}},
		{"no slash", []supervisor.RouteTo{route("", "", "a", 0, false)}, []string{"must begin with /"}},
		{"raw without owning", []supervisor.RouteTo{route("", "", "/f", 0, true), route("GET", "h", "/f/admin", 1, false)}, []string{"own its prefix"}},
		{"raw below another is its own", []supervisor.RouteTo{route("", "", "/f/g", 0, true), route("", "", "/f", 1, false)}, nil},
		{"raw and a neighbour", []supervisor.RouteTo{route("", "", "/f", 0, true), route("", "", "/f2/x", 1, false)}, nil},
		{"raw and another bulkhead at the same prefix", []supervisor.RouteTo{route("", "", "/f", 0, true), route("GET", "h", "/f/", 1, false)}, nil},
		{"raw and another host", []supervisor.RouteTo{route("", "a", "/f", 0, true), route("", "b", "/f/x", 1, false)}, nil},
		{"raw and another method", []supervisor.RouteTo{route("GET", "", "/f", 0, true), route("PUT", "", "/f/x", 1, false)}, nil},
		{"raw GET and HEAD", []supervisor.RouteTo{route("GET", "", "/f", 0, true), route("HEAD", "", "/f/x", 1, false)}, []string{"own its prefix"}},
		{"raw and its own bulkhead", []supervisor.RouteTo{route("", "", "/f", 0, true), route("", "", "/f/x", 0, false)}, nil},
	} {
		_, err := supervisor.NewRouter(c.routes, supervisor.HeadLimits{})
		var lines []string
		if err != nil {
			lines = strings.Split(err.Error(), "\n")
		}
		if len(lines) != len(c.errs) {
			t.Errorf("%s: %d errors, want %d:\n%v", c.name, len(lines), len(c.errs), err)
			continue
		}
		for i, part := range c.errs {
			if !strings.Contains(lines[i], part) {
				t.Errorf("%s: %q does not say %q", c.name, lines[i], part)
			}
		}
	}
}

// linearMatch is the rule of Router's documentation, tried on every route.
func linearMatch(routes []supervisor.RouteTo, method, host, path string) int {
	best, bestRank := -1, -1
	for i, r := range routes {
		prefix := strings.TrimSuffix(r.Prefix, "/")
		if path != prefix && !strings.HasPrefix(path, prefix+"/") || r.Host != "" && r.Host != host {
			continue
		}
		rank := 10 * strings.Count(prefix, "/")
		if r.Host != "" {
			rank += 5
		}
		switch {
		case r.Method == method && method != "":
			rank += 2
		case r.Method == "GET" && method == "HEAD":
			rank++
		case r.Method != "":
			continue
		}
		if rank > bestRank {
			best, bestRank = i, rank
		}
	}
	return best
}

func TestMatchIsTheLinearRule(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	one := func(of ...string) string { return of[rng.IntN(len(of))] }
	path := func(deepest int) string {
		var b strings.Builder
		for range rng.IntN(deepest + 1) {
			b.WriteString("/" + one("a", "b", "ab", "c%20d"))
		}
		if b.Len() == 0 || rng.IntN(3) == 0 {
			b.WriteByte('/')
		}
		return b.String()
	}
	matched := 0
	for range 300 {
		var routes []supervisor.RouteTo
		claimed := make(map[supervisor.Route]bool)
		for range 1 + rng.IntN(40) {
			r := supervisor.Route{Method: one("", "", "GET", "HEAD", "POST"), Host: one("", "", "h1", "h2"), Prefix: path(4)}
			bare := r
			if bare.Prefix = strings.TrimSuffix(r.Prefix, "/"); !claimed[bare] {
				claimed[bare] = true
				routes = append(routes, supervisor.RouteTo{Route: r, To: len(routes)})
			}
		}
		rt := mustRouter(t, routes)
		for range 100 {
			method, host, path := one("GET", "HEAD", "POST", "PUT"), one("h1", "h2", "h3"), path(6)
			got := -1
			if m := rt.Match(method, host, path); m != nil {
				got = m.To
				matched++
			}
			if want := linearMatch(routes, method, host, path); got != want {
				t.Fatalf("%s %s%s among %v: route %d, want %d", method, host, path, routes, got, want)
			}
		}
	}
	if matched < 1000 {
		t.Errorf("only %d of the requests matched: they prove little", matched)
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("GET", "SHOP.example:80", "/api/orders//..")
	f.Add("HEAD", "[::1", "*")
	routes := routesOf("/", "/api/orders", "GET shop.example/api/orders/x", "[::1]/six")
	rt := mustRouter(f, routes)
	f.Fuzz(func(t *testing.T, method, host, path string) {
		m := rt.Match(method, host, path)
		if m == nil {
			t.Fatal("the root route takes all")
		}
		if prefix := strings.TrimSuffix(m.Prefix, "/"); prefix != "" && path != prefix && !strings.HasPrefix(path, prefix+"/") {
			t.Fatalf("%q matched %q", path, m.Prefix)
		}
		if m.Host != "" && !rt.KnownHost(host) {
			t.Fatalf("matched host %q of unknown %q", m.Host, host)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{3, 1000} {
		b.Run(fmt.Sprintf("routes=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			var routes []supervisor.RouteTo
			for i := range n {
				routes = append(routes, supervisor.RouteTo{
					Route: supervisor.Route{Prefix: fmt.Sprintf("/api/service%d/v%d/", i%100, i/100)}, To: i % 100,
				})
			}
			rt := mustRouter(b, routes)
			for b.Loop() {
				if rt.Match("GET", "shop.example", "/api/service2/v0/order_history/") == nil {
					b.Fatal("no route")
				}
			}
		})
	}
}

func TestMatchAllocatesNothing(t *testing.T) {
	rt := mustRouter(t, routesOf("shop.example/api/orders", "GET /api"))
	if n := testing.AllocsPerRun(100, func() { rt.Match("GET", "SHOP.example:8080", "/api/orders/7") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
