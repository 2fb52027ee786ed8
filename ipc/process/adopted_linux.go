package process

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// settle is how long an adopted zombie stays before it is reaped, at least.
const settle = time.Second

// ReapAdopted reaps orphans that this process inherited, as process 1 of a
// container or as a subreaper (prctl(2)), until ctx ends; then it returns nil.
// Run one, in a goroutine that somebody waits for.
//
// It reaps by number, and never a child that Start made. A child that other code
// started, with os/exec say, is left alone unless nobody has waited for it a
// second after its end.
//
// It needs /proc; the error says that it is missing.
func ReapAdopted(ctx context.Context) error {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		return fmt.Errorf("process: reap adopted children: %w", err)
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	defer signal.Stop(ended)
	again := time.NewTimer(0) // zombies from before the call
	defer again.Stop()
	zombies := make(map[int]time.Time) // first seen
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ended:
		case <-again.C:
		}
		if !children.reapAdopted(zombies, time.Now()) || len(zombies) > 0 {
			again.Reset(settle / 4)
		}
	}
}

// reapAdopted keeps zombies up to date and reaps those that have settled. It
// reports false when a fork is under way and it did nothing.
func (f *forker) reapAdopted(zombies map[int]time.Time, now time.Time) bool {
	if !f.forking.TryLock() {
		return false
	}
	defer f.forking.Unlock()
	if any, err := waitable(unix.P_ALL, 0, unix.WNOHANG); !any || err != nil {
		clear(zombies)
		return true
	}
	present := make(map[int]bool)
	for _, pid := range processes() {
		// ECHILD for all that are not ours: one system call each, and no parsing.
		zombie, err := waitable(unix.P_PID, pid, unix.WNOHANG)
		if err != nil || !zombie || f.owns(pid) {
			continue
		}
		present[pid] = true
		first, seen := zombies[pid]
		switch {
		case !seen:
			zombies[pid] = now
		case now.Sub(first) >= settle:
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
			delete(zombies, pid)
		}
	}
	for pid := range zombies {
		if !present[pid] {
			delete(zombies, pid)
		}
	}
	return true
}

// processes is every process number in /proc; none when it cannot be read, and
// the next look is soon.
func processes() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	pids := make([]int, 0, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func (f *forker) owns(pid int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.own[pid] != nil
}
