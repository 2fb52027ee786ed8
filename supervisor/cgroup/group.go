package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Group holds one worker and whatever it starts. Its methods are safe for
// concurrent use.
type Group struct {
	tree *Tree
	dir  string
}

// limit sets what the group may have. Kernels without accounting of swap, or from
// before memory.oom.group (4.19), lack the files for that.
func (g *Group) limit(bytes uint64) error {
	value := strconv.FormatUint(bytes, 10)
	if g.tree.kind == Version1 {
		if err := write(g.dir, "memory.limit_in_bytes", value); err != nil {
			return err
		}
		return optional(write(g.dir, "memory.memsw.limit_in_bytes", value))
	}
	if err := write(g.dir, "memory.max", value); err != nil {
		return err
	}
	if err := optional(write(g.dir, "memory.swap.max", "0")); err != nil {
		return err
	}
	return optional(write(g.dir, "memory.oom.group", "1"))
}

func optional(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Open is the directory for CLONE_INTO_CGROUP; nil, nil in version 1, which has
// no such thing.
func (g *Group) Open() (*os.File, error) {
	if g.tree.kind == Version1 {
		return nil, nil
	}
	return os.Open(g.dir)
}

// Add moves a process in; one that has ended meanwhile is no error.
func (g *Group) Add(pid int) error {
	err := write(g.dir, "cgroup.procs", strconv.Itoa(pid))
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// OOMKilled reports whether the kernel has killed in the group for want of
// memory, whoever's. False when that cannot be read.
func (g *Group) OOMKilled() bool {
	name := "memory.events"
	if g.tree.kind == Version1 {
		name = "memory.oom_control" // since Linux 4.13
	}
	text, err := os.ReadFile(filepath.Join(g.dir, name))
	return err == nil && counter(string(text), "oom_kill") > 0
}

// counter is the value of a line "NAME VALUE"; 0 without one.
func counter(text, name string) uint64 {
	for line := range strings.Lines(text) {
		if key, value, _ := strings.Cut(strings.TrimSpace(line), " "); key == name {
			n, _ := strconv.ParseUint(value, 10, 64)
			return n
		}
	}
	return 0
}

const (
	closeWithin = 2 * time.Second
	closeEvery  = 5 * time.Millisecond
)

// Close kills what is left in the group and removes it, and everything below. It
// waits for the end of what it kills, 2 s at most. A group that is gone is no
// error.
func (g *Group) Close() error {
	deadline := time.Now().Add(closeWithin)
	for {
		err := optional(g.remove(g.dir))
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("control group of a worker: %w", err)
		}
		kill(g.dir)
		time.Sleep(closeEvery) // for the kernel to take the dead out
	}
}

// remove removes a group from its leaves up: a worker may have made groups below.
func (g *Group) remove(dir string) error {
	err := g.tree.kernel.rmdir(dir)
	if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOTEMPTY) {
		return err
	}
	below(dir, func(child string) { _ = g.remove(child) })
	return g.tree.kernel.rmdir(dir)
}

// kill kills every process of a group and of those below. cgroup.kill does it at
// once, since Linux 5.14; number by number is how it was done before.
func kill(dir string) {
	if write(dir, "cgroup.kill", "1") == nil {
		return
	}
	pids, _ := pidsIn(dir)
	for _, pid := range pids {
		if pid > 0 {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
	below(dir, kill)
}

func below(dir string, visit func(child string)) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			visit(filepath.Join(dir, e.Name()))
		}
	}
}
