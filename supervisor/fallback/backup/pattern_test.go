package backup_test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"

	"commerce.example/coordinator/supervisor/fallback/backup"
)

func pattern(t testing.TB, text string) backup.Pattern {
	t.Helper()
	p, err := backup.ParsePattern(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}

func target(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.ParseRequestURI(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestPatternMatches(t *testing.T) {
	for _, c := range []struct{ pattern, matches, not string }{
		{"/", "/ /?", "/a /?a=1"},
		{"/a/b", "/a/b", "/a /a/b/ /a/c /a%2Fb"},
		{"/a/b/", "/a/b/", "/a/b"},
		{"/a/{}/", "/a/1/ /a/%2F/ /a/b%20c/", "/a// /a/1 /a/1/2/ /"},
		{"/a/{rest...}", "/a/ /a/b /a/b/c//", "/a /b/a"},
		{"/{...}", "/ /a /a/b?", "/a?x=1"},
		{"/%7Bx%7D", "/%7Bx%7D", "/x"},
		{"/a%2Fb", "/a%2Fb", "/a/b"},
		{"/a%20b", "/a%20b", "/a+b"},
		{"/o?page=1", "/o?page=1 /o?pag%65=%31", "/o /o?page=2 /o?page=1&page=1 /o?page=1&x=2 /o?Page=1"},
		{"/o?u={}", "/o?u=x /o?u= /o?u /o?u=%7B%7D", "/o /o?u=a&u=b"},
		{"/o?u={}&[page=1]&[size={}]", "/o?u=x /o?page=1&u=x /o?size=9&u=x&page=1", "/o?u=x&page=2 /o?page=1 /o?u=x&y=1"},
		{"/o?u=1&{...}", "/o?u=1 /o?z=9&u=1&z=8", "/o?z=1 /o?u=2&z=1 /o?u=1&u=1"},
		{"/o?q=a+b", "/o?q=a+b /o?q=a%20b", "/o?q=a%2Bb"},
		{"/o?q=a;b", "/o?q=a;b /o?q=a%3Bb", "/o?q=a"},
		{"/o?filter%5Bx%5D=1", "/o?filter[x]=1 /o?filter%5Bx%5D=1", "/o?filter=1"},
		{"/o?a={}", "/o?&a=1&", "/o?a=%zz"},
	} {
		p := pattern(t, c.pattern)
		for want, list := range map[bool]string{true: c.matches, false: c.not} {
			for each := range strings.FieldsSeq(list) {
				if _, got := p.Captures(target(t, each)); got != want {
					t.Errorf("%s for %s: %v", c.pattern, each, got)
				}
			}
		}
	}
	if _, ok := (backup.Pattern{}).Captures(target(t, "/")); ok {
		t.Error("the zero pattern matches")
	}
}

func TestPatternCaptures(t *testing.T) {
	p := pattern(t, "/{user}/orders/{rest...}?name={}&page=1&{...}")
	got, ok := p.Captures(target(t, "/jane/orders/a/b%2Fc?page=1&x=y%40z&name=j+d"))
	if want := []string{"jane", "a", "b/c", "y@z", "j d"}; !ok || !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestPatternMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "begins with /",
		"orders":                  "begins with /",
		"/a b":                    "a space or control character",
		"/a#b":                    "fragment",
		"/a/{x}y":                 "to be all of it",
		"/a/{":                    "to be all of it",
		"/{a...}/b":               "before the end",
		"/%zz":                    "two hexadecimal digits",
		"/?a=%z":                  "two hexadecimal digits",
		"/?":                      "an empty parameter",
		"/?a=1&&b=1":              "an empty parameter",
		"/?a=1&a=2":               `"a" twice`,
		"/?[a=1":                  "around all of it",
		"/?a[]=1":                 "around all of it",
		"/?a={x}1":                "to be all of it",
		"/?{a}=1":                 "without braces",
		strings.Repeat("/a", 9e3): "at most 16384",
	} {
		if _, err := backup.ParsePattern(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: %v, want %q", text, err, want)
		}
	}
}

// Whatever two patterns are, what is said of how they lie to each other is what
// their requests show, all of them up to a size.
func TestRelationIsThatOfTheRequests(t *testing.T) {
	requests := everyRequest(t)
	draw := rand.New(rand.NewPCG(1, 2))
	relations := map[string]int{}
	for range 1000 {
		a, b := pattern(t, drawPattern(draw)), pattern(t, drawPattern(draw))
		var both, aOnly, bOnly bool
		for _, u := range requests {
			_, inA := a.Captures(u)
			_, inB := b.Captures(u)
			both, aOnly, bOnly = both || inA && inB, aOnly || inA && !inB, bOnly || inB && !inA
		}
		conflict := backup.Conflict(a, b) != nil
		relations[fmt.Sprint(both, aOnly, bOnly)]++
		if backup.Disjoint(a, b) == both || backup.Within(a, b) != (both && !aOnly && bOnly) || conflict != (both && aOnly == bOnly) {
			t.Fatalf("%s and %s: shared %v, own %v, %v; disjoint %v, within %v, conflict %v",
				a, b, both, aOnly, bOnly, backup.Disjoint(a, b), backup.Within(a, b), conflict)
		}
	}
	if len(relations) != 5 {
		t.Errorf("not every relation came up: %v", relations)
	}
}

func drawPattern(draw *rand.Rand) string {
	path := ""
	for range 1 + draw.IntN(2) {
		path += "/" + []string{"a", "{}", ""}[draw.IntN(3)]
	}
	if draw.IntN(3) == 0 {
		path += "/{...}"
	}
	var query []string
	for _, name := range []string{"x", "y"} {
		if q := []string{"", "", "1", "2", "{}", "[1]", "[{}]"}[draw.IntN(7)]; strings.HasPrefix(q, "[") {
			query = append(query, "["+name+"="+q[1:])
		} else if q != "" {
			query = append(query, name+"="+q)
		}
	}
	if draw.IntN(3) == 0 {
		query = append(query, "{...}")
	}
	if len(query) == 0 {
		return path
	}
	return path + "?" + strings.Join(query, "&")
}

func everyRequest(t *testing.T) (all []*url.URL) {
	paths := []string{""}
	var queries []string
	for depth := 0; depth < 3; depth++ {
		for _, p := range slices.Clone(paths) {
			if strings.Count(p, "/") == depth {
				paths = append(paths, p+"/", p+"/a", p+"/c")
			}
		}
	}
	for _, x := range []string{"", "x=1", "x=2", "x=3", "x=1&x=1"} {
		for _, y := range []string{"", "y=1", "y=2", "y=3"} {
			for _, z := range []string{"", "z=1"} {
				queries = append(queries, x+"&"+y+"&"+z)
			}
		}
	}
	for _, p := range paths[1:] {
		u := target(t, "/")
		u.Path = p
		for _, q := range queries {
			v := *u
			v.RawQuery = q
			all = append(all, &v)
		}
	}
	return all
}
