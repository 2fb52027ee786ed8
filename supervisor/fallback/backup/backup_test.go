package backup_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/fallback"
	"commerce.example/coordinator/supervisor/fallback/backup"
)

const page = `GET /api/v2/orders/?username={}&[page=1]
made 2026-11-21T05:20:00Z
status 200
Content-Type: application/json
Vary: Accept
Vary: Cookie

{
  "count": 12345678901234567890,
  "title": "<é\u0041>"
}
`

func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func load(t testing.TB, files map[string]string) *backup.Set {
	t.Helper()
	s, err := backup.Load(folder(t, files), backup.Bounds{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFind(t *testing.T) {
	s := load(t, map[string]string{
		"page.answer": page, "requests": "?", "sanitise.jq": ".", ".git": "", "README.md": "",
		"text.answer": "GET /robots.txt\nmade 2020-01-02T03:04:05+01:00\nstatus 200\nContent-Type: text/plain\n\n\nUser-agent: *\n\n",
		"gone.answer": "GET /old\nmade 2026-01-01T00:00:00Z\nstatus 410\n\n",
	})
	a, ok := s.Find(httptest.NewRequest("GET", "/api/v2/orders/?page=1&username=anybody", nil))
	if !ok || a.Kind != fallback.Backup || a.Status != 200 || string(a.Body) != `{"count":12345678901234567890,"title":"<é\u0041>"}` {
		t.Fatalf("%v, %+v %s", ok, a, a.Body)
	}
	if got := a.Header["Vary"]; len(got) != 2 || a.Header.Get("Content-Type") != "application/json" || len(a.Header) != 2 {
		t.Errorf("fields %v", a.Header)
	}
	if made := time.Date(2026, 11, 21, 5, 20, 0, 0, time.UTC); !a.Made.Equal(made) || !a.Fresh.Equal(made) {
		t.Errorf("made %v, fresh until %v", a.Made, a.Fresh)
	}
	if a, ok = s.Find(httptest.NewRequest("HEAD", "/robots.txt", nil)); !ok || string(a.Body) != "\nUser-agent: *\n\n" {
		t.Errorf("HEAD: %v", ok)
	}
	if a, ok = s.Find(httptest.NewRequest("GET", "/old", nil)); !ok || a.Status != 410 || len(a.Body) != 0 {
		t.Errorf("no body: %v", ok)
	}
	for _, r := range []*http.Request{
		httptest.NewRequest("POST", "/old", nil), httptest.NewRequest("OPTIONS", "/old", nil), httptest.NewRequest("GET", "/old?x", nil),
		httptest.NewRequest("GET", "/api/v2/orders/?page=2&username=anybody", nil), httptest.NewRequest("GET", "/api/v2/orders/?page=%zz", nil),
	} {
		if _, ok := s.Find(r); ok {
			t.Errorf("%s %s has an answer", r.Method, r.URL)
		}
	}
	if want := time.Date(2020, 1, 2, 2, 4, 5, 0, time.UTC); s.Len() != 3 || !s.Oldest().Equal(want) || s.Entries()[0].File != "gone.answer" {
		t.Errorf("%d answers, oldest %v", s.Len(), s.Oldest())
	}
	var none *backup.Set
	if _, ok := none.Find(httptest.NewRequest("GET", "/", nil)); ok || none.Len() != 0 || !none.Oldest().IsZero() || none.Entries() != nil {
		t.Error("no set has answers")
	}
}

func TestTheMostSpecificIsGiven(t *testing.T) {
	patterns := []string{"/{...}?{...}", "/a/{...}?{...}", "/a/{x}?{...}", "/a/b?{...}", "/a/b?[x={}]", "/a/b?x={}", "/a/b?x=1", "/a/{x}/c?x=1"}
	files := map[string]string{}
	for i, p := range patterns {
		files[string(rune('z'-i))+".answer"] = "GET " + p + "\nmade 2026-11-21T05:20:00Z\nstatus 200\nContent-Type: text/plain\n\n" + p
	}
	s := load(t, files)
	for request, want := range map[string]string{
		"/": "/{...}?{...}", "/a": "/{...}?{...}", "/a/": "/a/{...}?{...}", "/a/b/c/d": "/a/{...}?{...}", "/a/q?z": "/a/{x}?{...}", "/a/b?z=1": "/a/b?{...}",
		"/a/b": "/a/b?[x={}]", "/a/b?x=2": "/a/b?x={}", "/a/b?x=1": "/a/b?x=1", "/a/b?x=1&x=1": "/a/b?{...}", "/a/b/c?x=1": "/a/{x}/c?x=1", "/a/b/c": "/a/{...}?{...}",
	} {
		if a, ok := s.Find(httptest.NewRequest("GET", request, nil)); !ok || string(a.Body) != want {
			t.Errorf("%s: %v %s, want %s", request, ok, a.Body, want)
		}
	}
}

func TestLoadNamesEveryMistake(t *testing.T) {
	dir := folder(t, map[string]string{
		"a.answer":      "GET x\nmade today\nstatus 206\nSet-Cookie: a=b\nwhat is this\nGET /\n\n",
		"b.answer":      "GET /b\nmade 2026-11-21T05:20:00Z\nstatus 200\nContent-Type: application/json\n\n{\n\"a\": ,\n}",
		"c.answer":      page,
		"d.answer":      strings.Replace(page, "username={}&[page=1]", "username={}&page={}", 1),
		"e.answer":      page,
		"f.answer":      "HEAD /\n\nx",
		"g.answer":      "GET /g\r\n\n\xff",
		"h.answer":      "GET /h\nmade 2026-11-21T05:20:00Z\nstatus 200\nContent-Type: text/plain\n\n\xff",
		"i.answer":      "GET /i\nmade 2026-11-21T05:20:00Z\nstatus 204\nX Y: 1\nEtag: 1\n\nz",
		"orders.anwser": "",
	})
	if err := os.Mkdir(filepath.Join(dir, "j.answer"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := backup.Load(dir, backup.Bounds{})
	mistakes, ok := err.(backup.Mistakes)
	if !ok {
		t.Fatal(err)
	}
	want := []string{
		"orders.anwser: what is it? want NAME.answer, requests, sanitise.jq",
		"a.answer:1: want a path that begins with /",
		`a.answer:2: made "today"; want a time such as`,
		`a.answer:3: status "206"; want one of [200 203 204`,
		"a.answer:4: the field Set-Cookie is never kept: it is for one person",
		`a.answer:5: "what is this"; want GET PATTERN`,
		"a.answer:6: GET again, after line 1",
		"b.answer:7: the body is no JSON",
		"f.answer:1: HEAD; want GET",
		"f.answer: no line that begins with GET",
		"f.answer: no line that begins with made",
		"f.answer: no line that begins with status",
		"f.answer: a body without Content-Type",
		"g.answer: a carriage return",
		"h.answer:6: the body is not UTF-8",
		`i.answer:4: "X Y: 1"; want`,
		"i.answer:5: the field Etag is never kept",
		"i.answer:7: a body; want none with status 204",
		"j.answer: not a regular file; want a file",
		"d.answer: some requests match it and /api/v2/orders/?username={}&[page=1], and neither is the more specific; want one to be, of c.answer",
		"e.answer: it answers the same requests",
	}
	lines := strings.Split(mistakes.Error(), "\n")
	for i, line := range lines {
		if rest := strings.TrimPrefix(line, dir+"/"); i >= len(want) || !strings.HasPrefix(rest, want[i]) {
			t.Errorf("%d: %s", i, rest)
		}
	}
	if len(lines) < len(want) {
		t.Errorf("%d mistakes, want %d", len(lines), len(want))
	}
}

func TestBounds(t *testing.T) {
	dir := folder(t, map[string]string{"a.answer": page, "b.answer": strings.Replace(page, "/api", "/b", 1)})
	for want, b := range map[string]backup.Bounds{
		"more than 1 files":                            {Files: 1},
		"a.answer: more than 99 bytes":                 {FileBytes: 99},
		"more than 300 bytes; want fewer":              {Bytes: 300},
		"/none: no such file or directory; want a fol": {},
	} {
		from := dir
		if b == (backup.Bounds{}) {
			from += "/none"
		}
		if _, err := backup.Load(from, b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", b, err)
		}
	}
	if s, err := backup.Load(t.TempDir(), backup.Bounds{}); err != nil || s.Len() != 0 {
		t.Error(err)
	}
}

// A ConfigMap is mounted as links into a folder whose name begins with dots.
func TestLinksAreFollowed(t *testing.T) {
	dir := folder(t, nil)
	if err := os.Mkdir(dir+"/..2026", 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"..2026/a.answer": page} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for from, to := range map[string]string{"..data": "..2026", "a.answer": "..data/a.answer"} {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := backup.Load(dir, backup.Bounds{}); err != nil || s.Len() != 1 {
		t.Error(err)
	}
}

func TestWriteIsReadBack(t *testing.T) {
	dir := t.TempDir()
	for _, e := range []backup.Entry{
		{File: "a.answer", Status: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(`{"a":[1.50,{}],"b":"\u0000\n\n"}`)},
		{File: "b.answer", Status: 404, Header: http.Header{"Content-Type": {"text/plain"}, "X-A": {"1", "2"}}, Body: []byte("\n\nx\r\n")},
		{File: "c.answer", Status: 204, Header: http.Header{}},
	} {
		e.Pattern, e.Made = pattern(t, "/"+e.File), time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		for range 2 {
			if err := backup.Write(dir, e); err != nil {
				t.Fatal(err)
			}
		}
		s, err := backup.Load(dir, backup.Bounds{})
		if err != nil {
			t.Fatal(err)
		}
		got := s.Entries()[s.Len()-1]
		if got.File != e.File || got.Pattern.String() != e.Pattern.String() || !got.Made.Equal(e.Made) || got.Status != e.Status ||
			!bytes.Equal(got.Body, e.Body) || len(got.Header) != len(e.Header) || len(got.Header["X-A"]) != len(e.Header["X-A"]) {
			t.Errorf("%+v became %+v", e, got)
		}
	}
	if left, _ := filepath.Glob(dir + "/.*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestWriteRefuses(t *testing.T) {
	dir := t.TempDir()
	good := backup.Entry{File: "a.answer", Pattern: pattern(t, "/"), Made: time.Now(), Status: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte("{}")}
	for want, change := range map[string]func(*backup.Entry){
		"the name":          func(e *backup.Entry) { e.File = "../a.answer" },
		"want NAME.answer":  func(e *backup.Entry) { e.File = "requests" },
		"no JSON":           func(e *backup.Entry) { e.Body = []byte("{") },
		"control character": func(e *backup.Entry) { e.Header = http.Header{"X-A": {"1\nSet-Cookie: a"}} },
		"Set-Cookie":        func(e *backup.Entry) { e.Header = http.Header{"Set-Cookie": {"1"}} },
		"begins with /":     func(e *backup.Entry) { e.Pattern = backup.Pattern{} },
		"status":            func(e *backup.Entry) { e.Status = 500 },
		"UTF-8":             func(e *backup.Entry) { e.Header, e.Body = http.Header{"Content-Type": {"image/png"}}, []byte{0xff} },
	} {
		e := good
		change(&e)
		if err := backup.Write(dir, e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if s, err := backup.Load(dir, backup.Bounds{}); err != nil || s.Len() != 0 {
		t.Errorf("something was written: %v", err)
	}
	if err := backup.Write(dir+"/none", good); err == nil {
		t.Error("written to no folder")
	}
}

// What is read without a mistake can be written, and is then the same.
func FuzzParse(f *testing.F) {
	f.Add([]byte(page))
	f.Add([]byte("GET /{a...}?[x={}]&{...}\nmade 2026-11-21T05:20:00.5+02:00\nstatus 404\nContent-Type: text/plain\nX:  y \n\nz"))
	f.Fuzz(func(t *testing.T, text []byte) {
		e, mistakes := backup.Parse("a.answer", text)
		if len(mistakes) > 0 {
			return
		}
		dir := t.TempDir()
		if err := backup.Write(dir, e); err != nil {
			t.Fatal(err)
		}
		s, err := backup.Load(dir, backup.Bounds{FileBytes: 1 << 30, Bytes: 1 << 30})
		if err != nil {
			t.Fatal(err)
		}
		got := s.Entries()[0]
		if !bytes.Equal(got.Body, e.Body) || got.Status != e.Status || got.Pattern.String() != e.Pattern.String() || len(got.Header) != len(e.Header) {
			t.Fatalf("%+v became %+v", e, got)
		}
	})
}

func BenchmarkFind(b *testing.B) {
	files := map[string]string{"page.answer": page}
	for i := range 500 {
		name := strings.Repeat("x", i+1)
		files[name[:min(i+1, 90)]+string(rune('a'+i%26))+".answer"] = strings.Replace(page, "/api/v2", "/"+name, 1)
	}
	s := load(b, files)
	r := httptest.NewRequest("GET", "/api/v2/orders/?page=1&username=test_learner_1", nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := s.Find(r); !ok {
			b.Fatal("no answer")
		}
	}
}
