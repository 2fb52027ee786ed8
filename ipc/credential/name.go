package credential

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// A Name is of what a bulkhead tells the users of its backend apart by, where what one
// of them got must not become another's: a field of the request, or of one cookie of its Cookie field.
type Name struct {
	Field  string // in canonical form
	Cookie string // the one cookie that counts; "": all of the field
}

// Parse reads "Authorization", "Cookie", "Cookie:NAME" or the name of any other
// request field.
func Parse(s string) (Name, error) {
	field, cookie, one := strings.Cut(s, ":")
	n := Name{Field: http.CanonicalHeaderKey(field), Cookie: cookie}
	switch {
	case !httpguts.ValidHeaderFieldName(field):
		return Name{}, fmt.Errorf("credential %q: want the name of a request field, or Cookie:NAME", s)
	case one && n.Field != "Cookie":
		return Name{}, fmt.Errorf("credential %q: only Cookie has parts, as Cookie:NAME", s)
	case one && !httpguts.ValidHeaderFieldName(cookie): // a token as well (RFC 6265 section 4.1.1)
		return Name{}, fmt.Errorf("credential %q: want Cookie:NAME with the name of one cookie", s)
	}
	return n, nil
}

// Set is a copy of names in the one order of all lists that mean the same, none
// twice.
func Set(names []Name) []Name {
	return slices.Compact(slices.SortedFunc(slices.Values(names), func(a, b Name) int {
		return cmp.Or(strings.Compare(a.Field, b.Field), strings.Compare(a.Cookie, b.Cookie))
	}))
}
