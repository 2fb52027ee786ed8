package stale_test

import (
	"net/http"
	"strings"
	"testing"

	"commerce.example/coordinator/supervisor/fallback/stale"
)

// Whatever Cache-Control, Vary and Set-Cookie say: a directive that forbids, in
// the plain form that every cache understands, forbids; an answer that is kept is
// given whole; and the accounts are even.
func FuzzAnswer(f *testing.F) {
	f.Add("max-age=60", "Accept", "", "a=b")
	f.Add(`private="Set-Cookie, x", no-cache="`, "*", "60", "sid=1; sid=2")
	f.Add(`x="\", no-store`, "a b", "Thu, 01 Jan 1970 00:00:00 GMT", `sid="1;2"`)
	f.Add("s-maxage=999999999999999999999,,=,\"", ",", "0", ";=;")
	f.Fuzz(func(t *testing.T, control, vary, expires, cookie string) {
		s := stale.New(stale.Settings{Bytes: 1 << 16, PerCredential: credentials(t, "Cookie:sid")})
		r := get("/", "Cookie: "+cookie)
		h := http.Header{"Cache-Control": {control}, "Vary": {vary}, "Expires": {expires}, "Set-Cookie": {"s=1"}, "X": {cookie}}
		why := record(s, r, 200, h, "body", start)
		a, ok := s.Find(r, start)
		if ok != (why == "") {
			t.Fatalf("why %q, found %v", why, ok)
		}
		if ok && (string(a.Body) != "body" || a.Header["Set-Cookie"] != nil) {
			t.Fatalf("%+v", a)
		}
		for directive := range strings.SplitSeq(control, ",") {
			switch strings.ToLower(strings.Trim(directive, " \t")) {
			case "no-store", "no-cache":
				if ok && !strings.ContainsAny(control, `"`) && !strings.Contains(strings.ToLower(control), "must-understand") {
					t.Fatalf("%q is kept", control)
				}
			}
		}
		for member := range strings.SplitSeq(vary, ",") {
			if ok && strings.Trim(member, " \t") == "*" { // "*S" is a field's name
				t.Fatalf("Vary %q is kept", vary)
			}
		}
		if !strings.Contains(strings.ToLower(cookie), "sid") && !strings.Contains(cookie, "%") {
			if _, crossed := s.Find(get("/", "Cookie: sid=1"), start); crossed {
				t.Fatalf("nobody's answer, asked for with %q, is given to a user", cookie)
			}
		}
		s.Invalidate(request("POST", "/"), 200, http.Header{"Location": {expires, vary}}, start)
		if st := s.Stats(); st.Entries != 0 || st.Bytes != 0 || st.Recording != 0 {
			t.Fatalf("%+v", st)
		}
	})
}
