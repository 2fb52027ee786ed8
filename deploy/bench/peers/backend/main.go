// Command backend is what the systems of a benchmark stand in front of where no
// nginx is there to do it, and always for bodies too large for a file: GET /N
// answers with N bytes, and POST reads its body and answers with its length.
//
//	backend ADDRESS
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
)

const block = 256 << 10

var (
	zeros   = make([]byte, block)
	buffers = sync.Pool{New: func() any { return new([block]byte) }}
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: backend ADDRESS")
	}
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	// No time-outs: its clients are the benchmark's, and their requests are long.
	log.Fatal(http.Serve(listener, http.HandlerFunc(answer)))
}

func answer(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		b := buffers.Get().(*[block]byte)
		defer buffers.Put(b)
		// Hidden, or the copy would go in pieces of 8 KiB.
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r.Body, b[:])
		if err == nil {
			fmt.Fprint(w, n)
		}
		return
	}
	n, err := strconv.ParseInt(r.URL.Path[1:], 10, 64)
	if err != nil || n < 0 {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.FormatInt(n, 10))
	for n > 0 && err == nil {
		var wrote int
		wrote, err = w.Write(zeros[:min(n, block)])
		n -= int64(wrote)
	}
}
