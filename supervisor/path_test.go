package supervisor_test

import (
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"

	"commerce.example/coordinator/supervisor"
)

func request(method, target string) *http.Request {
	return &http.Request{
		Method: method, RequestURI: target, Host: "shop.example", URL: &url.URL{},
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: make(http.Header),
	}
}

func TestParseTarget(t *testing.T) {
	for _, c := range []struct{ target, path, query string }{
		{"/", "/", ""},
		{"/api/orders/?username=U&page=1", "/api/orders/", "?username=U&page=1"},
		{"/a?", "/a", "?"},
		{"/a?x;y=1;z&%zz&a[]=%2e%2e/..//\\#", "/a", "?x;y=1;z&%zz&a[]=%2e%2e/..//\\#"},
		// every byte that RFC 3986 allows, and those that browsers send nevertheless
		{"/-._~!$&'()*+,;=:@", "/-._~!$&'()*+,;=:@", ""},
		{"/a|b[c]^`{}\"<>\xc3\xa9", "/a|b[c]^`{}\"<>\xc3\xa9", ""},
		{"/caf%c3%a9/%E2%82%AC/%20%25%2B%3b", "/caf%c3%a9/%E2%82%AC/%20%25%2B%3b", ""},
		{"/...", "/...", ""}, {"/.a/..b/c.", "/.a/..b/c.", ""}, {"/a;../b", "/a;../b", ""}, {"/%252e%252e/", "/%252e%252e/", ""},
		// one spelling of a segment
		{"/%61pi/%6Frders/%7Eme/a%2Eb?%61", "/api/orders/~me/a.b", "?%61"},
		{"http://shop.example/a?b", "/a", "?b"},
		{"HTTP://SHOP.example.:80/a", "/a", ""},
		{"http://shop.example", "/", ""},
		{"http://shop.example?q", "/", "?q"},
	} {
		got, refusal := supervisor.ParseTarget(request("GET", c.target))
		if refusal != nil {
			t.Errorf("%q: refused: %s", c.target, refusal.Detail)
			continue
		}
		path, refusal := got.For(&supervisor.RouteTo{Route: supervisor.Route{Prefix: "/"}})
		if refusal != nil || path != c.path || got.Path != path || got.Query != c.query {
			t.Errorf("%q: %q %q %v, want %q %q", c.target, path, got.Query, refusal, c.path, c.query)
		}
	}
	if got, refusal := supervisor.ParseTarget(request("OPTIONS", "*")); refusal != nil || got.Path != "*" {
		t.Errorf("OPTIONS *: %v %v", got, refusal)
	}
}

func TestParseTargetRefusesForEveryRoute(t *testing.T) {
	for target, detail := range map[string]string{
		"": "target", "*": "target", "shop.example:80": "target", "a/b": "target", "ftp://shop.example/": "target",
		"http:/a": "target", "http:///a": "target", "ws://shop.example/": "target",
		"http://other.example/": "different hosts", "http://shop.example:81/": "different hosts", "https://shop.example:80/": "different hosts",
		"http://user@shop.example/": "Host", "http://shop.example\\@evil/": "Host",
		"/%": "percent", "/%2": "percent", "/%zz": "percent", "/%2gx": "percent", "/a%?b": "percent",
		"/%00": "NUL", "/a%00b": "NUL",
		"/\x00": "control", "/a\x1fb": "control", "/a b": "control", "/\x7f": "control", "/a#b": "number sign",
		"/a?b\r\nX: y": "control", "/a?b c": "control", "/a?\x7f": "control",
	} {
		if _, refusal := supervisor.ParseTarget(request("GET", target)); refusal == nil {
			t.Errorf("%q passed", target)
		} else if refusal.Status != 400 || refusal.Reason != "bad_request" || !strings.Contains(refusal.Detail, detail) {
			t.Errorf("%q: %+v, want a word of %s", target, refusal, detail)
		}
	}
}

func TestHTTP2HasNoAbsoluteForm(t *testing.T) {
	if _, refusal := supervisor.ParseTarget(over2(request("GET", "http://shop.example/a"))); refusal == nil || !strings.Contains(refusal.Detail, "target") {
		t.Errorf("%+v", refusal)
	}
}

func TestPathThatOnlyARawRouteTakes(t *testing.T) {
	strict := &supervisor.RouteTo{Route: supervisor.Route{Prefix: "/files/"}}
	raw := &supervisor.RouteTo{Route: supervisor.Route{Prefix: "/files/"}, Raw: true}
	for _, c := range []struct {
		path, detail string
		raw          bool
	}{
		{"/files/a/../b", "dot segment", true},
		{"/files/.", "dot segment", true},
		{"/files/./a", "dot segment", true},
		{"/files/a/%2e%2E/b", "dot segment", true},
		{"/files/a/.%2e", "dot segment", true},
		{"/files/a/..;v=1/b", "dot segment", true},
		{"/files//a", "empty segment", true},
		{"/files/a//", "empty segment", true},
		{"/files/a%2fb", "escaped slash", true},
		{"/files/a%2Fb/..", "escaped slash", false}, // where %2F is a slash only for the backend, or only for us
		{"/files/a%5cb", "backslash", true},
		{`/files/a\b`, "backslash", true},
		{"/files/..", "dot segment", false},
		{"/files/../", "dot segment", false},
		{"/files/../files/a", "dot segment", false},
		{"/files/%2e%2e", "dot segment", false},
		{"/files/a/../../admin", "dot segment", false},
		{"/files/..;/admin", "dot segment", false},
		{"/files/a%2fb/../../admin", "escaped slash", false},
		{"/files/..%2fadmin", "escaped slash", false},
		{"/files/%2e%2e%5cadmin", "backslash", false},
		{`/files/..\admin`, "backslash", false},
		{"/files/a//../../admin", "empty segment", false},
		{"/files/;x/../admin", "dot segment", false},
		{"/files/./../admin", "dot segment", false},
	} {
		target, refusal := supervisor.ParseTarget(request("GET", c.path+"?q"))
		if refusal != nil {
			t.Errorf("%s: refused for every route: %s", c.path, refusal.Detail)
			continue
		}
		if _, refusal := target.For(strict); refusal == nil || refusal.Status != 400 || !strings.Contains(refusal.Detail, c.detail) {
			t.Errorf("%s: strict: %+v, want %s", c.path, refusal, c.detail)
		}
		if _, refusal := target.For(nil); refusal == nil {
			t.Errorf("%s: passed without a route", c.path)
		}
		path, refusal := target.For(raw)
		if (refusal == nil) != c.raw {
			t.Errorf("%s: raw: %v, want passing %v", c.path, refusal, c.raw)
		}
		if refusal == nil && path != c.path {
			t.Errorf("%s: raw forwards %s", c.path, path)
		}
	}
}

func TestApply(t *testing.T) {
	for sent, want := range map[string]string{
		"/a/%20b?x;y=%zz":              "/a/%20b?x;y=%zz",
		"/%61/b|c?%61":                 "/a/b|c?%61",
		"http://shop.example/a%C3%A9?": "/a%C3%A9?",
		"http://shop.example":          "/",
	} {
		r := request("GET", sent)
		var err error
		if r.URL, err = url.ParseRequestURI(sent); err != nil {
			t.Fatal(err)
		}
		target, refusal := supervisor.ParseTarget(r)
		if refusal != nil {
			t.Fatal(refusal.Detail)
		}
		target.Apply(r, target.Path)
		decoded, err := url.PathUnescape(target.Path)
		if err != nil {
			t.Fatal(err)
		}
		if r.RequestURI != want || r.URL.Path != decoded || r.URL.Host != "" || r.URL.Scheme != "" {
			t.Errorf("%s: %s, URL %#v", sent, r.RequestURI, r.URL)
		}
	}
}

// readings are the paths that backends of various habits make of an escaped path.
func readings(escaped string) []string {
	var all []string
	decodeBackslash := strings.NewReplacer("%5c", "/", "%5C", "/", `\`, "/")
	decodeSlash := strings.NewReplacer("%2f", "/", "%2F", "/")
	decodeDot := strings.NewReplacer("%2e", ".", "%2E", ".")
	for habit := range 16 {
		p := escaped
		if habit&1 != 0 {
			p = decodeSlash.Replace(p)
		}
		if habit&2 != 0 {
			p = decodeBackslash.Replace(p)
		}
		if habit&4 != 0 {
			segments := strings.Split(p, "/")
			for i := range segments {
				segments[i], _, _ = strings.Cut(segments[i], ";")
			}
			p = strings.Join(segments, "/")
		}
		p = decodeDot.Replace(p)
		if habit&8 != 0 { // empty segments count, as in RFC 3986 section 5.2.4
			all = append(all, removeDotSegments(p))
		} else {
			all = append(all, path.Clean(p))
		}
	}
	return all
}

func removeDotSegments(p string) string {
	var out []string
	for _, segment := range strings.Split(p, "/")[1:] {
		switch segment {
		case ".":
		case "..":
			out = out[:max(0, len(out)-1)]
		default:
			out = append(out, segment)
		}
	}
	return "/" + strings.Join(out, "/")
}

func FuzzTarget(f *testing.F) {
	for _, seed := range []string{
		"/files/a/../b", "/files/%2e%2e%2fx", "/files/a%2fb/../../x", "/files//..;x/..", "/%66iles/a%7E?q", "http://shop.example/files/x", `/files\..\x`,
	} {
		f.Add(seed)
	}
	strict := &supervisor.RouteTo{Route: supervisor.Route{Prefix: "/"}}
	raw := &supervisor.RouteTo{Route: supervisor.Route{Prefix: "/files"}, Raw: true}
	f.Fuzz(func(t *testing.T, sent string) {
		target, refusal := supervisor.ParseTarget(request("GET", sent))
		if refusal != nil {
			return
		}
		if !strings.HasSuffix(sent, target.Query) {
			t.Fatalf("query %q is not the end of %q", target.Query, sent)
		}
		if path, refusal := target.For(strict); refusal == nil {
			for _, reading := range readings(path) {
				if !strings.Contains(path, ";") && reading != path && reading+"/" != path {
					t.Fatalf("%q passed as %q and can be read as %q", sent, path, reading)
				}
			}
			again, refusal := supervisor.ParseTarget(request("GET", path))
			if refusal != nil || again.Path != path {
				t.Fatalf("%q is not canonical: %+v", path, again)
			}
			return
		}
		if target.Path != "/files" && !strings.HasPrefix(target.Path, "/files/") {
			return
		}
		path, refusal := target.For(raw)
		if refusal != nil {
			return
		}
		for _, reading := range readings(path) {
			if reading != "/files" && !strings.HasPrefix(reading, "/files/") {
				t.Fatalf("%q passed the raw route and can be read as %q", sent, reading)
			}
		}
	})
}
