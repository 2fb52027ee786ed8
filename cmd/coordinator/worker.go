package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strconv"

	"commerce.example/coordinator/cmd/coordinator/internal/demo"
	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/workers/orders"
	"commerce.example/coordinator/workers/proxy"
)

// child runs this binary as one of its own child processes, and reports whether
// it was started as one: "worker KIND" by a supervisor, "demo-service KIND" by
// the demo. Neither is a command for people, and neither pays for the grammar.
func child(args []string) (exit int, ok bool) {
	if len(args) < 2 {
		return 0, false
	}
	switch args[0] {
	case "worker":
		return work(args[1]), true
	case demo.Subcommand:
		if err := demo.Child(context.Background(), demo.Kind(args[1]), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return exitFailed, true
		}
		return exitDone, true
	}
	return 0, false
}

// kinds are the built-in workers, by the name that BULKHEAD_X_WORKER has for them.
// Each handler is made of the worker's environment, calls its backend through
// ipc/backend alone, and is an io.Closer.
var kinds = map[string]func(getenv func(string) string) (http.Handler, error){
	"proxy":  proxy.FromEnv,
	"orders": orders.FromEnv,
}

// work is a worker of a built-in kind.
func work(kind string) int {
	fromEnv, ok := kinds[kind]
	if !ok {
		fmt.Fprintf(os.Stderr, "there is no built-in worker %q\n", kind)
		return exitUsage
	}
	h, err := fromEnv(os.Getenv)
	if err != nil {
		fmt.Fprintf(os.Stderr, "worker %s: %v\n", kind, err)
		return exitUsage
	}
	defer runtime.KeepAlive(headroom(workerHeadroom))
	ipc.Server{
		Handler: h, Version: version(), ReportsStage: true,
		Drain: func(context.Context) error { return h.(io.Closer).Close() },
	}.Serve()
	return exitDone
}

// builtIn implements supervisor.BuiltIn: the binary that runs, also after the
// file was replaced by another release.
func builtIn(kind, bulkhead string, slot int) (path string, args []string, ok bool) {
	if kinds[kind] == nil {
		return "", nil, false
	}
	path = "/proc/self/exe"
	if runtime.GOOS != "linux" {
		path, _ = os.Executable()
	}
	return path, []string{"coordinator", "worker", kind, "--bulkhead=" + bulkhead, "--slot=" + strconv.Itoa(slot)}, true
}
