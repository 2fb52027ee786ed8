package process

import "os"

// Group holds one process, and all that it starts, to limits that the kernel
// enforces: a control group. It is made for one process and ends with it.
type Group interface {
	// Open is the directory that the process is born into, for Start to close;
	// nil, nil: it cannot be, and is added once it has started.
	Open() (*os.File, error)
	// Add moves a process that has started in.
	Add(pid int) error
	// OOMKilled reports whether the kernel killed in the group for want of
	// memory.
	OOMKilled() bool
	// Close kills what is left in the group and removes it.
	Close() error
}
