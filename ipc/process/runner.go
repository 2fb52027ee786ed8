package process

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// Runner is a Process as go-plugin wants it: runner.Runner, without importing
// it. The plugin library sees the handshake line and the end, and nothing else
// that the worker prints: a line of JSON on stderr can make it panic, and a long
// line on stdout can make it stop reading.
//
// One Runner is for one start. Methods other than Start are safe for concurrent
// use once Start has returned.
type Runner struct {
	spec Spec
	p    *Process
}

// NewRunner is a Runner for spec. Nothing is started yet.
func NewRunner(spec Spec) *Runner { return &Runner{spec: spec} }

// Process is what Start has started; nil before, and when it failed.
func (r *Runner) Process() *Process { return r.p }

// Start starts the process; ctx bounds the start only. A second call is an error.
func (r *Runner) Start(ctx context.Context) (err error) {
	if r.p != nil {
		return errors.New("process: runner started twice")
	}
	r.p, err = Start(ctx, r.spec)
	return err
}

// Wait returns when the process was reaped, with its Err, or when ctx ends.
func (r *Runner) Wait(ctx context.Context) error {
	if r.p == nil {
		return os.ErrProcessDone
	}
	select {
	case <-r.p.Done():
		return r.p.Err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Kill is KillGroup; nil when the process has ended, or never began.
func (r *Runner) Kill(context.Context) error {
	if r.p == nil {
		return nil
	}
	if err := r.p.KillGroup(); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// ID is the process number, "" before the start.
func (r *Runner) ID() string {
	if r.p == nil {
		return ""
	}
	return strconv.Itoa(r.p.Pid())
}

// Name is the path of the binary.
func (r *Runner) Name() string { return r.spec.Path }

// Stdout is the handshake line, see Process.Stdout.
func (r *Runner) Stdout() io.ReadCloser {
	if r.p == nil {
		return nothing{}
	}
	return r.p.Stdout()
}

// Stderr is always at its end: what the worker prints goes to Spec.Line.
func (r *Runner) Stderr() io.ReadCloser { return nothing{} }

// Diagnose says what is known of a start that came to no handshake. It waits up
// to 250 ms for the process to end, because its output ends first.
func (r *Runner) Diagnose(ctx context.Context) string {
	if r.p == nil {
		return "the process was not started"
	}
	ctx, cancel := context.WithTimeout(ctx, 250*time.Millisecond)
	defer cancel()
	var known []string
	if why := r.p.handshake.missing(); why != "" {
		known = append(known, why)
	}
	select {
	case <-r.p.Done():
		known = append(known, "it ended: "+r.p.State().String())
	case <-ctx.Done():
		known = append(known, "it still runs")
	}
	return strings.Join(known, "; ")
}

// PluginToHost leaves an address as it is: worker and supervisor share a host.
func (r *Runner) PluginToHost(network, addr string) (string, string, error) {
	return network, addr, nil
}

// HostToPlugin leaves an address as it is.
func (r *Runner) HostToPlugin(network, addr string) (string, string, error) {
	return network, addr, nil
}

// nothing is a stream that is at its end.
type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, io.EOF }
func (nothing) Close() error             { return nil }
