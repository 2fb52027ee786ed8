package cgroup_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/cgroup"
)

const me = 4711

// machine is /proc and mounts as files, with the kernel's part in what happens to
// them.
type machine struct {
	testing.TB
	root string
}

// newMachine has a process in the group /svc of both versions, alone.
func newMachine(t testing.TB) *machine {
	m := &machine{t, t.TempDir()}
	m.put("proc/self/cgroup", "4:memory:/svc\n3:cpu,cpuacct:/\n0::/svc\n")
	m.put("proc/self/mountinfo", fmt.Sprintf(`22 1 0:20 / / rw,relatime - ext4 /dev/vda rw
30 22 0:26 / %[1]s/two rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
31 22 0:27 / %[1]s/cpu rw - cgroup cgroup rw,cpu,cpuacct
32 22 0:28 / %[1]s/one rw - cgroup cgroup rw,memory
`, m.root))
	for _, version := range []string{"one", "two"} {
		if err := os.MkdirAll(m.path(version), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := m.mkdir(m.path(version, "svc")); err != nil {
			t.Fatal(err)
		}
		m.put(version+"/svc/cgroup.procs", strconv.Itoa(me)+"\n")
	}
	return m
}

func (m *machine) path(parts ...string) string {
	return filepath.Join(append([]string{m.root}, parts...)...)
}

func (m *machine) put(name, text string) {
	m.Helper()
	path := m.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		m.Fatal(err)
	}
}

func (m *machine) text(parts ...string) string {
	m.Helper()
	b, err := os.ReadFile(m.path(parts...))
	if err != nil {
		m.Error(err)
	}
	return string(b)
}

func (m *machine) exists(parts ...string) bool {
	_, err := os.Stat(m.path(parts...))
	return err == nil
}

// mkdir makes a group with the files that the kernel gives it.
func (m *machine) mkdir(path string) error {
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	files := map[string]string{
		"cgroup.procs": "", "cgroup.controllers": "cpu memory pids\n", "cgroup.subtree_control": "",
		"memory.max": "max\n", "memory.swap.max": "max\n", "memory.oom.group": "0\n", "memory.events": "oom 0\noom_kill 0\n",
	}
	if strings.HasPrefix(path, m.path("one")) {
		files = map[string]string{
			"cgroup.procs": "", "memory.limit_in_bytes": "9223372036854771712\n", "memory.memsw.limit_in_bytes": "9223372036854771712\n",
			"memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(path, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// rmdir refuses a group in which somebody lives, or that has groups below.
func (m *machine) rmdir(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			return &fs.PathError{Op: "rmdir", Path: path, Err: syscall.EBUSY}
		}
	}
	procs, _ := os.ReadFile(filepath.Join(path, "cgroup.procs"))
	for _, word := range strings.Fields(string(procs)) {
		if pid, _ := strconv.Atoi(word); pid != me && syscall.Kill(pid, 0) == nil {
			return &fs.PathError{Op: "rmdir", Path: path, Err: syscall.EBUSY}
		}
	}
	return os.RemoveAll(path)
}

func (m *machine) find() (*cgroup.Tree, error) {
	return cgroup.FindIn(m.path("proc"), me, m.mkdir, m.rmdir, "us")
}

func (m *machine) found(kind cgroup.Kind) *cgroup.Tree {
	m.Helper()
	tree, err := m.find()
	if err != nil {
		m.Fatal(err)
	}
	if tree.Kind() != kind {
		m.Fatalf("found %s, want %s", tree.Kind(), kind)
	}
	return tree
}

func (m *machine) taken(kind cgroup.Kind) *cgroup.Tree {
	m.Helper()
	tree := m.found(kind)
	if err := tree.Take("g1", false); err != nil {
		m.Fatal(err)
	}
	return tree
}

// onlyVersion1 is a machine whose version 2 has no memory controller.
func (m *machine) onlyVersion1() { m.put("two/svc/cgroup.controllers", "cpu pids\n") }

func TestFind(t *testing.T) {
	for name, test := range map[string]struct {
		change func(m *machine)
		kind   cgroup.Kind
		dir    string
		why    []string // there is none
	}{
		"version 2 first":      {func(*machine) {}, cgroup.Version2, "two/svc", nil},
		"controller elsewhere": {(*machine).onlyVersion1, cgroup.Version1, "one/svc", nil},
		"shared in version 2":  {func(m *machine) { m.put("two/svc/cgroup.procs", "1\n4711\n") }, cgroup.Version1, "one/svc", nil},
		"no mount of version 2": {func(m *machine) {
			m.put("proc/self/mountinfo", "32 22 0:28 / "+m.path("one")+" rw - cgroup c rw,memory\n")
		}, cgroup.Version1, "one/svc", nil},
		"part of it mounted":     {func(m *machine) { m.mounted("/svc", "two/svc") }, cgroup.Version2, "two/svc", nil},
		"not in the group":       {func(m *machine) { m.put("two/svc/cgroup.procs", "") }, cgroup.Version1, "one/svc", nil},
		"cannot give controller": {func(m *machine) { os.Remove(m.path("two/svc/cgroup.subtree_control")) }, cgroup.Version1, "one/svc", nil},
		"shared in both": {func(m *machine) {
			m.put("two/svc/cgroup.procs", "1\n4711\n")
			m.put("one/svc/cgroup.procs", "0\n4711\n")
		}, "", "", []string{"cgroup2: " + "ROOT/two/svc is not the supervisor's alone", "cgroup1: ROOT/one/svc is not the supervisor's alone"}},
		"outside of what is mounted": {func(m *machine) { m.mounted("/other", "two/svc") }, "", "", []string{"no mount shows the group /svc", "cgroup1: no mount"}},
		"outside of the namespace": {func(m *machine) { m.put("proc/self/cgroup", "0::/../svc\n") }, "", "",
			[]string{"no mount shows the group /../svc", "cgroup1: not in use here"}},
		"none":    {func(m *machine) { m.put("proc/self/cgroup", "3:cpu:/\n") }, "", "", []string{"cgroup2: not in use here"}},
		"no proc": {func(m *machine) { os.RemoveAll(m.path("proc")) }, "", "", []string{"no such file"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			test.change(m)
			before := m.snapshot()
			tree, err := m.find()
			if after := m.snapshot(); !slices.Equal(before, after) {
				t.Errorf("something was changed:\n%q\n%q", before, after)
			}
			if test.why == nil {
				if err != nil || tree.Kind() != test.kind || tree.Dir() != m.path(test.dir) {
					t.Errorf("found %+v, %v", tree, err)
				}
				return
			}
			for _, why := range test.why {
				if why = strings.ReplaceAll(why, "ROOT", m.root); err == nil || !strings.Contains(err.Error(), why) {
					t.Errorf("got %v, want %q", err, why)
				}
			}
		})
	}
}

// mounted shows only that part of version 2, and nothing of version 1.
func (m *machine) mounted(root, at string) {
	m.put("proc/self/mountinfo", fmt.Sprintf("30 22 0:26 %s %s rw - cgroup2 cgroup2 rw\n", root, m.path(at)))
}

// snapshot is every file with its text.
func (m *machine) snapshot() (all []string) {
	_ = filepath.WalkDir(m.root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			text, _ := os.ReadFile(path)
			all = append(all, path+"="+string(text))
		}
		return err
	})
	return all
}

func TestGroupOfVersion2(t *testing.T) {
	m := newMachine(t)
	tree := m.taken(cgroup.Version2)
	if got := m.text("two/svc/us-supervisor/cgroup.procs"); got != "4711" {
		t.Errorf("in the leaf: %q", got)
	}
	if got := m.text("two/svc/cgroup.subtree_control"); got != "+memory" {
		t.Errorf("controllers: %q", got)
	}
	g, err := tree.New(64 << 20)
	if err != nil {
		t.Fatal(err)
	}
	if g.Path() != m.path("two/svc/us-g1-w1") {
		t.Errorf("the group is %s", g.Path())
	}
	for file, want := range map[string]string{"memory.max": "67108864", "memory.swap.max": "0", "memory.oom.group": "1"} {
		if got := m.text("two/svc/us-g1-w1", file); got != want {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
	dir, err := g.Open()
	if err != nil || dir == nil {
		t.Fatalf("no directory to be born into: %v", err)
	}
	dir.Close()
	if g.OOMKilled() {
		t.Error("killed before anything ran")
	}
	m.put("two/svc/us-g1-w1/memory.events", "low 0\nmax 31\noom 2\noom_kill 1\n")
	if !g.OOMKilled() {
		t.Error("a kill is not seen")
	}
	for range 2 { // the second has nothing to do
		if err := g.Close(); err != nil || m.exists("two/svc/us-g1-w1") {
			t.Errorf("closed: %v", err)
		}
	}
	if err := tree.Release(); err != nil {
		t.Error(err)
	}
	if m.exists("two/svc/us-supervisor") || m.text("two/svc/cgroup.procs") != "4711" || m.text("two/svc/cgroup.subtree_control") != "-memory" {
		t.Errorf("after the release: %q", m.snapshot())
	}
}

func TestGroupOfVersion1(t *testing.T) {
	m := newMachine(t)
	m.onlyVersion1()
	g, err := m.taken(cgroup.Version1).New(64 << 20)
	if err != nil {
		t.Fatal(err)
	}
	if limit, swap := m.text("one/svc/us-g1-w1/memory.limit_in_bytes"), m.text("one/svc/us-g1-w1/memory.memsw.limit_in_bytes"); limit != "67108864" || swap != limit {
		t.Errorf("limits %q and %q", limit, swap)
	}
	if dir, err := g.Open(); dir != nil || err != nil {
		t.Errorf("a directory to be born into: %v %v", dir, err)
	}
	if err := g.Add(99); err != nil || m.text("one/svc/us-g1-w1/cgroup.procs") != "99" {
		t.Errorf("added: %v", err)
	}
	m.put("one/svc/us-g1-w1/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
	if !g.OOMKilled() {
		t.Error("a kill is not seen")
	}
}

// without is the tree of a kernel whose groups lack files.
func (m *machine) without(files ...string) *cgroup.Tree {
	m.Helper()
	tree, err := cgroup.FindIn(m.path("proc"), me, func(path string) error {
		err := m.mkdir(path)
		for _, file := range files {
			os.Remove(filepath.Join(path, file))
		}
		return err
	}, m.rmdir, "us")
	if err != nil {
		m.Fatal(err)
	}
	if err := tree.Take("g1", false); err != nil {
		m.Fatal(err)
	}
	return tree
}

func TestKernelsThatLackWhatIsOptional(t *testing.T) {
	m := newMachine(t)
	tree := m.without("memory.swap.max", "memory.oom.group")
	if _, err := tree.New(1 << 30); err != nil {
		t.Error(err)
	}
}

func TestGroupThatCannotBeLimitedIsNotLeftBehind(t *testing.T) {
	m := newMachine(t)
	tree := m.without("memory.max")
	if _, err := tree.New(1 << 30); !errors.Is(err, fs.ErrNotExist) || m.exists("two/svc/us-g1-w1") {
		t.Errorf("got %v", err)
	}
}

func TestTakeThatFailsChangesNothing(t *testing.T) {
	m := newMachine(t)
	tree := m.found(cgroup.Version2)
	control := m.path("two/svc/cgroup.subtree_control")
	if err := errors.Join(os.Remove(control), os.Mkdir(control, 0o755)); err != nil {
		t.Fatal(err)
	}
	if err := tree.Take("g1", false); err == nil {
		t.Error("no error")
	}
	if m.exists("two/svc/us-supervisor") || m.text("two/svc/cgroup.procs") != "4711" {
		t.Error("the process was not moved back")
	}
}

// sleeper is a process that a dead supervisor has left.
func sleeper(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("/bin/sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	return cmd.Process.Pid
}

func TestLeftoversAreRemovedAndNothingElse(t *testing.T) {
	m := newMachine(t)
	for _, name := range []string{"us-g0-w1", "us-g0-w2", "us-g0-w2/own", "user-g0-w1", "web"} {
		if err := m.mkdir(m.path("two/svc", name)); err != nil {
			t.Fatal(err)
		}
	}
	left := sleeper(t)
	m.put("two/svc/us-g0-w2/own/cgroup.procs", strconv.Itoa(left))
	m.taken(cgroup.Version2)
	if m.exists("two/svc/us-g0-w1") || m.exists("two/svc/us-g0-w2") {
		t.Error("left behind")
	}
	if !m.exists("two/svc/user-g0-w1") || !m.exists("two/svc/web") || !m.exists("two/svc/us-supervisor") {
		t.Error("more than the leftovers was removed")
	}
	for deadline := time.Now().Add(2 * time.Second); syscall.Kill(left, 0) == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("what lived in a leftover still does")
		}
	}
}

func TestSuccessorTakesTheSameGroup(t *testing.T) {
	m := newMachine(t)
	old := m.taken(cgroup.Version2)
	theirs, err := old.New(1 << 30)
	if err != nil {
		t.Fatal(err)
	}
	// Born by the old one, in its leaf, while that still runs.
	m.put("proc/self/cgroup", "0::/svc/us-supervisor\n")
	m.put("two/svc/us-supervisor/cgroup.procs", "4000\n4711\n")
	m.put("two/svc/cgroup.procs", "")
	tree := m.found(cgroup.Version2)
	if tree.Dir() != m.path("two/svc") {
		t.Fatalf("found %s", tree.Dir())
	}
	if err := tree.Take("g2", true); err != nil {
		t.Fatal(err)
	}
	if m.exists("two/svc/us-supervisor/us-supervisor") || !m.exists("two/svc", filepath.Base(theirs.Path())) {
		t.Errorf("after the take: %q", m.snapshot())
	}
	ours, err := tree.New(1 << 30)
	if err != nil || ours.Path() == theirs.Path() {
		t.Errorf("%s, %v", ours.Path(), err)
	}
}

// What the machine that runs this test has, for real, if it has anything that is
// this process's alone.
func TestOnThisMachine(t *testing.T) {
	tree, err := cgroup.Find("coordinator-test")
	if err != nil {
		t.Skip(err)
	}
	if err := tree.Take("g1", false); err != nil {
		t.Skip(err)
	}
	defer func() {
		if err := tree.Release(); err != nil {
			t.Error(err)
		}
	}()
	g, err := tree.New(64 << 20)
	if err != nil {
		t.Fatal(err)
	}
	pid := sleeper(t)
	if err := g.Add(pid); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(g.Path()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
}
