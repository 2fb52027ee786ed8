package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Kind is which control groups hold the workers.
type Kind string

const (
	Version2 Kind = "cgroup2"
	Version1 Kind = "cgroup1"
)

// leafName is the group of the supervisor itself, after the prefix.
const leafName = "-supervisor"

// kernel is what the package asks of the operating system.
type kernel struct {
	proc         string // where proc(5) is
	pid          int
	mkdir, rmdir func(path string) error
}

var linux = kernel{
	proc: "/proc", pid: os.Getpid(),
	mkdir: func(path string) error { return os.Mkdir(path, 0o755) },
	rmdir: func(path string) error { return wrap("rmdir", path, unix.Rmdir(path)) },
}

func wrap(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: path, Err: err}
}

// Find is the group in which groups of workers can be made. prefix is that of
// Take. The error says, for both versions, why there is none. Nothing is changed.
func Find(prefix string) (*Tree, error) { return linux.find(prefix) }

func (k kernel) find(prefix string) (*Tree, error) {
	two, err2 := k.findKind(Version2, prefix)
	if err2 == nil {
		return two, nil
	}
	one, err1 := k.findKind(Version1, prefix)
	if err1 == nil {
		return one, nil
	}
	return nil, fmt.Errorf("%s: %w; %s: %w", Version2, err2, Version1, err1)
}

func (k kernel) findKind(kind Kind, prefix string) (*Tree, error) {
	dir, err := k.groupOf(kind)
	if err != nil {
		return nil, err
	}
	t := &Tree{kernel: k, kind: kind, prefix: prefix, dir: dir}
	if filepath.Base(dir) == prefix+leafName { // born into it, or moved by an earlier Take
		t.dir, t.taken = filepath.Dir(dir), true
	}
	if kind == Version2 {
		controllers, err := os.ReadFile(filepath.Join(t.dir, "cgroup.controllers"))
		if err != nil {
			return nil, err
		}
		if !slices.Contains(strings.Fields(string(controllers)), "memory") {
			return nil, fmt.Errorf("%s has no memory controller", t.dir)
		}
	}
	if !t.taken {
		if err := t.alone(); err != nil {
			return nil, err
		}
	}
	return t, t.writable()
}

// alone is nil when nobody else is in the group.
func (t *Tree) alone() error {
	members, err := pidsIn(t.dir)
	if err != nil {
		return err
	}
	if len(members) != 1 || members[0] != t.kernel.pid {
		return fmt.Errorf("%s is not the supervisor's alone", t.dir)
	}
	return nil
}

func (t *Tree) writable() error {
	needed := []string{".", "cgroup.procs"}
	if t.kind == Version2 {
		needed = append(needed, "cgroup.subtree_control")
	}
	for _, name := range needed {
		path := filepath.Join(t.dir, name)
		if err := unix.Access(path, unix.W_OK); err != nil {
			return wrap("write", path, err)
		}
	}
	return nil
}

// groupOf is the directory of the group that this process is in.
func (k kernel) groupOf(kind Kind) (string, error) {
	groups, err := os.ReadFile(filepath.Join(k.proc, "self/cgroup"))
	if err != nil {
		return "", err
	}
	path, ok := memberOf(string(groups), kind)
	if !ok {
		return "", errors.New("not in use here")
	}
	if strings.Contains(path+"/", "/../") { // so a namespace shows what lies outside of it
		return "", fmt.Errorf("no mount shows the group %s", path)
	}
	mounts, err := os.ReadFile(filepath.Join(k.proc, "self/mountinfo"))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(mounts)) {
		root, point, ok := mountOf(line, kind)
		if !ok {
			continue
		}
		// What is mounted may be a part of the hierarchy only.
		below, err := filepath.Rel(root, path)
		if err == nil && below != ".." && !strings.HasPrefix(below, "../") {
			return filepath.Join(point, below), nil
		}
	}
	return "", fmt.Errorf("no mount shows the group %s", path)
}

// memberOf reads proc_pid_cgroup(5): ID:CONTROLLERS:PATH, where version 2 has ID 0
// and no controllers.
func memberOf(groups string, kind Kind) (path string, ok bool) {
	for line := range strings.Lines(groups) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) != 3 {
			continue
		}
		controllers := strings.Split(fields[1], ",")
		if kind == Version2 && fields[0] == "0" || kind == Version1 && slices.Contains(controllers, "memory") {
			return fields[2], true
		}
	}
	return "", false
}

// mountOf reads a line of proc_pid_mountinfo(5). root is what of the hierarchy is
// mounted at point.
func mountOf(line string, kind Kind) (root, point string, ok bool) {
	before, after, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
	left, right := strings.Fields(before), strings.Fields(after)
	if len(left) < 5 || len(right) < 3 {
		return "", "", false
	}
	is := kind == Version2 && right[0] == "cgroup2" ||
		kind == Version1 && right[0] == "cgroup" && slices.Contains(strings.Split(right[2], ","), "memory")
	return unescape(left[3]), unescape(left[4]), is
}

// unescape undoes the kernel's writing of blanks in paths.
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}

// pidsIn is every process of a group, as this process's namespace numbers them: 0
// for those outside.
func pidsIn(dir string) ([]int, error) {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, word := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			return nil, fmt.Errorf("%s/cgroup.procs: %w", dir, err)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}
