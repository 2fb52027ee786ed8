package sanitise_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/fallback/sanitise"
)

func rules(t testing.TB, text string) *sanitise.Rules {
	t.Helper()
	r, err := sanitise.Parse("sanitise.jq", text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// found is what the detectors say of a JSON body that no rule changes.
func found(t testing.TB, text, body string) []string {
	t.Helper()
	kept, findings, err := rules(t, text).Apply(context.Background(), sanitise.Answer{File: "a.answer", Pattern: "/a", JSON: true, Body: []byte(body)})
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	if (kept == nil) == (len(findings) == 0) {
		t.Fatalf("%s: kept %s with %v", body, kept, findings)
	}
	var all []string
	for _, f := range findings {
		all = append(all, f.String())
	}
	return all
}

// canaries are what must not get through, by the detector that is to see it.
var canaries = map[sanitise.Detector][]string{
	sanitise.Email: {
		"jane.doe@example.com", "jo@mail", "JANE+tag@mail.example.co.uk", "\"odd name\"@example.com", "jörg@müller.example", "用户@例子.example", "root@[192.0.2.1]",
		"jane (at) example (dot) com", "jane [AT] example.com", "jane＠example．com", "ja\u00adne@exam\u200bple.com", "mailto:jane@example.com",
	},
	sanitise.Phone: {
		"+1 555-010-4477", "+4915112345678", "0049 151 12345678", "(415) 555-0132", "415-555-0132", "415.555.0132", "4155550132", "1 415 555 0132",
		"0171 2345678", "(0)171/23 45 678", "06 12 34 56 78", "tel:+1-201", "+49 (0) 30 901820", "４１５-５５５-０１３２", "٠٦١٢٣٤٥٦٧٨", "491511234567", "call 415–555–0132 now",
	},
	sanitise.Card: {
		"4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111", "378282246310005", "3782 822463 10005", "6011111111111117", "5555.5555.5555.4444",
		"2223003122003222", "30569309025904", "x4111111111111111y", "4111 1111 1111 1111 12/27", "card 4111\u00a01111\u00a01111\u00a01111", "000004111111111111111", "6304000000000000",
	},
	sanitise.Token: {
		"sk_live_4eC39HqLyjWDarjtT1zdp7dc", "ghp_16C7e42F292c6912E7710c838347Ae178B4a", "AKIAIOSFODNN7EXAMPLE", "xoxb-2048-abcdefgh12", "Bearer mF_9.B5f-4.1JqM", "Basic dXNlcjpwYXNz",
		"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "q3t7X9wLm2Kp8vRz", "password=hunter2", "https://u:p4ss@example.com/", "-----BEGIN RSA PRIVATE KEY-----",
		"apikey: 12345", "vF9dft4qmTbWjR3xKz0uQ2nL8sYhE6pA1cG7iO5", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzQ9mT4kL2vB",
	},
	sanitise.JWT: {
		"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
		"eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJIUzI1NiJ9", "x-eyJzdWIiOiJqYW5lIiwiZXhwIjoxfQ", `{"alg":"none"}`,
	},
	sanitise.Request: {"test_learner_7", "TEST_LEARNER_7", "x-test_learner_7-y"},
}

// disguises are what a value may be encoded as within a body.
var disguises = map[string]func(string) string{
	"plain":        func(s string) string { return s },
	"in prose":     func(s string) string { return "see " + s + ", please" },
	"percent":      url.QueryEscape,
	"each percent": func(s string) string { return eachByte(s, "%%%02x") },
	"twice":        func(s string) string { return url.PathEscape(url.PathEscape(s)) },
	"entities":     html.EscapeString,
	"each entity":  func(s string) string { return eachRune(s, "&#%d;") },
	"hex entity":   func(s string) string { return eachRune(s, "&#x%X;") },
	"escapes":      func(s string) string { return eachRune(s, "\\u{%x}") },
	"base64":       func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64url":    func(s string) string { return "id_" + base64.RawURLEncoding.EncodeToString([]byte(s+"  ")) },
	"base64 twice": func(s string) string {
		return base64.StdEncoding.EncodeToString([]byte(base64.URLEncoding.EncodeToString([]byte(s))))
	},
	"hexadecimal": func(s string) string { return hex.EncodeToString([]byte(s)) },
	"JSON in it":  func(s string) string { return fmt.Sprintf("{\"a\":%s}", quote(s)) },
}

func eachByte(s, format string) (out string) {
	for i := range len(s) {
		out += fmt.Sprintf(format, s[i])
	}
	return out
}

func eachRune(s, format string) (out string) {
	for _, c := range s {
		out += fmt.Sprintf(format, c)
	}
	return out
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// places are where a text may stand in an answer.
var places = map[string]func(string) sanitise.Answer{
	"value":   func(s string) sanitise.Answer { return ofJSON(`{"a":[{"b":` + quote(s) + `}]}`) },
	"key":     func(s string) sanitise.Answer { return ofJSON(`{"a":[{` + quote(s) + `:1}]}`) },
	"element": func(s string) sanitise.Answer { return ofJSON(`[1,[` + quote(s) + `]]`) },
	"whole":   func(s string) sanitise.Answer { return ofJSON(quote(s)) },
	"field": func(s string) sanitise.Answer {
		return sanitise.Answer{File: "a.answer", JSON: true, Body: []byte("{}"), Header: http.Header{"X-A": {s}}}
	},
	"pattern": func(s string) sanitise.Answer {
		return sanitise.Answer{File: "a.answer", JSON: true, Body: []byte("{}"), Pattern: "/a/" + s}
	},
	"file": func(s string) sanitise.Answer {
		return sanitise.Answer{File: s + ".answer", JSON: true, Body: []byte("{}")}
	},
	"text":         func(s string) sanitise.Answer { return sanitise.Answer{File: "t.answer", Body: []byte("Hello " + s)} },
	"without body": func(s string) sanitise.Answer { return sanitise.Answer{File: "a.answer", Pattern: "/?q=" + s} },
}

func ofJSON(body string) sanitise.Answer {
	return sanitise.Answer{File: "a.answer", Pattern: "/", JSON: true, Body: []byte(body)}
}

func TestNoCanarySurvives(t *testing.T) {
	r := rules(t, "#:text t.answer\n.")
	for detector, values := range canaries {
		for _, canary := range values {
			for disguise, wear := range disguises {
				for place, put := range places {
					if place != "value" && !slices.Contains([]string{"plain", "percent", "base64url"}, disguise) {
						continue // all disguises in one place, a few in all
					}
					a := put(wear(canary))
					a.Private = []string{"test_learner_7"}
					kept, findings, err := r.Apply(t.Context(), a)
					if err != nil {
						t.Fatalf("%q, %s, %s: %v", canary, disguise, place, err)
					}
					if kept != nil || !slices.ContainsFunc(findings, func(f sanitise.Finding) bool { return f.Detector == detector }) {
						t.Errorf("%s %q, %s, as %s: %v", detector, canary, disguise, place, findings)
					}
					for _, f := range findings {
						if place != "file" && strings.Contains(f.Place, canary) {
							t.Errorf("the finding shows it: %s", f)
						}
					}
				}
			}
		}
	}
}

// However much stands before it, what is encoded is looked at, in bounded time.
func TestEndOfLongText(t *testing.T) {
	words := strings.Repeat("notebook understanding ZmluZSB0ZXh0 6669 6e652074657874 ", 400)
	for _, canary := range []string{
		base64.StdEncoding.EncodeToString([]byte("a@b.de")), hex.EncodeToString([]byte("a@b.de")),
		base64.StdEncoding.EncodeToString([]byte(hex.EncodeToString([]byte("a@b.de")))),
	} {
		body, err := json.Marshal(words + canary)
		if err != nil {
			t.Fatal(err)
		}
		if got := found(t, ".", string(body)); !slices.Contains(got, ".: email") {
			t.Errorf("%s at the end of %d bytes: %v", canary, len(body), got)
		}
	}
	took := func(n int) time.Duration {
		begun := time.Now()
		found(t, ".", `"`+strings.Repeat("YWJj/", n)+`"`)
		return time.Since(begun)
	}
	if short, long := took(5_000), took(40_000); long > 30*short { // in squares it would be 64 times
		t.Errorf("eight times the text took %s, not %s", long, short)
	}
}

func TestNumbersAreRead(t *testing.T) {
	for body, want := range map[string]string{
		`{"pan":4111111111111111}`: ".pan: card", `{"pan":4.111111111111111e15}`: ".pan: card", `{"pan":4111111111111111.0}`: ".pan: card",
		`[4155550132]`: "[0]: phone", `{"token":"abcd"}`: ".token: token", `{"api_key":[1234]}`: ".api_key[0]: token", `{"userPassword":"x y z"}`: ".userPassword: token",
		`{"a":1,"b":{"jane@example.com":{"c":"0171 2345678"}}}`: ".b(key 0): email",
	} {
		if got := found(t, ".", body); len(got) == 0 || got[0] != want {
			t.Errorf("%s: %v, want %s", body, got, want)
		}
	}
	if got := found(t, ".", `{"jane@example.com":{"c":"0171 2345678"}}`); !slices.Equal(got, []string{"(key 0): email", "(key 0).c: phone"}) {
		t.Error(got)
	}
}

func TestOrdinaryDataIsKept(t *testing.T) {
	for _, body := range []string{
		`{"date_placed":"2022-11-02T14:03:11Z","at":"2022-11-02T14:03:11.123456+02:00","day":"2022-11-02","count":3000,"total":"149.00"}`,
		`{"course_key":"course-v1:TestX+STAT1+2022_T3","url":"https://ecommerce.example/api/v2/products/7001/","partner_sku":"0A1B2C3","number":"TEST-100002"}`,
		`{"id":"123e4567-e89b-12d3-a456-426614174000","ms":1600000000000,"s":1600000000,"pi":3.14159265358979,"small":0.123456789,"ip":"192.168.100.200"}`,
		`{"title":"Statistics for Engineers with verified certificate","enableHoistOrderHistoryForEverybody2":true,"slug":"statistics-for-engineers-2022-run-1"}`,
		`{"text":"Basic understanding of Économie publique; Bearer bonds; a Token economy; 日本語入門, 100 % @ home & <away>","path":"/api/v2/orders/?page=2&page_size=100"}`,
		`{"password":null,"cookie":true,"token":"","version":"10.15.7","range":"10-20","empty":{},"none":[],"next":"https://shop.example/api/v2/catalog/products?page=2&page_size=20"}`,
		`null`, `0`, `""`, `[[]]`,
	} {
		if got := found(t, ".", body); len(got) > 0 {
			t.Errorf("%s: %v", body, got)
		}
	}
}

func TestAllowances(t *testing.T) {
	const body = `{"results":[{"sku":"q3t7X9wLm2Kp8vRz","by":{"jane@example.com":"x"}}],"sku":"q3t7X9wLm2Kp8vRz"}`
	for directives, want := range map[string][]string{
		"":                               {".results[0].by(key 0): email", ".results[0].sku: token", ".sku: token"},
		"#:allow token .results[].sku\n": {".results[0].by(key 0): email", ".sku: token"},
		"#:allow token .results[].*\n#:allow email .results[].by.*": {".sku: token"},
		"#:allow email .sku\n#:allow token .results\n":              {".results[0].by(key 0): email", ".results[0].sku: token", ".sku: token"},
	} {
		if got := found(t, directives+"\n.", body); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", directives, got, want)
		}
	}
	a := sanitise.Answer{File: "a.answer", JSON: true, Body: []byte("{}"), Pattern: "/q3t7X9wLm2Kp8vRz", Header: http.Header{"X-A": {"q3t7X9wLm2Kp8vRz"}}}
	if _, findings, _ := rules(t, "#:allow token pattern\n.").Apply(t.Context(), a); len(findings) != 1 || findings[0].Place != "field:X-A" {
		t.Error(findings)
	}
	if kept, findings, _ := rules(t, "#:allow token pattern\n#:allow token field:X-A\n.").Apply(t.Context(), a); string(kept) != "{}" {
		t.Error(findings)
	}
}

func TestRules(t *testing.T) {
	const text = `# keep what the page shows
#:text robots.answer
if $file == "robots.answer" then gsub("[a-z]+@[a-z.]+"; "nobody")
else {count, results: [.results[] | {number, total, name: "n"}]} end`
	r := rules(t, text)
	body := `{"count":1,"results":[{"number":"A","total":1.50,"email":"jane@example.com"}],"extra":{"token":"12345"}}`
	kept, findings, err := r.Apply(t.Context(), ofJSON(body))
	if want := `{"count":1,"results":[{"name":"n","number":"A","total":1.50}]}`; err != nil || string(kept) != want {
		t.Errorf("%s %v %v, want %s", kept, findings, err, want)
	}
	kept, findings, err = r.Apply(t.Context(), sanitise.Answer{File: "robots.answer", Body: []byte("ask jane@example.com")})
	if err != nil || string(kept) != "ask nobody" {
		t.Errorf("%s %v %v", kept, findings, err)
	}
}

func TestRulesThatFail(t *testing.T) {
	secret := `{"jane@example.com":"4111111111111111"}`
	for _, c := range []struct{ rules, body, want string }{
		{"empty", "{}", "give nothing"},
		{"1, 2", "{}", "more than one value"},
		{"error", secret, "gave up on this body"},
		{".a.b", `{"a":"4111111111111111"}`, "the rules fail on this body: expected an object but got: string"},
		{"keys[0] | tonumber", secret, "the rules fail on this body: "},
		{`"x" | until(false; .)`, "{}", "deadline"},
		{`"x" * 2000000`, "{}", "more than 1048576 bytes"},
		{".", "{", "not the JSON"},
		{".", "{} {}", "more than one JSON value"},
		{".", `"` + strings.Repeat("a", 1<<20) + `"`, "more than 1048576 bytes"},
		{".", "\xff", "not UTF-8"},
	} {
		ctx, cancel := t.Context(), func() {}
		if strings.Contains(c.rules, "until") {
			ctx, cancel = context.WithTimeout(ctx, 20*time.Millisecond)
		}
		kept, _, err := rules(t, c.rules).Apply(ctx, ofJSON(c.body))
		cancel()
		if err == nil || kept != nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "jane") || strings.Contains(err.Error(), "4111") {
			t.Errorf("%s: %v, want %s", c.rules, err, c.want)
		}
	}
	_, _, err := rules(t, ".").Apply(t.Context(), sanitise.Answer{File: "a.answer", Body: []byte("x")})
	if err == nil || !strings.Contains(err.Error(), "#:text a.answer") {
		t.Error(err)
	}
	if _, _, err := rules(t, "42").Apply(t.Context(), ofJSON("{}")); err != nil {
		t.Error(err)
	}
	if _, _, err := rules(t, "#:text a.answer\n42").Apply(t.Context(), sanitise.Answer{File: "a.answer", Body: []byte("x")}); err == nil {
		t.Error("a text that is a number")
	}
}

// What rules read is the body and nothing else.
func TestRulesAreShutIn(t *testing.T) {
	t.Setenv("PLANTED", "planted")
	kept, _, err := rules(t, `[$ENV.PLANTED, env.PLANTED]`).Apply(t.Context(), ofJSON("{}"))
	if string(kept) != "[null,null]" {
		t.Errorf("%s %v", kept, err)
	}
	for _, text := range []string{`import "a" as a; .`, `input`, `inputs`, `get_search_list`} {
		r, err := sanitise.Parse("x", text)
		if err == nil {
			_, _, err = r.Apply(t.Context(), ofJSON("{}"))
		}
		if err == nil {
			t.Errorf("%s is allowed", text)
		}
	}
}

func TestMistakesInRules(t *testing.T) {
	_, err := sanitise.Parse("sanitise.jq", "#:allow mail .a\n#:allow email a\n#:allow email .a[0]\n#:deny\n{a:\n")
	var lines []string
	for line := range strings.SplitSeq(fmt.Sprint(err), "\n") {
		lines = append(lines, line)
	}
	for i, want := range []string{
		`sanitise.jq:1: allow "mail"; want one of [email phone`, `sanitise.jq:2: at "a"; want file, pattern`, `sanitise.jq:3: at ".a[0]"; want []`,
		"sanitise.jq:4: want #:allow DETECTOR PLACE", "sanitise.jq:6: unexpected EOF; want a jq program",
	} {
		if i >= len(lines) || !strings.HasPrefix(lines[i], want) {
			t.Errorf("%d: %v, want %s", i, lines, want)
		}
	}
}

func BenchmarkApply(b *testing.B) {
	r := rules(b, ".")
	body := `{"results":[` + strings.Repeat(`{"title":"Seat in TEST Course A with verified certificate","date_placed":"2022-11-02T14:03:11Z","total":"149.00"},`, 99) + `{}]}`
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if kept, _, err := r.Apply(b.Context(), ofJSON(body)); kept == nil {
			b.Fatal(err)
		}
	}
}
