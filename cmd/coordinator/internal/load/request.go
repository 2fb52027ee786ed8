package load

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// marker stands where a number belongs while the request is rendered. It is as
// long as the number, so that Content-Length stays true, and survives URL parsing.
const marker = "nUmBeRnUmBeRnUmB"

// request is a rendered request and where in it the number goes.
type request struct {
	wire    []byte
	numbers []int
	head    bool // the method is HEAD: answers have no body
}

// render checks t and renders it once for all. addr is where to connect.
func render(t Target) (*request, string, error) {
	method := t.Method
	if method == "" {
		method = http.MethodGet
	}
	if !httpguts.ValidHeaderFieldName(method) {
		return nil, "", fmt.Errorf("load: %q is not a method", method)
	}
	mark := strings.NewReplacer("{n}", marker)
	u, err := url.Parse(mark.Replace(t.URL))
	if err != nil {
		return nil, "", fmt.Errorf("load: target: %w", err)
	}
	addr, err := address(u)
	if err != nil {
		return nil, "", err
	}
	host := u.Host
	if h := t.Header.Get("Host"); h != "" {
		host = mark.Replace(h)
	}
	body := []byte(mark.Replace(string(t.Body)))

	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, u.RequestURI(), host)
	for name, values := range t.Header {
		switch http.CanonicalHeaderKey(name) {
		case "Host", "Content-Length":
			continue
		case "Transfer-Encoding", "Expect":
			return nil, "", fmt.Errorf("load: header %s: the body is sent whole", name)
		}
		for _, v := range values {
			if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(v) {
				return nil, "", fmt.Errorf("load: header %q cannot be sent", name)
			}
			fmt.Fprintf(&b, "%s: %s\r\n", name, mark.Replace(v))
		}
	}
	if len(body) > 0 || method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n")
	b.Write(body)

	r := &request{wire: b.Bytes(), head: method == http.MethodHead}
	for from := 0; ; from += len(marker) {
		i := bytes.Index(r.wire[from:], []byte(marker))
		if i < 0 {
			return r, addr, nil
		}
		from += i
		r.numbers = append(r.numbers, from)
	}
}

// address is where to connect for u, which must be on this machine.
func address(u *url.URL) (string, error) {
	if u.Scheme != "http" {
		return "", fmt.Errorf("load: target %q: only http is spoken; want a URL such as http://127.0.0.1:8080/", u.Redacted())
	}
	host, port := u.Hostname(), u.Port()
	if port == "" {
		port = "80"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("load: target %q: want a port from 1 to 65535", u.Redacted())
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	// Names are not resolved: what they resolve to can change between two looks.
	ip, err := netip.ParseAddr(host)
	if err != nil || !ip.Unmap().IsLoopback() {
		return "", fmt.Errorf("%w: %q", ErrNotLoopback, u.Host)
	}
	return net.JoinHostPort(host, port), nil
}

// clone is a copy that another goroutine may number.
func (r *request) clone() *request {
	return &request{wire: slices.Clone(r.wire), numbers: r.numbers, head: r.head}
}

// numbered is the wire form of request n, valid until the next call.
func (r *request) numbered(n uint64) []byte {
	if len(r.numbers) > 0 {
		var digits [len(marker)]byte
		d := strconv.AppendUint(digits[:0], n, 10)
		for _, at := range r.numbers {
			field := r.wire[at : at+len(marker)]
			zeros := len(field) - len(d)
			for i := range zeros {
				field[i] = '0'
			}
			copy(field[zeros:], d)
		}
	}
	return r.wire
}
