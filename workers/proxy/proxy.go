package proxy

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"

	"commerce.example/coordinator/ipc/backend"
	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/ipc/target"
)

// failer is a ResponseWriter that takes the error of an exchange. After the head
// Fail aborts the answer and does not return.
type failer interface{ Fail(err error) }

// relayer is a ResponseWriter whose ReadFrom keeps the flush rule of relay. That
// of net/http does not, so being an io.ReaderFrom alone proves nothing.
type relayer interface {
	failer
	io.ReaderFrom
}

type handler struct{ backend *target.Target }

// Close ends the connections to the backend.
func (h *handler) Close() error { return h.backend.Close() }

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	if r.ContentLength != 0 {
		// The backend may have its last word while the client still talks. Not
		// every server has to be asked for that.
		_ = control.EnableFullDuplex()
	}
	resp, err := h.backend.RoundTrip(h.outgoing(w, r))
	if err != nil {
		fail(w, err)
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		switchProtocols(control, w, resp)
		return
	}
	copyFields(w.Header(), resp.Header)
	announce(w.Header(), resp.Trailer)
	announced := len(resp.Trailer)
	if resp.ContentLength < 0 {
		// A body of unknown length stays one, also where the server could count it.
		w.Header()["Transfer-Encoding"] = []string{"chunked"}
	}
	w.WriteHeader(resp.StatusCode)
	if err := relay(control, w, resp.Body); err != nil {
		abort(w, err)
	}
	copyTrailers(w.Header(), resp.Trailer, announced)
}

// outgoing is r as the backend gets it.
func (h *handler) outgoing(w http.ResponseWriter, r *http.Request) *http.Request {
	ctx := r.Context()
	if _, told := exchange.From(ctx).(backend.Informer); !told {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			Got1xxResponse: func(code int, fields textproto.MIMEHeader) error {
				inform(w, code, http.Header(fields))
				return nil
			},
		})
	}
	out := h.backend.Request(ctx, r, h.target(r))
	out.Header = endToEnd(r.Header)
	switch {
	case r.ContentLength == 0:
		out.Body = http.NoBody
	case r.ContentLength < 0 && r.Trailer == nil:
		// A server adds trailers nobody announced to the map it finds here.
		r.Trailer = make(http.Header)
		out.Trailer = r.Trailer
	}
	return out
}

// target is the request-target for the backend, its bytes as they came.
func (h *handler) target(r *http.Request) string {
	target := r.RequestURI
	if target == "" {
		target = r.URL.RequestURI() // made by hand, not received
	}
	if target == "*" {
		return target // OPTIONS for the server itself, RFC 9110 section 9.3.7
	}
	if !strings.HasPrefix(target, "/") { // absolute form, RFC 9112 section 3.2.2
		_, rest, _ := strings.Cut(target, "://")
		target = "/"
		if i := strings.IndexAny(rest, "/?"); i >= 0 {
			target = rest[i:]
		}
	}
	path, query, asked := strings.Cut(target, "?")
	path = h.backend.At(h.backend.Strip(path))
	if asked {
		return path + "?" + query
	}
	return path
}

var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// relay passes the body on. It flushes when the next Read would wait.
func relay(control *http.ResponseController, w http.ResponseWriter, body io.Reader) error {
	if body == http.NoBody {
		return nil
	}
	if rf, ok := w.(relayer); ok {
		_, err := rf.ReadFrom(body)
		return err
	}
	waits := func() bool { return true }
	if b, ok := body.(interface{ Buffered() int }); ok {
		waits = func() bool { return b.Buffered() == 0 }
	}
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	for {
		if waits() {
			if err := control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
				return err
			}
		}
		n, err := body.Read(buf[:])
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// inform passes an informational answer on. Its fields are not those of the final
// one.
func inform(w http.ResponseWriter, code int, fields http.Header) {
	h := w.Header()
	target.StripHopByHop(fields)
	for name, values := range fields {
		h[name] = values
	}
	w.WriteHeader(code)
	for name := range fields {
		delete(h, name)
	}
}

// fail answers for an exchange that gave no answer.
func fail(w http.ResponseWriter, err error) {
	if f, ok := w.(failer); ok {
		f.Fail(err)
		return
	}
	code := http.StatusBadGateway
	switch exchange.FaultOf(err) {
	case exchange.BackendTimeout, exchange.Deadline:
		code = http.StatusGatewayTimeout
	case exchange.BadRequest:
		code = http.StatusBadRequest
	case exchange.ClientTimeout:
		code = http.StatusRequestTimeout
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		code = http.StatusRequestEntityTooLarge
	}
	http.Error(w, http.StatusText(code), code)
}

// abort ends an answer whose head is out. It does not return.
func abort(w http.ResponseWriter, err error) {
	if f, ok := w.(failer); ok {
		f.Fail(err)
	}
	panic(http.ErrAbortHandler)
}
