package stale_test

import (
	"fmt"
	"testing"

	"commerce.example/coordinator/supervisor/fallback/stale"
)

// RFC 9111 section 4.4.
func TestInvalidate(t *testing.T) {
	for _, c := range []struct {
		method string
		status int
		answer []string
		ended  string // of "/a/b?q=1", "/c", "/d"
	}{
		{"POST", 200, nil, "1"}, {"PUT", 204, nil, "1"}, {"PATCH", 303, nil, "1"}, {"DELETE", 202, nil, "1"},
		{"PURGE", 200, nil, "1"}, // safety unknown
		{"GET", 200, nil, ""}, {"HEAD", 200, nil, ""}, {"OPTIONS", 200, nil, ""}, {"TRACE", 200, nil, ""},
		{"POST", 400, nil, ""}, {"POST", 500, nil, ""}, {"POST", 409, []string{"Location: /c"}, ""},
		{"POST", 201, []string{"Location: /c"}, "1c"},
		{"POST", 201, []string{"Location: ../c#x", "Content-Location: https://SHOP.example/d"}, "1cd"},
		{"POST", 201, []string{"Location: //shop.example/c"}, "1c"},
		{"POST", 201, []string{"Location: http://other.example/c", "Content-Location: //other.example/d"}, "1"},
		{"POST", 201, []string{"Location: ftp://shop.example/c", "Content-Location: %zz"}, "1"},
		{"POST", 201, []string{"Location: /c?x"}, "1"},
	} {
		s := stale.New(stale.Settings{PerCredential: credentials(t, "Cookie:sid")})
		uris := map[string]string{"1": "/a/b?q=1", "c": "/c", "d": "/d"}
		for _, uri := range uris { // of several users, in several variants
			for i := range 3 {
				r := get(uri, "Cookie: sid="+fmt.Sprint(i), "Accept: "+fmt.Sprint(i))
				mustKeep(t, s, r, fields("Vary: Accept"), "x", start)
			}
			mustKeep(t, s, get(uri), nil, "x", start)
			mustKeep(t, s, get(uri, "Accept: 1"), fields("Vary: Accept"), "x", start)
		}
		s.Invalidate(request(c.method, "/a/b?q=1", "Cookie: sid=9"), c.status, fields(c.answer...), start)
		ended := ""
		for _, name := range []string{"1", "c", "d"} {
			left := 0
			for i := range 3 {
				if found(s, get(uris[name], "Cookie: sid="+fmt.Sprint(i), "Accept: "+fmt.Sprint(i)), start) != "-" {
					left++
				}
			}
			if found(s, get(uris[name]), start) != "-" {
				left++
			}
			switch left {
			case 0:
				ended += name
			case 4:
			default:
				t.Errorf("%+v: %d of 4 are left of %s", c, left, uris[name])
			}
		}
		if ended != c.ended {
			t.Errorf("%+v: %q ended, want %q", c, ended, c.ended)
		}
		if st := s.Stats(); st.Entries != 15-5*len(c.ended) || st.Invalidated != uint64(5*len(c.ended)) {
			t.Errorf("%+v: %+v", c, st)
		}
	}
}

// An answer that was on its way when the write ended may be from before it.
func TestInvalidateWhileRecording(t *testing.T) {
	s := stale.New(stale.Settings{})
	mustKeep(t, s, get("/same"), nil, "old", start)
	for _, uri := range []string{"/new", "/same"} {
		rec, _ := s.Record(get(uri), s.Mark(), 200, nil, start)
		other, _ := s.Record(get("/other"+uri), s.Mark(), 200, nil, start)
		rec.Write([]byte("old"))
		other.Write([]byte("other"))
		s.Invalidate(request("POST", uri), 200, nil, start)
		if why := rec.Done(start, true); why != stale.WhyInvalidated {
			t.Errorf("%s: %q", uri, why)
		}
		if why := other.Done(start, true); why != "" {
			t.Errorf("other: %q", why)
		}
		if got := found(s, get(uri), start); got != "-" {
			t.Errorf("%s: %q", uri, got)
		}
		mustKeep(t, s, get(uri), nil, "new", start)
	}
	// Its head comes when the write is over, and is to what was sent before.
	sent := s.Mark()
	s.Invalidate(request("POST", "/new"), 200, nil, start)
	rec, _ := s.Record(get("/new"), sent, 200, nil, start)
	rec.Write([]byte("old"))
	if why := rec.Done(start, true); why != stale.WhyInvalidated {
		t.Errorf("head after the write: %q", why)
	}
	mustKeep(t, s, get("/new"), nil, "new", start)
	if st := s.Stats(); st.Recording != 0 {
		t.Errorf("%+v", st)
	}
}
