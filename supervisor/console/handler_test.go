package console_test

import (
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"commerce.example/coordinator/supervisor/console"
)

func get(t *testing.T, path string, fields ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	console.Handler().ServeHTTP(w, r)
	return w.Result()
}

func TestPageComesWithItsPolicy(t *testing.T) {
	for path, media := range map[string]string{
		"": "text/html; charset=utf-8", "index.html": "text/html; charset=utf-8", "app.js": "text/javascript; charset=utf-8",
		"style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml", "uplot.LICENSE.txt": "text/plain; charset=utf-8",
	} {
		answer := get(t, console.Path+path)
		h := answer.Header
		if answer.StatusCode != 200 || h.Get("Content-Type") != media || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%q: %d %v", path, answer.StatusCode, h)
		}
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'none'"} {
			if policy := h.Get("Content-Security-Policy"); !strings.Contains(policy, want) || strings.Contains(policy, "unsafe") {
				t.Errorf("%q: policy %q", path, policy)
			}
		}
		if again := get(t, console.Path+path, "If-None-Match", h.Get("ETag")); again.StatusCode != 304 {
			t.Errorf("%q: asked for again: %d", path, again.StatusCode)
		}
	}
	for _, path := range []string{"page/", "nothing.js", "../handler.go", "page/index.html"} {
		if answer := get(t, console.Path+path); answer.StatusCode != 404 {
			t.Errorf("%q: %d", path, answer.StatusCode)
		}
	}
}

// What a browser would refuse or ask others for is not there to begin with, and no
// text can become markup. uPlot's files are its own; that they name no other address
// but their home is asked of them too.
func TestPageIsPlain(t *testing.T) {
	page := os.DirFS("page")
	names, err := fs.Glob(page, "*")
	if err != nil || len(names) < 10 {
		t.Fatalf("%v, %v", names, err)
	}
	markup := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\("(style|on)`)
	address := regexp.MustCompile(`https?://[^"'\s)]+`)
	known := map[string]bool{"http://www.w3.org/2000/svg": true, "https://github.com/leeoniya/uPlot": true}
	for _, name := range names {
		f, err := page.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		if found := markup.Find(text); found != nil {
			t.Errorf("%s has %s", name, found)
		}
		for _, found := range address.FindAllString(string(text), -1) {
			if !known[found] && !strings.HasSuffix(name, "LICENSE.txt") {
				t.Errorf("%s names %s", name, found)
			}
		}
		if name == "index.html" && regexp.MustCompile(`<style|style=|\son[a-z]+=|<script>`).Match(text) {
			t.Errorf("%s has something inline", name)
		}
	}
}
