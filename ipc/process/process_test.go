package process_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/ipc/process"
)

func TestExitCode(t *testing.T) {
	for _, code := range []int{0, 1, 3, 255} {
		p := start(t, spec(t, "exit", strconv.Itoa(code)))
		within(t, p.Done(), 5*time.Second, "done")
		s := p.State()
		if s.Code != code || s.Signal != 0 || s.Unknown != nil || s.Success() != (code == 0) {
			t.Errorf("exit %d: state %+v", code, s)
		}
		if s.User+s.System <= 0 {
			t.Errorf("exit %d: no CPU time in %+v", code, s)
		}
		exit, ok := errors.AsType[*process.ExitError](p.Err())
		if ok != (code != 0) || ok && exit.State.Code != code {
			t.Errorf("exit %d: error %v", code, p.Err())
		}
		if err := p.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("signal after the end: %v", err)
		}
		if err := p.KillGroup(); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("kill after the end: %v", err)
		}
	}
}

func TestKilledBySignal(t *testing.T) {
	p := start(t, spec(t, "idle"))
	greeted(t, p)
	if p.Err() != nil || p.State() != (process.State{}) {
		t.Errorf("running, and state %v, error %v", p.State(), p.Err())
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	within(t, p.Done(), 2*time.Second, "done")
	if s := p.State(); s.Signal != syscall.SIGKILL || s.Code != -1 || s.String() != "signal: killed" {
		t.Errorf("state %+v", s)
	}
}

func TestKillGroupOfStopped(t *testing.T) {
	p := start(t, spec(t, "idle"))
	greeted(t, p)
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Done():
		t.Fatal("a stop was taken for an end")
	case <-time.After(50 * time.Millisecond):
	}
	if err := p.KillGroup(); err != nil {
		t.Fatal(err)
	}
	within(t, p.Done(), time.Second, "done")
}

func TestGrandchildrenDieWithTheGroup(t *testing.T) {
	for _, how := range []string{"stay", "leave"} {
		t.Run(how, func(t *testing.T) {
			w, gone := tether(t)
			s := spec(t, "grandchild", how)
			s.ExtraFiles = []*os.File{w}
			p := start(t, s)
			w.Close()
			greeted(t, p)
			if how == "stay" {
				if err := p.KillGroup(); err != nil {
					t.Fatal(err)
				}
			}
			within(t, p.Done(), 2*time.Second, "done")
			within(t, gone, 2*time.Second, "rid of the grandchild")
		})
	}
}

// A descendant in a session of its own keeps stdout; the end must not wait for it.
func TestGrandchildHoldsStdout(t *testing.T) {
	w, gone := tether(t)
	var lines sink
	s := spec(t, "grandchild", "escape")
	s.ExtraFiles, s.Line = []*os.File{w}, lines.put
	p := start(t, s)
	w.Close()
	within(t, p.Done(), 2*time.Second, "done")
	within(t, p.Drained(), 2*time.Second, "drained")
	texts := lines.texts(process.Stdout)
	if len(texts) != 1 {
		t.Fatalf("lines %q", texts)
	}
	select {
	case <-gone:
		t.Error("the descendant was not alive: nothing was tested")
	default:
	}
	pid, err := strconv.Atoi(texts[0])
	if err != nil {
		t.Fatal(err)
	}
	syscall.Kill(pid, syscall.SIGKILL)
	within(t, gone, 2*time.Second, "rid of the descendant")
}

func TestParentKilled(t *testing.T) {
	for _, c := range []struct{ name, role, fd string }{
		{"lifeline alone", "lifeline", "3"},
		{"parent-death signal alone", "idle", "0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, gone := tether(t)
			s := spec(t, "parent", c.role, c.fd)
			s.ExtraFiles = []*os.File{w}
			p := start(t, s)
			w.Close()
			if greeted(t, p) == "" {
				t.Fatal("the parent did not start its child")
			}
			// The parent alone: its child is in a group of its own, where our
			// sweep of the parent's group does not reach.
			if err := p.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			within(t, p.Done(), 2*time.Second, "done")
			within(t, gone, 2*time.Second, "rid of the child")
		})
	}
}

func TestLifelineStaysOpen(t *testing.T) {
	s := spec(t, "lifeline")
	s.Lifeline = 3
	p := start(t, s)
	greeted(t, p)
	// Another child must not hold a copy of the write end, nor end the first.
	q := start(t, spec(t, "exit", "0"))
	within(t, q.Drained(), 2*time.Second, "drained")
	select {
	case <-p.Done():
		t.Fatalf("ended with the parent alive: %v", p.State())
	case <-time.After(50 * time.Millisecond):
	}
}

func TestLifelinePlace(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, c := range []struct {
		files []*os.File
		fd    int
		ok    bool
	}{
		{nil, 3, true}, {nil, 4, false}, {nil, 2, false}, {nil, -1, false},
		{[]*os.File{f}, 3, false}, {[]*os.File{f}, 4, true}, {[]*os.File{nil, f}, 3, true},
	} {
		s := spec(t, "exit", "0")
		s.ExtraFiles, s.Lifeline = c.files, c.fd
		p, err := process.Start(t.Context(), s)
		if (err == nil) != c.ok {
			t.Errorf("lifeline %d with %d files: %v", c.fd, len(c.files), err)
		}
		if err == nil {
			within(t, p.Drained(), 5*time.Second, "drained")
		}
	}
}

func TestEnvironmentIsExactlyTheSpec(t *testing.T) {
	t.Setenv("SECRET", "of the parent")
	var lines sink
	s := spec(t, "env")
	s.Env, s.Line = []string{"ROLE=env", "A=1", "B=x=y z"}, lines.put
	p := start(t, s)
	within(t, p.Drained(), 5*time.Second, "drained")
	if got := lines.texts(process.Stdout); !slices.Equal(got, s.Env) {
		t.Errorf("environment %q", got)
	}
}

// An empty environment is not the parent's: this child finds no ROLE and is a
// test binary that lists nothing.
func TestNilEnvironmentIsEmpty(t *testing.T) {
	t.Setenv("ROLE", "exit") // inherited, it would crash for lack of a code
	s := process.Spec{Path: self(t), Args: []string{"child", "-test.run=^$"}}
	p := start(t, s)
	within(t, p.Done(), 10*time.Second, "done")
	if !p.State().Success() {
		t.Errorf("state %v", p.State())
	}
}

func TestArgsDirStdin(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var lines sink
	s := spec(t, "args")
	s.Args, s.Dir, s.Line = []string{"worker", "a", "b"}, dir, lines.put
	p := start(t, s)
	within(t, p.Drained(), 5*time.Second, "drained")
	if got, want := lines.texts(process.Stdout), "worker a b "+dir+" 0 true"; !slices.Equal(got, []string{want}) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestBinaryMissingOrNotExecutable(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	text := filepath.Join(dir, "text")
	for path, mode := range map[string]fs.FileMode{plain: 0o644, text: 0o755} {
		if err := os.WriteFile(path, []byte("not a program"), mode); err != nil {
			t.Fatal(err)
		}
	}
	before := descriptors(t)
	for _, c := range []struct {
		spec process.Spec
		want error
	}{
		{process.Spec{Path: filepath.Join(dir, "missing")}, fs.ErrNotExist},
		{process.Spec{Path: plain}, fs.ErrPermission},
		{process.Spec{Path: text}, syscall.ENOEXEC},
		{process.Spec{Path: dir}, fs.ErrPermission},
		{process.Spec{Path: self(t), Dir: filepath.Join(dir, "nowhere")}, fs.ErrNotExist},
	} {
		p, err := process.Start(t.Context(), c.spec)
		if p != nil || !errors.Is(err, c.want) {
			t.Errorf("start %+v: %v, want %v", c.spec, err, c.want)
		}
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func TestBinaryReplacedWhileRunning(t *testing.T) {
	path := filepath.Join(t.TempDir(), "worker")
	copyFile(t, self(t), path)
	s := spec(t, "deaf")
	s.Path = path
	old := start(t, s)
	greeted(t, old)

	next := path + ".new"
	if err := os.WriteFile(next, []byte("#!/nonexistent\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
	if _, err := process.Start(t.Context(), s); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("start of the replaced binary: %v", err)
	}
	if err := old.Signal(0); err != nil {
		t.Errorf("the running one: %v", err)
	}
}

func TestIgnoreSignals(t *testing.T) {
	var lines sink
	s := spec(t, "deaf")
	s.Line = lines.put
	p := start(t, s)
	eventually(t, 5*time.Second, "deaf", func() bool { return len(lines.all()) > 0 })
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		if err := p.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-p.Done():
		t.Fatalf("a worker that ignores signals ended: %v", p.State())
	case <-time.After(50 * time.Millisecond):
	}
}

func TestStartIsBoundedAndALateChildDies(t *testing.T) {
	w, gone := tether(t)
	s := spec(t, "silent")
	s.ExtraFiles = []*os.File{w}
	release := process.HoldForks()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	// The first holds the forking thread, the second waits for it.
	for range 2 {
		p, err := process.Start(ctx, s)
		if p != nil || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("start while forks hang: %v", err)
		}
	}
	release()
	// The one that got through is forked now; it must not live. Another start
	// behind it in the same thread shows that it was.
	p := start(t, spec(t, "exit", "0"))
	within(t, p.Done(), 5*time.Second, "done")
	w.Close()
	within(t, gone, 5*time.Second, "rid of the late child")
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	r, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(w, r)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
}

// descriptors counts those of this process.
func descriptors(t testing.TB) int {
	t.Helper()
	names, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

func ExampleStart() {
	p, err := process.Start(context.Background(), process.Spec{
		Path: "/bin/sh",
		Args: []string{"sh", "-c", "echo hello; echo oops >&2; exit 3"},
		Line: func(l process.Line) { fmt.Println(l.Stream, l.Text) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	first, _ := io.ReadAll(p.Stdout())
	<-p.Drained()
	fmt.Printf("first line: %s", first)
	fmt.Println(p.State())
	// Output:
	// stderr oops
	// first line: hello
	// exit status 3
}
