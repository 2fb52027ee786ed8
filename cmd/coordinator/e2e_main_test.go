package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mccutchen/go-httpbin/v2/httpbin"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/ipc/exchange"
)

// TestMain makes the test binary the coordinator, so that the acceptance tests
// run real processes and the race detector looks at all of them. Called as a
// worker binary is called, it is one whose handler is the name of its file.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || strings.HasPrefix(os.Args[1], "-test.") {
		_ = os.Setenv("GORACE", "atexit_sleep_ms=0") // for the children: it would prolong every exit by 1 s
		os.Exit(m.Run())
	}
	switch {
	case os.Args[1] == "e2e-httpbin":
		serveHTTPBin()
	case os.Args[1] == "e2e-top-panics":
		topPanics()
	case strings.HasPrefix(os.Args[1], "--bulkhead="):
		prepareActor()
		ipc.Server{Handler: actors[filepath.Base(os.Args[0])], ReportsStage: true, Version: "e2e"}.Serve()
	default:
		holdHandover()
		main()
	}
	os.Exit(0)
}

// actors are the handlers of worker binaries that misbehave on command. They
// report the stage themselves, as ipc/backend does.
var actors = map[string]http.HandlerFunc{
	// stuck never answers and never reaches a backend.
	"stuck": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	// mortal dies before or after it "sent" what it was asked.
	"mortal": func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/mortal/unsent":
			os.Exit(3)
		case "/mortal/sent":
			exchange.From(r.Context()).Sent()
			os.Exit(3)
		}
		fmt.Fprintln(w, os.Getpid())
	},
	"faulty": faulty,
	// environment shows what it was given.
	"environment": func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(os.Environ()) },
}

// serveHTTPBin is a process of its own; it ends with its standard input.
func serveHTTPBin() {
	const most = 1 << 30
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(ln.Addr())
	srv := &http.Server{Handler: httpbin.New(httpbin.WithMaxBodySize(most), httpbin.WithMaxDuration(time.Minute)).Handler()}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = srv.Shutdown(context.Background())
		os.Exit(0)
	}()
	_ = srv.Serve(ln)
	select {}
}
