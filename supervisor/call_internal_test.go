package supervisor

import (
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/ipc/exchange"
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
