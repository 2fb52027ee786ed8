package demo_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"commerce.example/coordinator/cmd/coordinator/internal/demo"
)

// Every file of the page is served as what it is, and asks nobody else for anything.
func TestPageFiles(t *testing.T) {
	s := open(t, demo.Page, quick)
	files, err := os.ReadDir("page")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	types := map[string]string{"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
	referenced := regexp.MustCompile(`(?:src|href)="([^"]*)"|from "([^"]*)"`)
	for _, file := range files {
		want, err := os.ReadFile("page/" + file.Name())
		if err != nil {
			t.Fatal(err)
		}
		path := demo.PagePath + file.Name()
		if file.Name() == "index.html" {
			path = demo.PagePath
		}
		res, body := s.do("GET", path, "")
		_, extension, _ := strings.Cut(file.Name(), ".")
		if res.StatusCode != 200 || body != string(want) || res.Header.Get("Content-Type") != types[extension] ||
			!strings.Contains(res.Header.Get("Content-Security-Policy"), "default-src 'none'") || res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %s %v", path, res.Status, res.Header)
		}
		if strings.Contains(body, "//cdn") || strings.Contains(body, "http://") || strings.Contains(body, "https://") {
			t.Errorf("%s names another place", path)
		}
		for _, m := range referenced.FindAllStringSubmatch(body, -1) {
			name := strings.TrimPrefix(m[1]+m[2], "./")
			if res, _ := s.do("GET", demo.PagePath+name, ""); name != "data:," && res.StatusCode != 200 {
				t.Errorf("%s wants %s: %s", path, name, res.Status)
			}
		}
	}
	for path, status := range map[string]int{"/order-history": 301, "/order-history/nothing.js": 404, "/order-history/..%2fpage.go": 404, "/": 404} {
		if res, _ := s.do("GET", path, ""); res.StatusCode != status {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
}
