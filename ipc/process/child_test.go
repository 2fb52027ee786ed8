package process_test

import (
	"os"
	"testing"
	"time"

	"commerce.example/coordinator/ipc/process"
)

// A worker whose lifeline is not there must not run on for ever.
func TestLifelineMissing(t *testing.T) {
	for _, fd := range []int{-1, 1 << 20} {
		within(t, process.Lifeline(fd), time.Second, "told")
	}
}

func TestWatchLifeline(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	process.WatchLifeline(r, func() { close(gone) })
	if _, err := w.WriteString("bytes mean nothing"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-gone:
		t.Fatal("ended by bytes")
	case <-time.After(20 * time.Millisecond):
	}
	w.Close()
	within(t, gone, time.Second, "told")
}
