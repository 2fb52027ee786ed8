package supervisor

import (
	"net/http"
	"strings"
)

// cleanTrailer takes out of the trailers of a request what would mislead a
// backend that merges them into the head. A field that frames, routes,
// authenticates, conditions or describes its message has no place there (RFC
// 9110 section 6.5.1). Nor has one that tells the way of the request, or a name
// with an underscore: of the head they were cleaned before.
func cleanTrailer(trailer http.Header) {
	for name := range trailer {
		if notInTrailer[name] || strings.HasPrefix(name, "X-Forwarded-") || strings.HasPrefix(name, "If-") || strings.IndexByte(name, '_') >= 0 {
			delete(trailer, name)
		}
	}
}

var notInTrailer = map[string]bool{
	"Content-Length": true, "Transfer-Encoding": true, "Trailer": true, "Te": true,
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Upgrade": true, "Http2-Settings": true,
	"Host": true, "Max-Forwards": true, "Expect": true, "Range": true, "Cache-Control": true, "Pragma": true,
	"Authorization": true, "Proxy-Authorization": true, "Cookie": true, "Idempotency-Key": true,
	"Content-Type": true, "Content-Encoding": true, "Content-Range": true,
	"Forwarded": true, "X-Real-Ip": true, "X-Request-Id": true,
}
