package main

import "os"

// headroom returns memory that is reserved and never touched: it takes address space
// and nothing else. The garbage collector paces itself by the size of the heap,
// and that of a process which keeps no data is so small that it would collect
// dozens of times a second under load. With n bytes of headroom, garbage may grow
// by n more between two collections, whatever lives; a percentage (GOGC) would
// multiply what ten thousand idle connections keep. Its caller keeps it alive.
//
// A process that was told how much memory it has gets none: the runtime would count
// what is reserved as used.
func headroom(n int) []byte {
	if os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	return make([]byte, n)
}

const (
	supervisorHeadroom = 32 << 20
	workerHeadroom     = 16 << 20 // there are many of them
)
