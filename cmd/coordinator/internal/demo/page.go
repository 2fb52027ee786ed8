package demo

import (
	"embed"
	"mime"
	"net/http"
	"path"
)

const pageRoot = "/order-history/"

// pageFiles are the order history page as browsers get it: no build step, and
// nothing from elsewhere.
//
//go:embed page
var pageFiles embed.FS

// pagePolicy lets the page use its own files and ask its own origin, and no more.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// historyPage is the service of the page.
type historyPage struct{}

func (historyPage) answer(r *http.Request, _ []byte) reply {
	name, refused := route(r, pageRoot, http.MethodGet, http.MethodHead)
	if refused.status != 0 {
		return refused
	}
	if name == "" {
		name = "index.html"
	}
	body, err := pageFiles.ReadFile("page/" + name)
	if err != nil {
		return notFound()
	}
	return cacheable(r, reply{status: http.StatusOK, body: body, header: http.Header{
		"Content-Type":            {mime.TypeByExtension(path.Ext(name))},
		"Content-Security-Policy": {pagePolicy},
		"X-Content-Type-Options":  {"nosniff"},
		"Referrer-Policy":         {"no-referrer"},
	}})
}
