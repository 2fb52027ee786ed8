package supervisor

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/supervisor/pool"
)

// A worker that was not reached in time is not blamed for that: on a starved
// machine nobody is in time. One that refuses is.
func TestLatenessIsNoRefusal(t *testing.T) {
	for err, want := range map[error]bool{
		os.ErrDeadlineExceeded: true,
		syscall.EAGAIN:         true, // its backlog is full
		syscall.ECONNREFUSED:   false,
		syscall.ENOENT:         false,
	} {
		dial := &net.OpError{Op: "dial", Net: "unix", Err: err}
		failure := &exchange.Error{Fault: exchange.WorkerDied, Err: fmt.Errorf("%w: %w", ipc.ErrUnreachable, dial)}
		if got := timedOut(failure); got != want {
			t.Errorf("%v: %v, want %v", failure, got, want)
		}
	}
}

// aroundConn is a connection inside another one, whose farewell blocks.
type aroundConn struct {
	net.Conn
	t *testing.T
}

func (c aroundConn) NetConn() net.Conn { return c.Conn }
func (c aroundConn) Close() error      { c.t.Error("closed with a farewell"); return c.Conn.Close() }

// The watch holds the lock of all calls when it ends one that left HTTP.
func TestCancelWaitsForNoFarewell(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	c := &call{upgraded: aroundConn{ours, t}}
	c.cancel(exchange.Deadline)
	if _, err := theirs.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the end", err)
	}
}

// What ends between its intent and a worker was refused to its client, which may
// repeat it. Of a replay nothing else is kept any more: it can be sent again.
func TestReplayThatEndsBeforeAWorkerIsKept(t *testing.T) {
	for _, test := range []struct {
		replay *replay
		want   Outcome
	}{{nil, OutcomeRefused}, {&replay{}, OutcomeNeverSent}} {
		c := &call{journaled: journaled{replay: test.replay}}
		c.cancel(exchange.Deadline)
		if err := c.attach(&ipc.Call{}, pool.Lease{}); err == nil || c.attempts != 0 {
			t.Errorf("attached: %v, %d attempts", err, c.attempts)
		}
		if got := c.progress.Outcome(); got != test.want || sendableAgain(got) != (test.replay != nil) {
			t.Errorf("replay %t: %s", test.replay != nil, got)
		}
	}
}
