package process

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// LimitDescriptors sets RLIMIT_NOFILE of the process, soft and hard, to n; a hard
// limit that is lower already stays. Go's runtime raises its own soft limit when
// it starts, so this is for a process that is known to run. os.ErrProcessDone
// when it was reaped, errors.ErrUnsupported where there is no prlimit(2).
func (p *Process) LimitDescriptors(n uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return os.ErrProcessDone
	}
	var now unix.Rlimit
	if err := unix.Prlimit(p.pid, unix.RLIMIT_NOFILE, nil, &now); err != nil {
		return fmt.Errorf("process: descriptor limit of %d: %w", p.pid, err)
	}
	n = min(n, now.Max)
	if err := unix.Prlimit(p.pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n}, nil); err != nil {
		return fmt.Errorf("process: descriptor limit of %d: %w", p.pid, err)
	}
	return nil
}

// DescriptorsOf is how many descriptors a process has open. The pid must be
// known to be alive: a number that was freed may be a stranger's.
func DescriptorsOf(pid int) (int, error) {
	path := fmt.Sprintf("/proc/%d/fd", pid)
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	if n := info.Size(); n > 0 { // since Linux 6.2 the count, proc_pid_fd(5)
		return int(n), nil
	}
	dir, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	return len(names), err
}
