package process

import (
	"time"

	"golang.org/x/sys/unix"
)

// memoryEvery is how often a process is looked at that the kernel does not hold
// to its memory. A program can fill a few hundred megabytes in that time.
const memoryEvery = 250 * time.Millisecond

// guardMemory kills the process, and its group, once its anonymous memory is
// above limit bytes. It returns at the end of the process, and where the system
// does not tell the figure.
func (p *Process) guardMemory(limit uint64) {
	tick := time.NewTicker(memoryEvery)
	defer tick.Stop()
	for {
		now, err := UsageOf(p.pid)
		if err == nil && now.Anonymous > limit {
			p.killForMemory()
			return
		}
		select {
		case <-p.done:
			return
		case <-tick.C:
		}
	}
}

// killForMemory kills unless the process was reaped: then the figure was a
// stranger's.
func (p *Process) killForMemory() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return
	}
	p.overMemory = true
	_ = p.proc.Kill()
	_ = unix.Kill(-p.pid, unix.SIGKILL)
}
