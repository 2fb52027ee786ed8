package idempotency_test

import (
	"net/http"
	"strings"
	"testing"

	"commerce.example/coordinator/supervisor/idempotency"
)

func TestKeys(t *testing.T) {
	long := strings.Repeat("k", 255)
	for _, c := range []struct {
		name  string
		lines []string
		as    string // a key that is the same; "": malformed
	}{
		{"a String", []string{`"8e03978e-40d5-43dd-bc93-6894a57f9324"`}, "8e03978e-40d5-43dd-bc93-6894a57f9324"},
		{"bare", []string{"8e03978e-40d5-43dd-bc93-6894a57f9324"}, `"8e03978e-40d5-43dd-bc93-6894a57f9324"`},
		{"bare, of base64", []string{"YWJj+/=="}, `"YWJj+/=="`},
		{"blanks around", []string{" \tk1 "}, "k1"},
		{"blanks within a String", []string{`"k 1"`}, `"k 1"`},
		{"escapes", []string{`"a\"b\\c"`}, `"a\"b\\c"`},
		{"the longest", []string{long}, `"` + long + `"`},
		{"the longest, of escapes", []string{`"` + strings.Repeat(`\\`, 255) + `"`}, `"` + strings.Repeat(`\\`, 255) + `"`},

		{"empty", []string{""}, ""},
		{"an empty String", []string{`""`}, ""},
		{"two lines", []string{"k1", "k1"}, ""},
		{"a list", []string{"k1, k2"}, ""},
		{"two Strings", []string{`"k1", "k2"`}, ""},
		{"too long", []string{long + "k"}, ""},
		{"too long, of escapes", []string{`"` + strings.Repeat(`\\`, 256) + `"`}, ""},
		{"parameters", []string{`"k1";v=1`}, ""},
		{"bare with parameters", []string{"k1;v=1"}, ""},
		{"not closed", []string{`"k1`}, ""},
		{"one quote", []string{`"`}, ""},
		{"closed by an escape", []string{`"k1\"`}, ""},
		{"a quote within", []string{`"k"1"`}, ""},
		{"an unknown escape", []string{`"k\1"`}, ""},
		{"a bare backslash", []string{`k\1`}, ""},
		{"a bare quote", []string{`k"1`}, ""},
		{"bare blanks", []string{"k 1"}, ""},
		{"a control character", []string{"\"k\x01\""}, ""},
		{"DEL", []string{"\"k\x7f\""}, ""},
		{"not ASCII", []string{`"ключ"`}, ""},
		{"not ASCII, bare", []string{"ключ"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStore(idempotency.Settings{})
			r := post("", "b")
			r.Header["Idempotency-Key"] = c.lines
			if c.as == "" {
				expect(t, s, r, start, "malformed")
				return
			}
			answered(t, s, r, "one", start)
			expect(t, s, post(c.as, "b"), start, "repeat one")
			expect(t, s, post(c.as+"x", "b"), start, map[bool]string{true: "malformed", false: "first"}[strings.HasPrefix(c.as, `"`)])
		})
	}
}

func TestWhatHasNoKey(t *testing.T) {
	s := newStore(idempotency.Settings{})
	expect(t, s, post("", "b"), start, "unkeyed")
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace} {
		r := post("k", "")
		r.Method = method
		expect(t, s, r, start, "unkeyed")
		r.Header.Set("Idempotency-Key", "a malformed one")
		expect(t, s, r, start, "unkeyed")
	}
	for _, method := range []string{http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete, "PROPPATCH"} {
		r := post("k", "")
		r.Method = method
		expect(t, s, r, start, "first")
	}
}

// Whatever stands in the field: a verdict, and the same one for what is the same
// key, written as a String.
func FuzzKey(f *testing.F) {
	for _, seed := range []string{"k1", `"k1"`, `"a\"b\\c"`, `"`, `""`, `"\`, "a,b", `"k";v=1`, "k\x00", " k\t"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		s := newStore(idempotency.Settings{})
		ruling := s.Begin(post(line, ""), start)
		if line == "" || ruling.Verdict == idempotency.Malformed {
			return
		}
		if ruling.Verdict != idempotency.First {
			t.Fatalf("%q: %+v", line, ruling)
		}
		ruling.Claim.Done("done", start)
		expect(t, s, post(line, ""), start, "known done")
		key := strings.Trim(line, " \t")
		if !strings.HasPrefix(key, `"`) {
			key = `"` + key + `"`
		}
		expect(t, s, post(key, ""), start, "known done")
		for i := range len(line) {
			if c := line[i]; c < ' ' && c != '\t' || c >= 0x7f {
				t.Fatalf("%q was taken", line)
			}
		}
	})
}
