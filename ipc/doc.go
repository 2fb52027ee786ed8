// Package ipc is everything that crosses the wall between the supervisor and
// its worker processes, and the SDK with which a worker is written.
//
// # A worker in ten lines
//
//	package main
//
//	import (
//		"fmt"
//		"net/http"
//
//		"commerce.example/coordinator/ipc"
//	)
//
//	func main() {
//		ipc.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
//			fmt.Fprintf(w, "hello %s\n", r.URL.Path)
//		}))
//	}
//
// Build it, name it in BULKHEAD_X_WORKER. The handler sees what a handler of
// net/http sees: streaming, trailers, informational answers, Expect, full
// duplex, http.Hijacker for upgrades, a context that ends when the client
// leaves or the deadline passes. A handler that calls a backend should do so
// with the transport of ipc/backend and set Server.ReportsStage: then the
// supervisor knows, even when the worker is dead, whether the backend saw the
// request. A handler that cannot answer calls Fail.
//
// # Two planes
//
// The control plane is go-plugin over gRPC (this package is its only home):
// start, handshake, figures, stacks, stop. It carries no request: a gRPC call
// for each would cost more than twice the CPU of what follows.
//
// The data plane is connections on a unix socket whose listener the worker
// inherits. A connection carries one exchange at a time, and the supervisor
// keeps a pool of them. That gives for nothing what a multiplexed protocol must
// build: backpressure is the socket's, cancelling is closing, a dead worker is
// an end of file on exactly the requests it held, and an upgrade is the raw
// connection.
//
// # The data protocol, version 1
//
// A frame is a type (1 byte), the length of its payload (3 bytes, big endian)
// and the payload. Package wire has types, bounds and encodings.
//
//	supervisor                     worker
//	Hello                      →             once, first: version, board cell
//	Request                    →             method, target, fields, time left
//	Data* End                  ⇄  Inform*    the body, with trailers; 1xx
//	                           ←  Continue   the handler wants the body (Expect)
//	                           ←  Response   status, fields, length
//	                           ←  Data* End  the body, with trailers
//	                           ←  Fail       in place of any of these: fault
//	                           ←  Hijack     raw bytes from here on, both ways
//	Probe                      →
//	                           ←  Alive
//
// The bodies run independently: an answer may begin, and end, during the
// upload. The exchange is over with the worker's End (or a Response without
// body, or Fail). The supervisor then either lets the rest of the upload end or
// closes the connection; the worker never closes an idle one, so the race of
// HTTP keep-alive does not exist here. A frame out of place, too long or
// malformed ends the connection.
//
// # How far did it get
//
// The stage board (package board) is memory shared by supervisor and worker, a
// cell for each connection. The worker raises the stage of its exchange before
// it acts, and the supervisor fences the cell when it gives an exchange up. So
// "never sent" is a fact also for a worker that died, hangs or was merely slow.
//
// # Time
//
// No exchange has a timer of its own, at either end. The supervisor's deadline
// travels in the head and is kept by the caller of Worker.Do, with Call.Cancel.
// In the worker one sweeper polls the connections in flight every 20 ms for
// those that the supervisor has closed.
//
// # Who owns what
//
// Launch owns a worker until its process has ended and nothing of it is left:
// sockets, descriptors, goroutines, go-plugin's client. A Call belongs to the
// goroutine that called Do; the upload is the one other goroutine, and Close of
// the answer's body waits for it.
package ipc
