package process

import "time"

// Usage is what a process uses at one moment.
type Usage struct {
	CPU time.Duration // user and system, since its start
	// Anonymous is RssAnon, in bytes. RSS would count the pages of the binary
	// for each worker that shares them.
	Anonymous uint64
}
