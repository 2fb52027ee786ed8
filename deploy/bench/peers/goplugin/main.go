// Command goplugin is what the coordinator would be without a data plane of its
// own: a front that gives each request to a worker process as one unary gRPC call
// over go-plugin, and a worker that calls the backend. Bodies are held in memory
// at both ends, as unary calls have it, so it cannot stream.
//
//	goplugin ADDRESS BACKEND
package main

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
)

// A message may have a body of this size.
const maxBody = 64 << 20

var handshake = plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "COORDINATOR_BENCH", MagicCookieValue: "goplugin"}

func main() {
	encoding.RegisterCodec(codec{}) // both processes: each call names it
	switch {
	case len(os.Args) == 3 && os.Args[1] == "worker":
		work(os.Args[2])
	case len(os.Args) == 3:
		if err := front(os.Args[1], os.Args[2]); err != nil {
			log.Fatal(err)
		}
	default:
		log.Fatal("usage: goplugin ADDRESS BACKEND")
	}
}

// front serves until a signal comes, and ends its worker.
func front(address, backend string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  handshake,
		Plugins:          plugin.PluginSet{"exchange": &exchange{}},
		Cmd:              exec.Command(exe, "worker", backend),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		GRPCDialOptions:  []grpc.DialOption{grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(2*maxBody), grpc.MaxCallSendMsgSize(2*maxBody))},
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Warn}),
	})
	defer client.Kill()
	protocol, err := client.Client()
	if err != nil {
		return err
	}
	stub, err := protocol.Dispense("exchange")
	if err != nil {
		return err
	}
	ctx, restore := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer restore()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: &forwarder{stub.(*grpc.ClientConn)}}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(listener); ctx.Err() == nil {
		return err
	}
	return nil
}

// forwarder makes a call of each request.
type forwarder struct{ worker *grpc.ClientConn }

func (f *forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	endToEnd(r.Header)
	var answer message
	call := &message{Start: r.Method, Target: r.URL.RequestURI(), Header: r.Header, Body: body}
	if err := f.worker.Invoke(r.Context(), method, call, &answer, grpc.CallContentSubtype(codecName)); err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	h := w.Header()
	for name, values := range answer.Header {
		h[name] = values
	}
	w.WriteHeader(answer.Status)
	w.Write(answer.Body)
}

// endToEnd takes out what is between two neighbours only (RFC 9110 section 7.6.1);
// the benchmark's own requests name no others in Connection.
func endToEnd(h http.Header) {
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"} {
		h.Del(name)
	}
}
