// Command reverseproxy is the least that a proxy in Go is: httputil.ReverseProxy
// with its buffers and its idle connections kept, and nothing else.
//
//	reverseproxy ADDRESS BACKEND
package main

import (
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: reverseproxy ADDRESS BACKEND")
	}
	backend, err := url.Parse(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.Serve(listener, &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(backend)
			r.SetXForwarded()
		},
		// The standard transport keeps two idle connections and would dial for
		// nearly every request.
		Transport: &http.Transport{
			MaxIdleConnsPerHost: 4096,
			IdleConnTimeout:     10 * time.Minute,
			DisableCompression:  true,
		},
		BufferPool: new(buffers),
	}))
}

// buffers are those of the copies, as large as ReverseProxy makes its own.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if kept, ok := b.pool.Get().(*[]byte); ok {
		return *kept
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(buffer []byte) { b.pool.Put(&buffer) }
