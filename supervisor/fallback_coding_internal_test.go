package supervisor

import (
	"strings"
	"testing"
)

func TestAcceptsCodings(t *testing.T) {
	for _, test := range []struct {
		accept, codings []string
		want            bool
	}{
		{nil, nil, true},
		{nil, []string{"identity"}, true},
		{nil, []string{"gzip"}, false}, // RFC 9110 would allow it
		{[]string{""}, []string{"gzip"}, false},
		{[]string{"deflate, gzip;q=1.0"}, []string{"gzip"}, true},
		{[]string{"deflate", "GZip"}, []string{"gzip"}, true},
		{[]string{"gzip; q=0"}, []string{"gzip"}, false},
		{[]string{"*;q=0, gzip"}, []string{"gzip"}, true},
		{[]string{"gzip;q=0, *"}, []string{"gzip"}, false},
		{[]string{"*"}, []string{"br"}, true},
		{[]string{"gzip"}, []string{"gzip, br"}, false},
		{[]string{"gzip, br"}, []string{"gzip", "br"}, true},
		{[]string{"gzip;q=much"}, []string{"gzip"}, false},
		{[]string{"xgzip"}, []string{"gzip"}, false},
	} {
		if got := acceptsCodings(test.accept, test.codings); got != test.want {
			t.Errorf("%q for %q: %v", test.codings, test.accept, got)
		}
	}
}

// Who does not write a coding, nor a star, never gets it.
func FuzzAcceptsCodings(f *testing.F) {
	f.Add("gzip;q=0.5, *;q=0", "gzip")
	f.Add("br ; Q = 1 ,, x-gzip", "gzip, identity")
	f.Fuzz(func(t *testing.T, accept, codings string) {
		got := acceptsCodings([]string{accept}, []string{codings})
		named := strings.Contains(strings.ToLower(accept), "gzip") || strings.Contains(accept, "*")
		if got && !named && asciiEqualFold(trimSpace(codings), "gzip") {
			t.Errorf("gzip for %q", accept)
		}
	})
}
