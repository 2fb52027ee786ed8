package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Tree is a group of this process, below which those of its workers are made. It
// is safe for concurrent use once Take has returned.
type Tree struct {
	kernel kernel
	kind   Kind
	prefix string
	dir    string
	taken  bool // the process is in the leaf

	mu     sync.Mutex
	groups int // made so far
	born   string
}

// Kind is the version of the tree's groups.
func (t *Tree) Kind() Kind { return t.kind }

// Dir is the group's directory.
func (t *Tree) Dir() string { return t.dir }

// Take moves this process to its leaf and gives the memory controller to the
// groups of workers. generation tells them from those of other supervisors that
// take the tree with the same prefix. Unless others still run, those they left
// behind are removed, with every process in them. After an error the process is
// where it was.
func (t *Tree) Take(generation string, others bool) error {
	t.born = generation
	if !t.taken {
		if err := t.enterLeaf(); err != nil {
			return err
		}
	}
	if !others {
		t.sweep()
	}
	if t.kind == Version1 {
		return nil
	}
	if err := write(t.dir, "cgroup.subtree_control", "+memory"); err != nil {
		return errors.Join(err, t.leaveLeaf())
	}
	return nil
}

// Release undoes Take, for a supervisor that ends after all its workers and
// leaves no successor. The error says what is left.
func (t *Tree) Release() error {
	if t.kind == Version2 {
		if err := write(t.dir, "cgroup.subtree_control", "-memory"); err != nil {
			return err
		}
	}
	return t.leaveLeaf()
}

func (t *Tree) leaf() string { return filepath.Join(t.dir, t.prefix+leafName) }

func (t *Tree) enterLeaf() error {
	if err := t.kernel.mkdir(t.leaf()); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := write(t.leaf(), "cgroup.procs", fmt.Sprint(t.kernel.pid)); err != nil {
		return errors.Join(err, t.kernel.rmdir(t.leaf()))
	}
	t.taken = true
	return nil
}

func (t *Tree) leaveLeaf() error {
	if err := write(t.dir, "cgroup.procs", fmt.Sprint(t.kernel.pid)); err != nil {
		return err
	}
	t.taken = false
	return t.kernel.rmdir(t.leaf())
}

// sweep removes what supervisors that are gone have left. What cannot be removed
// stays for the next one.
func (t *Tree) sweep() {
	entries, _ := os.ReadDir(t.dir)
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() && strings.HasPrefix(name, t.prefix+"-") && name != t.prefix+leafName {
			g := &Group{tree: t, dir: filepath.Join(t.dir, name)}
			_ = g.Close()
		}
	}
}

// New makes the group of one worker, which may have limit bytes of memory, and
// none of swap.
func (t *Tree) New(limit uint64) (*Group, error) {
	t.mu.Lock()
	t.groups++
	name := fmt.Sprintf("%s-%s-w%d", t.prefix, t.born, t.groups)
	t.mu.Unlock()
	g := &Group{tree: t, dir: filepath.Join(t.dir, name)}
	if err := t.kernel.mkdir(g.dir); err != nil {
		return nil, err
	}
	if err := g.limit(limit); err != nil {
		return nil, errors.Join(err, t.kernel.rmdir(g.dir))
	}
	return g, nil
}

// write sets a file of a group. One that the kernel does not have is not made.
func write(dir, name, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}
