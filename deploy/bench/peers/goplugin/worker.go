package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

const method = "/bench.Exchange/Do"

// exchange is the plugin: at the client a connection, at the server a backend.
type exchange struct {
	plugin.NetRPCUnsupportedPlugin
	backend   string
	transport *http.Transport
}

// GRPCClient is called by go-plugin at the front.
func (e *exchange) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return c, nil
}

// GRPCServer is called by go-plugin in the worker.
func (e *exchange) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "bench.Exchange",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Do", Handler: handle}},
	}, e)
	return nil
}

func handle(service any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	call := new(message)
	if err := decode(call); err != nil {
		return nil, err
	}
	return service.(*exchange).do(ctx, call)
}

func (e *exchange) do(ctx context.Context, call *message) (*message, error) {
	var body io.Reader
	if len(call.Body) > 0 {
		body = bytes.NewReader(call.Body)
	}
	r, err := http.NewRequestWithContext(ctx, call.Start, e.backend+call.Target, body)
	if err != nil {
		return nil, err
	}
	r.Header = call.Header
	response, err := e.transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer := &message{Status: response.StatusCode, Header: response.Header}
	if n := response.ContentLength; n >= 0 && n <= maxBody {
		answer.Body = make([]byte, n)
		_, err = io.ReadFull(response.Body, answer.Body)
	} else {
		answer.Body, err = io.ReadAll(io.LimitReader(response.Body, maxBody))
	}
	endToEnd(answer.Header)
	return answer, err
}

func work(backend string) {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: handshake,
		Plugins: plugin.PluginSet{"exchange": &exchange{backend: backend, transport: &http.Transport{
			MaxIdleConnsPerHost: 4096,
			IdleConnTimeout:     10 * time.Minute,
			DisableCompression:  true,
		}}},
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server {
			return plugin.DefaultGRPCServer(append(options, grpc.MaxRecvMsgSize(2*maxBody), grpc.MaxSendMsgSize(2*maxBody)))
		},
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Warn}),
	})
}
