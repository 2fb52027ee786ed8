package target_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"commerce.example/coordinator/ipc/target"
)

func TestPaths(t *testing.T) {
	for _, tc := range []struct{ backend, strip, path, want string }{
		{"http://x", "", "/a", "/a"},
		{"http://x", "/api", "/api", "/"},
		{"http://x/", "/api/", "/api/a", "/a"},
		{"http://x/b%2fse/", "/api", "/apix", "/b%2fse/apix"},
		{"http://x/base", "/a", "/a", "/base"},
	} {
		s, err := target.New(target.Settings{Backend: tc.backend, StripPrefix: tc.strip})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.At(s.Strip(tc.path)); got != tc.want {
			t.Errorf("%+v: %s", tc, got)
		}
	}
}

// The backend is asked with its own Host or the client's, and the request of the
// client stays as it is.
func TestRequest(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, 7)
	for _, preserve := range []bool{false, true} {
		s, err := target.New(target.Settings{Backend: "https://legacy.example:8443/base", PreserveHost: preserve})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "http://shop.example/a?b", nil)
		r.Header.Set("Authorization", "x")
		out := s.Request(ctx, r, "//a?%zz")
		host := map[bool]string{false: "legacy.example:8443", true: "shop.example"}[preserve]
		if out.Host != host || out.URL.Scheme != "https" || out.URL.Host != "legacy.example:8443" || out.URL.Opaque != "//a?%zz" ||
			out.RequestURI != "" || out.Header.Get("Authorization") != "x" || out.Context().Value(key{}) != 7 {
			t.Errorf("preserved %v: %+v", preserve, out)
		}
		if r.Host != "shop.example" || r.URL.Path != "/a" || r.RequestURI == "" {
			t.Errorf("the client's became %+v", r)
		}
	}
}

func TestHopByHop(t *testing.T) {
	h := http.Header{"Connection": {"close, X-Mine"}, "X-Mine": {"1"}, "Te": {"trailers"}, "Upgrade": {"h2c"}, "Accept": {"*/*"}}
	if !target.HasHopByHop(h) {
		t.Error("not seen")
	}
	target.StripHopByHop(h)
	if want := (http.Header{"Accept": {"*/*"}}); !reflect.DeepEqual(h, want) || target.HasHopByHop(h) {
		t.Errorf("%v", h)
	}
}
