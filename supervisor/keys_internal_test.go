package supervisor

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A disk that does not answer holds up neither an upgrade nor, after it was given
// up, other requests.
func TestPauseGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k keyring
		if err := k.enter(); err != nil { // and hangs
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("too late"))
		defer cancel()
		waits := make(chan error, 1)
		go func() {
			time.Sleep(time.Millisecond)
			waits <- k.enter()
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
		for _, ceded := range []bool{false, true} {
			if err := k.enter(); err != nil {
				t.Fatal(err)
			}
			inside := time.Now()
			time.AfterFunc(time.Second, k.leave)
			resume, err := k.pause(t.Context())
			if err != nil || time.Since(inside) != time.Second {
				t.Fatalf("paused after %v: %v", time.Since(inside), err)
			}
			waits := make(chan error, 1)
			go func() { waits <- k.enter() }()
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
		if err := k.enter(); !errors.Is(err, errNotOurTurn) {
			t.Errorf("after the successor has it: %v", err)
		}
	})
}
