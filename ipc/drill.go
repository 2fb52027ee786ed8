package ipc

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"commerce.example/coordinator/ipc/control"
	"commerce.example/coordinator/ipc/exchange"
)

// DrillMode is a fault that a worker can play on purpose.
type DrillMode string

const (
	DrillBackendDown DrillMode = "backend-down" // the backend seems to refuse connections
	DrillBackendSlow DrillMode = "backend-slow" // it seems to take long before it gets a request
	DrillGarbage     DrillMode = "garbage"      // it seems to answer what is not HTTP
	DrillLeak        DrillMode = "leak"         // the worker takes memory and holds it
)

// Drill is what a worker is to play. The zero value ends what it plays.
type Drill struct {
	Mode DrillMode
	// For is how long. Then it ends by itself, whatever became of the
	// supervisor; at most an hour.
	For time.Duration
	// Delay of DrillBackendSlow.
	Delay time.Duration
	// Bytes is how much DrillLeak holds at most.
	Bytes uint64
}

const (
	maxDrill = time.Hour

	leakPiece = 8 << 20
	leakEvery = 50 * time.Millisecond // a gigabyte takes 6.4 s

	// provenBy is how many requests show that a handler has no use for the
	// transport of ipc/backend: some it may answer by itself.
	provenBy = 20
)

// ErrUndrillable is wrapped by the error of a worker that cannot play a drill.
var ErrUndrillable = errors.New("this worker cannot play it")

// Drill has the worker play a fault in the place of the one that it plays.
func (w *Worker) Drill(ctx context.Context, d Drill) error {
	_, err := w.control.Drill(ctx, &control.DrillRequest{
		Mode: string(d.Mode), ForMs: uint64(max(0, d.For.Milliseconds())),
		DelayMs: uint64(max(0, d.Delay.Milliseconds())), MaxBytes: d.Bytes,
	})
	switch status.Code(err) {
	case codes.OK:
		return nil
	case codes.Unimplemented:
		return fmt.Errorf("%w: it was built with an SDK that knows no drills", ErrUndrillable)
	case codes.FailedPrecondition:
		return fmt.Errorf("%w: %s", ErrUndrillable, status.Convert(err).Message())
	}
	return fmt.Errorf("drill: %s", status.Convert(err).Message())
}

// Signal sends sig to the worker's process, and to nobody else once it has ended.
func (w *Worker) Signal(sig syscall.Signal) error { return w.proc.Signal(sig) }

// drills is what a worker plays.
type drills struct {
	backend atomic.Pointer[exchange.Drill] // nil, or one that may be over
	asked   atomic.Bool                    // by a transport: the handler uses the SDK's
	endLeak context.CancelFunc             // nil: nothing leaks; guarded by the plane's lock
}

// Drill implements exchange.Driller.
func (x *inbound) Drill() *exchange.Drill {
	d := &x.session.plane.drills
	if !d.asked.Load() {
		d.asked.Store(true)
	}
	now := d.backend.Load()
	if now == nil || !time.Now().Before(now.Until) {
		return nil
	}
	return now
}

// Drill implements control.ControlServer.
func (p *plane) Drill(_ context.Context, in *control.DrillRequest) (*control.DrillReply, error) {
	if in.ForMs > uint64(maxDrill.Milliseconds()) {
		return nil, status.Errorf(codes.InvalidArgument, "a drill of more than %v", maxDrill)
	}
	length := time.Duration(in.ForMs) * time.Millisecond
	d := &exchange.Drill{Until: time.Now().Add(length)}
	mode := DrillMode(in.Mode)
	switch mode {
	case DrillBackendDown:
		d.Fault = exchange.BackendRefused
	case DrillBackendSlow:
		d.Delay = time.Duration(min(in.DelayMs, in.ForMs)) * time.Millisecond
	case DrillGarbage:
		d.Fault = exchange.BackendProtocol
	case DrillLeak, "":
		d = nil
	default:
		return nil, status.Errorf(codes.FailedPrecondition, "its SDK does not know %q", in.Mode)
	}
	if why := p.undrillable(); d != nil && why != "" {
		return nil, status.Error(codes.FailedPrecondition, why)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drills.backend.Store(d)
	if p.drills.endLeak != nil {
		p.drills.endLeak()
		p.drills.endLeak = nil
	}
	if mode == DrillLeak && !p.closed {
		ctx, cancel := context.WithTimeout(context.Background(), length)
		p.drills.endLeak = cancel
		p.running.Go(func() {
			defer cancel()
			leak(ctx, p.stop, in.MaxBytes)
		})
	}
	return &control.DrillReply{}, nil
}

// undrillable is why faults of the backend cannot be played: they are played by
// the transport of ipc/backend.
func (p *plane) undrillable() string {
	switch {
	case !p.opts.ReportsStage:
		return "its handler does not call the backend through ipc/backend (Server.ReportsStage is not set)"
	case !p.drills.asked.Load() && p.requests.Load() >= provenBy:
		return fmt.Sprintf("its handler has had %d requests and called no backend through ipc/backend", p.requests.Load())
	}
	return ""
}

// leak takes memory piece by piece, up to limit bytes, and holds it until ctx or
// the process ends. It is memory of the Go heap, so all that watches a worker's
// memory sees it.
func leak(ctx context.Context, stop <-chan struct{}, limit uint64) {
	var held [][]byte
	tick := time.NewTicker(leakEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if uint64(len(held)+1)*leakPiece > limit {
				continue
			}
			piece := make([]byte, leakPiece)
			for i := 0; i < len(piece); i += 4 << 10 {
				piece[i] = 1 // a page that nobody touched is not taken
			}
			held = append(held, piece)
			continue
		case <-ctx.Done():
		case <-stop:
		}
		break
	}
	runtime.KeepAlive(held)
	held = nil
	debug.FreeOSMemory()
}
