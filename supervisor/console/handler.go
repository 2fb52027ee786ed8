package console

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

// Path is where Handler has to be mounted.
const Path = "/console/"

//go:embed page
var files embed.FS

// policy lets the page load what comes with it and ask its own origin, and nothing
// else: CSP level 3.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// A file of the page.
type file struct {
	media string
	tag   string // RFC 9110 section 8.8.3
	text  string
}

// Handler serves the page below Path, for GET and HEAD.
func Handler() http.Handler {
	page := make(map[string]file)
	err := fs.WalkDir(files, "page", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(text)
		page[Path+strings.TrimPrefix(name, "page/")] = file{mediaOf(name), `"` + hex.EncodeToString(sum[:12]) + `"`, string(text)}
		return nil
	})
	if err != nil {
		panic("console: " + err.Error()) // it is part of the program
	}
	page[Path] = page[Path+"index.html"]
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, ok := page[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		h.Set("Content-Type", f.media)
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-cache") // kept, and asked for whether it is still this one
		h.Set("ETag", f.tag)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(f.text))
	})
}

// mediaOf does not ask the system, whose tables may say something else.
func mediaOf(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return "text/plain; charset=utf-8"
}
