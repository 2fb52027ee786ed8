package ipc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"commerce.example/coordinator/ipc/board"
	"commerce.example/coordinator/ipc/control"
	"commerce.example/coordinator/ipc/process"
	"commerce.example/coordinator/ipc/wire"
)

// Server is what a worker process serves. Only Handler is needed.
type Server struct {
	// Handler answers the bulkhead's requests. It is called as net/http calls
	// it: concurrently, one goroutine a request. The request's context ends when
	// the client leaves or the deadline passes.
	Handler http.Handler

	// Version is shown by status and in coordinator_bulkhead_info.
	Version string

	// ReportsStage promises that the handler reaches its backend only through
	// transports that tell the exchange.Reporter before they send, as
	// ipc/backend does. Then a failed request is known as never_sent when it is.
	// False: a request counts as sent from the handler's call on.
	ReportsStage bool

	// Drain, when set, runs once before the process ends, after its last
	// request. ctx has the supervisor's deadline.
	Drain func(ctx context.Context) error
}

// Serve makes this process a worker that answers with h, and returns when its
// supervisor stops it; main should return then. A process that no supervisor
// started is told so on standard error and exits with status 1.
func Serve(h http.Handler) { Server{Handler: h}.Serve() }

// Serve is Serve with all that a Server can say of itself.
func (sv Server) Serve() {
	if os.Getenv(cookieKey) != cookieValue {
		fmt.Fprintln(os.Stderr, "This program is a worker: the coordinator starts it. Name it in BULKHEAD_X_WORKER=PATH.")
		os.Exit(1)
	}
	process.IgnoreSignals()
	go func() {
		<-process.Lifeline(lifelineFD)
		os.Exit(1) // the supervisor is gone, and with it everyone who waits for an answer
	}()
	p, err := newPlane(sv)
	if err != nil {
		fmt.Fprintln(os.Stderr, "worker cannot start:", err)
		os.Exit(1)
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: handshake,
		Plugins:         plugin.PluginSet{controlName: &controlPlugin{plane: p}},
		GRPCServer:      plugin.DefaultGRPCServer,
		Logger:          hclog.NewNullLogger(),
	})
	p.close()
}

// plane is the data plane of a worker process.
type plane struct {
	control.UnimplementedControlServer
	opts    Server
	ln      *net.UnixListener
	board   *board.Board
	sweeper *sweeper

	stdout, stderr *os.File // as they were before go-plugin replaced them
	start          sync.Once
	stop           chan struct{}
	running        sync.WaitGroup

	mu       sync.Mutex
	sessions map[*session]struct{}
	closed   bool

	requests atomic.Uint64
	panics   atomic.Uint64
	drills   drills
}

func newPlane(sv Server) (*plane, error) {
	file := os.NewFile(listenerFD, "data listener")
	ln, err := net.FileListener(file)
	file.Close()
	if err != nil {
		return nil, fmt.Errorf("data listener: %w", err)
	}
	unixLn, ok := ln.(*net.UnixListener)
	if !ok {
		return nil, fmt.Errorf("data listener: is a %T", ln)
	}
	shared := os.NewFile(boardFD, "stage board")
	b, err := board.Open(shared)
	shared.Close()
	if err != nil {
		return nil, err
	}
	return &plane{
		opts: sv, ln: unixLn, board: b, sweeper: newSweeper(),
		stdout: os.Stdout, stderr: os.Stderr,
		stop: make(chan struct{}), sessions: make(map[*session]struct{}),
	}, nil
}

// acceptRetry is how long a worker without a free descriptor waits for one.
const acceptRetry = 100 * time.Millisecond

func (p *plane) logf(format string, args ...any) {
	fmt.Fprintf(p.stderr, format+"\n", args...)
}

// accept gives each data connection its session until the listener closes.
func (p *plane) accept() {
	for {
		nc, err := p.ln.AcceptUnix()
		if err != nil {
			select {
			case <-p.stop:
				return
			default:
			}
			p.logf("accept on the data listener: %v", err)
			if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) {
				os.Exit(1) // without it nothing reaches this worker again
			}
			select { // a leak ends a worker, and this is not how
			case <-p.stop:
				return
			case <-time.After(acceptRetry):
			}
			continue
		}
		s, err := newSession(p, nc)
		if err != nil || !p.add(s) {
			nc.Close()
			continue
		}
		go func() {
			hijacked := false
			defer func() { p.remove(s, hijacked) }() // a handler may call runtime.Goexit
			hijacked = s.serve()
		}()
	}
}

func (p *plane) remove(s *session, hijacked bool) {
	if !hijacked {
		s.nc.Close()
	}
	p.mu.Lock()
	delete(p.sessions, s)
	p.mu.Unlock()
	p.running.Done()
}

func (p *plane) add(s *session) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.sessions[s] = struct{}{}
	p.running.Add(1)
	return true
}

// close ends the data plane. Handlers that are still running are cancelled; the
// process is about to end, and waits for nobody.
func (p *plane) close() {
	close(p.stop)
	p.ln.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for s := range p.sessions {
		s.nc.Close()
	}
}

// Hello implements control.ControlServer. The data plane opens with it.
func (p *plane) Hello(_ context.Context, in *control.HelloRequest) (*control.HelloReply, error) {
	if in.DataProtocol != wire.Version {
		return nil, status.Errorf(codes.FailedPrecondition,
			"the worker speaks data protocol %d, the supervisor %d: build both from the same release", wire.Version, in.DataProtocol)
	}
	p.start.Do(func() {
		// go-plugin sends what a handler prints through its own stream, which
		// the supervisor would have to trust. The descriptors are drained anyway.
		os.Stdout, os.Stderr = p.stdout, p.stderr
		p.running.Go(func() { p.sweeper.run(p.stop) })
		p.running.Go(p.accept)
	})
	return &control.HelloReply{DataProtocol: wire.Version, Version: p.opts.Version}, nil
}

// Stats implements control.ControlServer.
func (p *plane) Stats(context.Context, *control.StatsRequest) (*control.StatsReply, error) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	p.sweeper.mu.Lock()
	inFlight := len(p.sweeper.active)
	p.sweeper.mu.Unlock()
	return &control.StatsReply{
		Goroutines: uint64(runtime.NumGoroutine()),
		HeapBytes:  m.HeapAlloc,
		Requests:   p.requests.Load(),
		InFlight:   uint64(inFlight),
		Panics:     p.panics.Load(),
	}, nil
}

// Drain implements control.ControlServer.
func (p *plane) Drain(ctx context.Context, _ *control.DrainRequest) (*control.DrainReply, error) {
	if p.opts.Drain != nil {
		if err := p.opts.Drain(ctx); err != nil {
			return nil, err
		}
	}
	return &control.DrainReply{}, nil
}

// Dump implements control.ControlServer.
func (p *plane) Dump(_ context.Context, in *control.DumpRequest) (*control.DumpReply, error) {
	buf := make([]byte, min(max(in.MaxBytes, 4<<10), 3<<20)) // a gRPC message is at most 4 MiB
	return &control.DumpReply{Stacks: buf[:runtime.Stack(buf, true)]}, nil
}

// controlPlugin is the control service as go-plugin wants it: plane is set in
// the worker, and nil in the supervisor.
type controlPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	plane *plane
}

func (p *controlPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	control.RegisterControlServer(s, p.plane)
	return nil
}

func (p *controlPlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return control.NewControlClient(c), nil
}
