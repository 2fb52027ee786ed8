package demo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// What the services have in common with each other and with Django REST framework,
// which the legacy ones are written in.

const jsonType = "application/json"

// marshal renders v as Django does: without HTML escapes and final newline.
func marshal(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // our own types, which can be encoded
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func jsonReply(status int, v any) reply {
	return reply{status: status, header: http.Header{"Content-Type": {jsonType}}, body: marshal(v)}
}

func refusal(status int, detail string) reply {
	return jsonReply(status, struct {
		Detail string `json:"detail"`
	}{detail})
}

func notFound() reply { return refusal(http.StatusNotFound, "Not found.") }

// route finds which part of the service r is for: "" is the list at root, else one
// item, named with or without a slash at its end. An answer that needs no service
// (a refusal, a redirect, OPTIONS) has a status.
func route(r *http.Request, root string, methods ...string) (item string, a reply) {
	path := r.URL.Path
	if path+"/" == root {
		return "", withSlash(r)
	}
	rest, ok := strings.CutPrefix(path, root)
	if !ok {
		return "", notFound()
	}
	item = strings.TrimSuffix(rest, "/")
	if strings.Contains(item, "/") || item == "" && rest != "" {
		return "", notFound()
	}
	if slices.Contains(methods, r.Method) {
		return item, reply{}
	}
	if r.Method == http.MethodOptions {
		a = jsonReply(http.StatusOK, map[string][]string{"renders": {jsonType}, "parses": {jsonType}})
	} else {
		a = refusal(http.StatusMethodNotAllowed, fmt.Sprintf("Method %q not allowed.", r.Method))
	}
	a.header.Set("Allow", strings.Join(append(methods, http.MethodOptions), ", "))
	return "", a
}

// withSlash sends the client to the same path with a slash at its end.
func withSlash(r *http.Request) reply {
	u := url.URL{Path: r.URL.Path + "/", RawQuery: r.URL.RawQuery}
	return reply{status: http.StatusMovedPermanently, header: http.Header{"Location": {u.String()}}}
}

// pageSizes are the usual number of items on a page and the most that
// page_size may ask for.
type pageSizes struct{ usual, most int }

// pageReply is the page of items that r asks for.
func pageReply[T any](r *http.Request, items []T, sizes pageSizes) reply {
	query := r.URL.Query()
	size := sizes.usual
	if n, err := strconv.Atoi(query.Get("page_size")); err == nil && n > 0 {
		size = min(n, sizes.most)
	}
	last := max((len(items)+size-1)/size, 1)
	page := 1
	switch s := query.Get("page"); s {
	case "":
	case "last":
		page = last
	default:
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > last {
			return refusal(http.StatusNotFound, "Invalid page.")
		}
		page = n
	}
	body := struct {
		Count    int     `json:"count"`
		Next     *string `json:"next"`
		Previous *string `json:"previous"`
		Results  []T     `json:"results"`
	}{Count: len(items), Results: []T{}}
	if page < last {
		body.Next = pageLink(r, query, page+1)
	}
	if page > 1 {
		body.Previous = pageLink(r, query, page-1)
	}
	from := min((page-1)*size, len(items))
	body.Results = append(body.Results, items[from:min(from+size, len(items))]...)
	return jsonReply(http.StatusOK, body)
}

// pageLink is the absolute link to another page: the same query, sorted, and no
// page parameter for the first.
func pageLink(r *http.Request, query url.Values, page int) *string {
	query.Set("page", strconv.Itoa(page))
	if page == 1 {
		query.Del("page")
	}
	u := url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path, RawQuery: query.Encode()}
	s := u.String()
	return &s
}
