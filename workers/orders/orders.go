// Package orders is the worker that answers the order history of the commerce
// pages, whichever service holds the orders.
//
// # The contract
//
// GET or HEAD of /orders/order_history/?username=U&page=N&page_size=M gives
//
//	{"count": 41, "next": URL or null, "previous": URL or null, "results": [
//	  {"number": "TEST-100001", "date_placed": "2021-03-15T08:30:00Z",
//	   "currency": "USD", "total_excl_tax": "79.00",
//	   "lines": [{"title": "...", "quantity": 1, "description": "..."}]}]}
//
// newest order first. These members, and no others: what a page could begin to
// rely on would have to be there with the next backend too, and the legacy service
// tells more of its customers than a page needs. The amount is a decimal text in
// units of the currency, the date one of RFC 3339.
//
// username is required; page is 1 to 1,000,000 and 1 without it; page_size is 20
// without it, and more than 100 count as 100. Other parameters are ignored, and
// neither sent to the backend nor repeated in links. A query that cannot be read,
// or that says one of them twice (two readers could take different ones), is 400; a
// page behind the last one is 404. next and previous are URLs of the coordinator as
// the client sees it: X-Forwarded-Proto, -Host and -Prefix, of which the supervisor
// lets only the truth pass.
//
// # Backends
//
// An adapter, one file each, is all that knows a backend's shape: ORDERS_ADAPTER
// names it. See Adapters.
//
// An answer 200 that is not of the backend's shape (not JSON, a member missing or
// of another type, too large) fails as backend_protocol, for it is checked whole
// before anything is passed on: there is no half page. So do all statuses below 400
// but 200. Answers from 400 on are passed on as they are: who may see which orders
// is the backend's to say, and a 503 of it counts as one.
//
// # Credentials and fields
//
// The backend gets the caller's fields, Authorization, Cookie, X-Request-Id,
// traceparent and Accept-Language among them, and back go those of its answer, such
// as Cache-Control, Vary, Set-Cookie and Access-Control-Allow-Origin. Left out are
// those about the bytes of a representation, which here is another than the
// backend's: conditions, ranges, codings, validators, digests, and links to the
// backend. OPTIONS, which is how pages on other origins ask for permission, is
// passed on with all of its fields, and so is its answer.
package orders

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/ipc/target"
)

// Path is where clients ask for it, StripPrefix taken off. The slash at its end may
// be missing.
const Path = "/orders/order_history/"

// Settings is all that the worker is told.
type Settings struct {
	target.Settings
	// Adapter is the backend's shape, one of Adapters. Empty is "legacy".
	Adapter string
}

// An adapter stands between the contract and the shape of one backend.
type adapter interface {
	// ask is the path and query with which the backend is asked for q.
	ask(q query) (path, rawQuery string)
	// read understands the body of the backend's answer to q. The error is
	// errNoPage, or says what is wrong with the shape, without a value of the
	// answer: it is logged.
	read(q query, body []byte) (page, error)
}

// errNoPage is a page behind the last one.
var errNoPage = errors.New("no such page")

var adapters = map[string]adapter{"legacy": legacy{}, "vendor": vendor{}}

// Adapters are the names of the shapes of backends that it knows.
func Adapters() []string { return slices.Sorted(maps.Keys(adapters)) }

// New is the order history before a backend. Errors name every setting that is
// wrong. The handler is an io.Closer, which ends the connections to the backend.
func New(s Settings) (http.Handler, error) {
	t, err := target.New(s.Settings)
	if s.Adapter == "" {
		s.Adapter = "legacy"
	}
	a, known := adapters[s.Adapter]
	if !known {
		err = errors.Join(err, fmt.Errorf("ORDERS_ADAPTER %q: must be one of %s", s.Adapter, strings.Join(Adapters(), ", ")))
	}
	if err != nil {
		return nil, err
	}
	return &handler{backend: t, adapter: a}, nil
}

// FromEnv is New with the settings that a supervisor hands its workers: those of
// [target.FromEnv], ORDERS_ADAPTER, which operators write as
// BULKHEAD_X_ENV_ORDERS_ADAPTER, and WORKER_BULKHEAD for problem details.
func FromEnv(getenv func(string) string) (http.Handler, error) {
	s, unread := target.FromEnv(getenv)
	h, err := New(Settings{s, getenv("ORDERS_ADAPTER")})
	if err := errors.Join(unread, err); err != nil {
		return nil, err
	}
	h.(*handler).bulkhead = getenv("WORKER_BULKHEAD")
	return h, nil
}

type handler struct {
	backend  *target.Target
	adapter  adapter
	bulkhead string // for problem details; may be empty
}

// Close ends the connections to the backend.
func (h *handler) Close() error { return h.backend.Close() }

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if path := h.backend.Strip(r.URL.EscapedPath()); path != Path && path+"/" != Path {
		h.refuse(w, r, notThere)
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		h.serve(w, r)
	case http.MethodOptions:
		path, _ := h.adapter.ask(query{})
		h.passOn(w, h.exchange(w, r, http.MethodOptions, h.backend.At(path), r.Header.Clone()))
	default:
		h.refuse(w, r, notAllowed)
	}
}

// serve answers with a page, or with what the backend has against it.
func (h *handler) serve(w http.ResponseWriter, r *http.Request) {
	q, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		h.refuse(w, r, badQuery(err))
		return
	}
	path, rawQuery := h.adapter.ask(q)
	resp := h.exchange(w, r, http.MethodGet, h.backend.At(path)+"?"+rawQuery, question(r.Header))
	switch {
	case resp == nil:
		return
	case resp.StatusCode >= http.StatusBadRequest:
		h.passOn(w, resp)
		return
	}
	defer resp.Body.Close()
	p, err := h.page(q, resp)
	if errors.Is(err, errNoPage) {
		h.refuse(w, r, noPage)
		return
	}
	if err != nil {
		ipc.Fail(w, err)
		return
	}
	copyAnswer(w.Header(), resp.Header)
	p.write(w, clientURL(r), q)
}

// exchange asks the backend. It is nil after a failure, of which w was told.
func (h *handler) exchange(w http.ResponseWriter, r *http.Request, method, requestTarget string, fields http.Header) *http.Response {
	out := h.backend.Request(r.Context(), r, requestTarget)
	out.Method, out.Header = method, fields
	out.Body, out.ContentLength, out.Trailer = http.NoBody, 0, nil
	target.StripHopByHop(out.Header)
	resp, err := h.backend.RoundTrip(out)
	if err != nil {
		ipc.Fail(w, err)
		return nil
	}
	target.StripHopByHop(resp.Header)
	return resp
}

// maxAnswer bounds a backend's page, in bytes: a hundred orders with ten lines of
// 1 KiB each are one of these four.
const maxAnswer = 4 << 20

// page reads the backend's answer to q. The error is errNoPage or that of a failed
// exchange.
func (h *handler) page(q query, resp *http.Response) (page, error) {
	wrong := func(err error) error {
		return &exchange.Error{Fault: exchange.BackendProtocol, Stage: exchange.Answered, Err: err}
	}
	if resp.StatusCode != http.StatusOK {
		return page{}, wrong(fmt.Errorf("status %d for a page of orders", resp.StatusCode))
	}
	if coding := resp.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return page{}, wrong(errors.New("a page in a coding that was not asked for"))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return page{}, cut(err)
	}
	if len(body) > maxAnswer {
		return page{}, wrong(fmt.Errorf("a page of more than %d bytes", maxAnswer))
	}
	p, err := h.adapter.read(q, body)
	if err != nil && !errors.Is(err, errNoPage) {
		err = wrong(err)
	}
	return p, err
}

// cut is the error of a body that broke off.
func cut(err error) error {
	switch {
	case exchange.FaultOf(err) != "":
		return err
	case errors.Is(err, context.Canceled):
		return &exchange.Error{Fault: exchange.ClientGone, Stage: exchange.Answered, Err: err}
	}
	return &exchange.Error{Fault: exchange.BackendReset, Stage: exchange.Answered, Err: err}
}

// passOn hands over an answer of the backend as it is. resp may be nil.
func (h *handler) passOn(w http.ResponseWriter, resp *http.Response) {
	if resp == nil {
		return
	}
	defer resp.Body.Close()
	for name, values := range resp.Header {
		if !namesBackend[name] {
			w.Header()[name] = values
		}
	}
	if _, found := resp.Header["Content-Type"]; !found {
		w.Header()["Content-Type"] = nil // not to be guessed
	}
	w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(w, resp.Body); err != nil {
		ipc.Fail(w, cut(err))
	}
}

// clientURL is the URL of r without its query, as the client sees it.
func clientURL(r *http.Request) string {
	proto, host := "http", r.Host
	if v := r.Header["X-Forwarded-Proto"]; len(v) == 1 && (v[0] == "http" || v[0] == "https") {
		proto = v[0]
	}
	if v := r.Header["X-Forwarded-Host"]; len(v) == 1 && v[0] != "" {
		host = v[0]
	}
	prefix := ""
	if v := r.Header["X-Forwarded-Prefix"]; len(v) == 1 && strings.HasPrefix(v[0], "/") && !strings.HasPrefix(v[0], "//") {
		prefix = (&url.URL{Path: strings.TrimRight(v[0], "/")}).EscapedPath()
	}
	return proto + "://" + host + prefix + r.URL.EscapedPath()
}
