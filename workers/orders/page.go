package orders

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
)

// page is a page of orders as every adapter gives it.
type page struct {
	count    int
	more     bool // there is a page behind it; the one before it follows from its number
	previous bool
	orders   []order
}

// order and line are the contract's, member by member.
type order struct {
	Number       string `json:"number"`
	DatePlaced   string `json:"date_placed"` // RFC 3339
	Currency     string `json:"currency"`    // ISO 4217
	TotalExclTax string `json:"total_excl_tax"`
	Lines        []line `json:"lines"`
}

type line struct {
	Title       string `json:"title"`
	Quantity    int    `json:"quantity"`
	Description string `json:"description"`
}

// write answers with p: the page that q asked for at a URL.
func (p page) write(w http.ResponseWriter, url string, q query) {
	body := struct {
		Count    int     `json:"count"`
		Next     *string `json:"next"`
		Previous *string `json:"previous"`
		Results  []order `json:"results"`
	}{Count: p.count, Results: p.orders}
	if p.more {
		link := url + "?" + q.other(q.page+1)
		body.Next = &link
	}
	if p.previous {
		link := url + "?" + q.other(q.page-1)
		body.Previous = &link
	}
	writeJSON(w, http.StatusOK, "application/json", body)
}

// writeJSON answers with v, which can be encoded.
func writeJSON(w http.ResponseWriter, status int, mediaType string, v any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // our own types
	}
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the client may have left; for HEAD nothing goes out
}
