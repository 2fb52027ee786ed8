package supervisor

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"commerce.example/coordinator/ipc/exchange"
)

// A disk that does not answer holds up neither an upgrade nor, after it was given
// up, other requests.
func TestPauseGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k keyring
		deadline := time.Now().Add(time.Hour)
		if err := k.enter(t.Context(), deadline); err != nil { // and hangs
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("too late"))
		defer cancel()
		waits := make(chan error, 1)
		go func() {
			time.Sleep(time.Millisecond)
			waits <- k.enter(t.Context(), deadline)
		}()
		if resume, err := k.pause(ctx); err == nil || resume != nil {
			t.Fatalf("paused with a request inside: %v", err)
		}
		if err := <-waits; err != nil {
			t.Errorf("after a pause that was given up: %v", err)
		}
		k.leave()
		k.leave()
	})
}

// Nobody enters during a pause, which begins when all inside have left, and ends
// with the turn here or with the successor.
func TestPauseLetsThoseInsideEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k keyring
		deadline := time.Now().Add(time.Hour)
		for _, ceded := range []bool{false, true} {
			if err := k.enter(t.Context(), deadline); err != nil {
				t.Fatal(err)
			}
			inside := time.Now()
			time.AfterFunc(time.Second, k.leave)
			resume, err := k.pause(t.Context())
			if err != nil || time.Since(inside) != time.Second {
				t.Fatalf("paused after %v: %v", time.Since(inside), err)
			}
			waits := make(chan error, 1)
			go func() { waits <- k.enter(t.Context(), deadline) }()
			synctest.Wait()
			if len(waits) != 0 {
				t.Error("one entered in the pause")
			}
			resume(ceded)
			if err := <-waits; errors.Is(err, errNotOurTurn) != ceded {
				t.Errorf("ceded %v: %v", ceded, err)
			} else if err == nil {
				k.leave()
			}
		}
		if err := k.enter(t.Context(), deadline); !errors.Is(err, errNotOurTurn) {
			t.Errorf("after the successor has it: %v", err)
		}
	})
}

// Who waits for its turn waits no longer than its client, and than its deadline:
// all the while it has a slot and a worker.
func TestAPauseHoldsNoRequestBeyondItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k keyring
		resume, err := k.pause(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		ctx, leave := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, leave)
		for _, test := range []struct {
			ctx  context.Context
			want exchange.Fault
			at   time.Duration
		}{{ctx, exchange.ClientGone, time.Second}, {t.Context(), exchange.Deadline, 3 * time.Second}} {
			err := k.enter(test.ctx, begun.Add(3*time.Second))
			if took := time.Since(begun); exchange.FaultOf(err) != test.want || took != test.at {
				t.Errorf("after %v: %v, want %s after %v", took, err, test.want, test.at)
			}
		}
		resume(false)
		if k.entered != 0 {
			t.Errorf("%d entered", k.entered)
		}
	})
}
