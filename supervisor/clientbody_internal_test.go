package supervisor

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The body is read beside the handler that answers, so its end must leave the
// answer alone: two that write its header at once end the process.
func TestABodyOverItsLimitLeavesTheAnswerAlone(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		set := new(settings)
		set.MaxBody = 10
		c := &call{w: w, r: r, set: set}
		c.takeBody()
		n, err := io.Copy(io.Discard, c.body)
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); n != 10 || !tooLarge {
			t.Errorf("%d bytes, then %v", n, err)
		}
		if len(w.Header()) > 0 {
			t.Errorf("reading the body wrote %v", w.Header())
		}
	}))
	defer srv.Close()
	resp, err := http.Post(srv.URL, "text/plain", struct{ io.Reader }{strings.NewReader("eleven bytes")})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}
