package demo

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

const (
	catalogRoot  = "/api/catalog/"
	productCount = 400
	// What is worth compressing, in bytes.
	gzipFrom = 512
	// stale-if-error lets the coordinator stand in with what it has kept
	// (RFC 5861 section 4).
	catalogCaching = "public, max-age=5, stale-if-error=600"
)

type product struct {
	SKU         string   `json:"sku"`
	Title       string   `json:"title"`
	Description string   `json:"description"`
	Price       string   `json:"price"`
	Currency    string   `json:"currency"`
	InStock     int      `json:"in_stock"`
	Tags        []string `json:"tags"`
}

// SKU is the stock keeping unit of product i of the catalog, 0 to 399.
func SKU(i int) string { return fmt.Sprintf("TEST-%04d", i+1) }

// catalog is the product service.
type catalog struct {
	all   []json.RawMessage
	bySKU map[string]json.RawMessage
}

func newCatalog() *catalog {
	s := &catalog{bySKU: make(map[string]json.RawMessage, productCount)}
	for i := range productCount {
		c := courses[i%len(courses)]
		edition := 1 + i/len(courses)
		text := json.RawMessage(marshal(product{
			SKU:         SKU(i),
			Title:       fmt.Sprintf("%s, edition %d", c.title, edition),
			Description: fmt.Sprintf("Course book of %s (%s): %d chapters, exercises with solutions.", c.title, c.key, 8+i%7),
			Price:       money(c.cents/4 + 100*edition),
			Currency:    "USD",
			InStock:     (i * 37) % 120,
			Tags:        []string{"book", strings.ToLower(c.key)},
		}))
		s.all = append(s.all, text)
		s.bySKU[SKU(i)] = text
	}
	return s
}

func (s *catalog) answer(r *http.Request, _ []byte) reply {
	sku, refused := route(r, catalogRoot, http.MethodGet, http.MethodHead)
	if refused.status != 0 {
		return refused
	}
	if sku == "" {
		return cacheable(r, pageReply(r, s.all, pageSizes{usual: 24, most: 100}))
	}
	p, ok := s.bySKU[sku]
	if !ok {
		return notFound()
	}
	return cacheable(r, jsonReply(http.StatusOK, p))
}

// cacheable gives a good answer a validator and a life time, compresses it when the
// client can read that, and leaves the body out when the client has it.
func cacheable(r *http.Request, a reply) reply {
	if a.status != http.StatusOK {
		return a
	}
	sum := sha256.Sum256(a.body)
	tag := base64.RawURLEncoding.EncodeToString(sum[:12])
	zip := len(a.body) >= gzipFrom && acceptsGzip(r.Header.Values("Accept-Encoding"))
	if zip {
		// A strong validator names one sequence of bytes (RFC 9110 section 8.8.1).
		tag += "-gzip"
	}
	tag = strconv.Quote(tag)
	a.header.Set("ETag", tag)
	a.header.Set("Cache-Control", catalogCaching)
	a.header.Set("Vary", "Accept-Encoding")
	if hasTag(r.Header.Values("If-None-Match"), tag) {
		a.header.Del("Content-Type")
		return reply{status: http.StatusNotModified, header: a.header}
	}
	if zip {
		a.header.Set("Content-Encoding", "gzip")
		a.body = compress(a.body)
	}
	return a
}

func compress(body []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(body) // into memory: cannot fail
	z.Close()
	return b.Bytes()
}

// acceptsGzip reads Accept-Encoding (RFC 9110 section 12.5.3).
func acceptsGzip(fields []string) bool {
	for coding := range strings.SplitSeq(strings.Join(fields, ","), ",") {
		name, params, _ := strings.Cut(coding, ";")
		name = strings.ToLower(strings.TrimSpace(name))
		if name != "gzip" && name != "x-gzip" {
			continue
		}
		weight, ok := strings.CutPrefix(strings.TrimSpace(params), "q=")
		if !ok {
			return true
		}
		q, err := strconv.ParseFloat(weight, 64)
		return err == nil && q > 0
	}
	return false
}

// hasTag compares as If-None-Match does: weakly (RFC 9110 section 13.1.2).
func hasTag(fields []string, tag string) bool {
	for t := range strings.SplitSeq(strings.Join(fields, ","), ",") {
		t = strings.TrimPrefix(strings.TrimSpace(t), "W/")
		if t == tag || t == "*" {
			return true
		}
	}
	return false
}
