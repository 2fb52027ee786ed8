package ipc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"commerce.example/coordinator/ipc/board"
	"commerce.example/coordinator/ipc/control"
	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/ipc/process"
	"commerce.example/coordinator/ipc/wire"
)

// Spec says which worker to start.
type Spec struct {
	Path string   // of the binary
	Args []string // argv, with the name first; empty: Path
	Env  []string // "KEY=value", all that the worker gets besides what the protocol needs
	Dir  string   // working directory; empty: the supervisor's

	// SocketDir is a private folder (mode 0700) for the worker's sockets, at
	// most MaxSocketDir bytes long. Launch leaves nothing in it when the worker
	// has ended.
	SocketDir string

	Conns        uint32        // exchanges at a time at most, upgrades included; 0: 256
	StartTimeout time.Duration // until the worker has proved itself ready; 0: 10 s

	Line func(process.Line) // gets what the worker prints; nil: nobody

	// Group and Memory hold the worker to its memory, as in process.Spec. Group
	// belongs to Launch, also when that fails.
	Group  process.Group
	Memory uint64
	// Descriptors is RLIMIT_NOFILE of the worker once it is ready, where one
	// process can set the limits of another; 0: as it is.
	Descriptors uint64
}

// maxVersion bounds what a worker says of itself: it becomes a metric's label.
const maxVersion = 64

// maxControl bounds a message of the control plane; go-plugin's limit is 2 GiB.
const maxControl = 4 << 20

// MaxSocketDir keeps the sockets' paths under 100 bytes, which fits every
// system's sun_path: a worker's folder and two names of go-plugin's come after.
const MaxSocketDir = 56

var launches atomic.Uint64

// Worker is a worker process that has proved itself ready, seen from its
// supervisor. Its methods are safe for concurrent use.
type Worker struct {
	proc    *process.Process
	plugin  *plugin.Client
	control control.ControlClient
	client  *client
	prober  *client // with a cell of its own: a probe must not wait for requests
	dir     string  // its sockets, and nothing else's
	version string
	done    chan struct{} // the process has ended and left nothing behind
	probing chan *conn    // holds the connection for probes, or nil
}

// Launch starts a worker and returns when it has answered on both planes. On an
// error nothing is left of it. ctx ends the attempt, not the worker.
func Launch(ctx context.Context, spec Spec) (*Worker, error) {
	owned := spec.Group != nil // until the process has it
	defer func() {
		if owned {
			_ = spec.Group.Close()
		}
	}()
	if len(spec.SocketDir) > MaxSocketDir {
		return nil, fmt.Errorf("worker sockets: the path %s is longer than %d bytes", spec.SocketDir, MaxSocketDir)
	}
	if spec.Conns == 0 {
		spec.Conns = 256
	}
	if spec.StartTimeout == 0 {
		spec.StartTimeout = 10 * time.Second
	}
	ctx, cancel := context.WithTimeoutCause(ctx, spec.StartTimeout,
		fmt.Errorf("the worker was not ready within %v", spec.StartTimeout))
	defer cancel()

	w := &Worker{
		dir:     filepath.Join(spec.SocketDir, fmt.Sprintf("w%d", launches.Add(1))),
		done:    make(chan struct{}),
		probing: make(chan *conn, 1),
	}
	w.probing <- nil
	if err := os.Mkdir(w.dir, 0o700); err != nil {
		return nil, fmt.Errorf("worker sockets: %w", err)
	}
	r, err := w.prepare(spec)
	if err != nil {
		os.RemoveAll(w.dir)
		return nil, err
	}
	err = w.start(ctx, r)
	owned = owned && !r.begun.Load()
	if err == nil && spec.Descriptors > 0 {
		if err = r.Process().LimitDescriptors(spec.Descriptors); errors.Is(err, errors.ErrUnsupported) {
			err = nil
		}
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		r.end()
		w.plugin.Kill()
		os.RemoveAll(w.dir)
		return nil, fmt.Errorf("start %s: %w", spec.Path, err)
	}
	w.proc = r.Process()
	go w.watch()
	return w, nil
}

// prepare makes the listener, the board and the client of go-plugin.
func (w *Worker) prepare(spec Spec) (*launcher, error) {
	socket := filepath.Join(w.dir, "data")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("data socket: %w", err)
	}
	ln.SetUnlinkOnClose(false)
	listener, err := ln.File()
	// From here on only the descriptor for the child is open, and it is closed
	// after the fork: with a copy of ours, dials to a dead worker would hang.
	ln.Close()
	if err != nil {
		return nil, fmt.Errorf("data socket: %w", err)
	}
	b, shared, err := board.Create(spec.Conns + 1)
	if err != nil {
		listener.Close()
		return nil, err
	}
	w.client, w.prober = newClient(socket, b, 0, spec.Conns), newClient(socket, b, spec.Conns, 1)
	r := &launcher{files: []*os.File{listener, shared}, connected: make(chan struct{})}
	w.plugin = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  handshake,
		Plugins:          plugin.PluginSet{controlName: &controlPlugin{}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		SkipHostEnv:      true,
		StartTimeout:     spec.StartTimeout + time.Second, // ctx ends first, and says what was waited for
		Logger:           hclog.NewNullLogger(),
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: w.dir},
		// go-plugin connects without a deadline; gRPC's own is 20 s.
		GRPCDialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.DefaultConfig, MinConnectTimeout: spec.StartTimeout,
		}), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxControl))},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, _ string) (runner.Runner, error) {
			r.Runner = process.NewRunner(process.Spec{
				Path: spec.Path, Args: spec.Args, Dir: spec.Dir,
				Env:        append(append([]string{}, spec.Env...), cmd.Env...),
				ExtraFiles: r.files, Lifeline: lifelineFD,
				Line: spec.Line, Group: spec.Group, Memory: spec.Memory,
			})
			return r, nil
		},
	})
	return r, nil
}

// start runs the handshakes of both planes.
func (w *Worker) start(ctx context.Context, r *launcher) error {
	// go-plugin's Start takes no context: ending the process ends it.
	stop := context.AfterFunc(ctx, r.kill)
	defer stop()
	protocol, err := w.plugin.Client()
	close(r.connected)
	r.close()
	if err != nil {
		return err
	}
	raw, err := protocol.Dispense(controlName)
	if err != nil {
		return err
	}
	w.control = raw.(control.ControlClient)
	hello, err := w.control.Hello(ctx, &control.HelloRequest{DataProtocol: wire.Version})
	if err != nil {
		return err
	}
	w.version = hello.Version[:min(len(hello.Version), maxVersion)]
	return w.Probe(ctx)
}

// launcher is the process runner that go-plugin drives, and the way to end the
// attempt from outside.
type launcher struct {
	*process.Runner
	files     []*os.File
	connected chan struct{} // closed when go-plugin has its connection, or gave up
	begun     atomic.Bool
	up        atomic.Pointer[process.Process]
	killed    atomic.Bool
}

// Wait tells go-plugin of the end of the process, once it has connected:
// told in between, it forgets to close the connection that it was making.
func (l *launcher) Wait(ctx context.Context) error {
	select {
	case <-l.connected:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return l.Runner.Wait(ctx)
}

func (l *launcher) Start(ctx context.Context) error {
	l.begun.Store(true)
	err := l.Runner.Start(ctx)
	l.close()
	if err == nil {
		l.up.Store(l.Process())
		if l.killed.Load() {
			l.kill()
		}
	}
	return err
}

// Kill is what go-plugin does 2 s after it has asked a worker to end. Once it is
// connected, how long that may take is for Stop to say.
func (l *launcher) Kill(ctx context.Context) error {
	select {
	case <-l.connected:
		return nil
	default:
		return l.Runner.Kill(ctx)
	}
}

func (l *launcher) kill() {
	l.killed.Store(true)
	if p := l.up.Load(); p != nil {
		_ = p.KillGroup()
	}
}

// end kills the process, if there is one, and waits until nothing is left of it.
func (l *launcher) end() {
	l.kill()
	if p := l.up.Load(); p != nil {
		<-p.Drained()
	}
}

// close closes the supervisor's copies of what the child was born with.
func (l *launcher) close() {
	for _, f := range l.files {
		f.Close()
	}
	l.files = nil
}

// watch tidies up when the process has ended, however it did.
func (w *Worker) watch() {
	<-w.proc.Done()
	w.fail(&exchange.Error{Fault: exchange.WorkerDied, Err: w.proc.Err()})
	w.plugin.Kill() // the process is gone: this only frees what go-plugin holds
	<-w.proc.Drained()
	os.RemoveAll(w.dir)
	close(w.done)
}

// Pid of the worker's process. It may be a stranger's after Done.
func (w *Worker) Pid() int { return w.proc.Pid() }

// Version is what the worker says of itself.
func (w *Worker) Version() string { return w.version }

// Exited is closed when the process has ended. Its exchanges fail from then on.
func (w *Worker) Exited() <-chan struct{} { return w.proc.Done() }

// Done is closed after Exited, when nothing of the worker is left: as soon as
// process.Process.Drained says.
func (w *Worker) Done() <-chan struct{} { return w.done }

// ExitError says how the process ended: nil for status 0, or while it runs.
func (w *Worker) ExitError() error { return w.proc.Err() }

// OutOfMemory reports whether the process was killed for its memory.
func (w *Worker) OutOfMemory() bool { return w.proc.State().OutOfMemory }

// Fail ends all exchanges with the fault, and refuses new ones. The process is
// left alone.
func (w *Worker) Fail(fault exchange.Fault) {
	w.fail(&exchange.Error{Fault: fault, Err: errors.New("given up by the supervisor")})
}

func (w *Worker) fail(cause *exchange.Error) {
	w.client.close(cause)
	w.prober.close(cause)
}

// Trim closes data connections that have been idle for 30 s.
func (w *Worker) Trim(now time.Time) { w.client.trim(now) }

// Probe asks the worker's loop on the data plane whether it is alive. It passes
// no queue and calls no handler. One probe runs at a time.
func (w *Worker) Probe(ctx context.Context) error {
	var c *conn
	select {
	case c = <-w.probing:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	err := error(nil)
	if c == nil {
		if c, err = w.prober.take(ctx); err != nil {
			w.probing <- nil
			return err
		}
	}
	if err = c.probe(ctx); err != nil {
		w.prober.drop(c)
		c = nil
	}
	w.probing <- c
	return err
}

func (c *conn) probe(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { c.nc.SetDeadline(time.Unix(1, 0)) })
	c.out = wire.AppendEmpty(c.out, wire.Probe)
	_, err := c.nc.Write(c.out)
	c.out = c.out[:0]
	if err == nil {
		var t wire.Type
		if t, _, err = c.in.frame(); err == nil && t != wire.Alive {
			err = wire.Violation("frame %d in answer to a probe", t)
		}
	}
	if !stop() { // the connection has its deadline, or is about to get it
		return context.Cause(ctx)
	}
	return err
}

// Stats are figures that only the worker's process knows.
type Stats struct {
	Goroutines, InFlight        int
	HeapBytes, Requests, Panics uint64
}

// Stats asks the worker for them.
func (w *Worker) Stats(ctx context.Context) (Stats, error) {
	s, err := w.control.Stats(ctx, &control.StatsRequest{})
	if err != nil {
		return Stats{}, err
	}
	return Stats{
		Goroutines: int(s.Goroutines), InFlight: int(s.InFlight),
		HeapBytes: s.HeapBytes, Requests: s.Requests, Panics: s.Panics,
	}, nil
}

// Dump returns the stacks of the worker's goroutines, cut at limit bytes.
func (w *Worker) Dump(ctx context.Context, limit int) ([]byte, error) {
	d, err := w.control.Dump(ctx, &control.DumpRequest{MaxBytes: uint64(limit)})
	if err != nil {
		return nil, err
	}
	return d.Stacks, nil
}

// Kill ends the process and its group at once and waits for Done.
func (w *Worker) Kill() {
	_ = w.proc.KillGroup()
	<-w.done
}

// Stop asks the worker to end: its own Drain, then the end of its process. When
// ctx ends first it is killed and the error is a *StuckError. It waits for Done.
// The caller has drained its exchanges before.
func (w *Worker) Stop(ctx context.Context) error {
	_, err := w.control.Drain(ctx, &control.DrainRequest{})
	if ctx.Err() != nil || status.Code(err) == codes.DeadlineExceeded { // gRPC may see the end first
		stuck := w.stuck()
		w.Kill()
		return stuck
	}
	// Kill is go-plugin's word for asking, see launcher.Kill. It waits for the end of
	// the process, so it runs aside.
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		w.plugin.Kill()
	}()
	select {
	case <-w.proc.Done():
	case <-ctx.Done():
		err = w.stuck()
		_ = w.proc.KillGroup()
	}
	<-asked
	<-w.done
	if err != nil {
		return fmt.Errorf("stop worker: %w", err)
	}
	return nil
}

func (w *Worker) stuck() *StuckError {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	stacks, _ := w.Dump(ctx, 1<<20)
	return &StuckError{Stacks: stacks}
}

// StuckError is a worker that did not end when asked and was killed.
type StuckError struct {
	Stacks []byte // of its goroutines; empty when it answered no more: stopped, or past its Serve
}

func (e *StuckError) Error() string { return "the worker did not stop in time and was killed" }
