package supervisor

import (
	"net/http"
	"strings"

	"commerce.example/coordinator/supervisor/framing"
)

// cleanTrailer takes out of the trailers of a request what would mislead a
// backend that merges them into the head: what belongs into the head alone (over
// HTTP/1 such a request was refused), what tells the way of the request, and names
// with an underscore, of which the head was cleaned before.
func cleanTrailer(trailer http.Header) {
	for name := range trailer {
		if framing.HeadOnly([]byte(name)) || strings.HasPrefix(name, "X-Forwarded-") || strings.HasPrefix(name, "If-") || strings.IndexByte(name, '_') >= 0 {
			delete(trailer, name)
		}
	}
}
