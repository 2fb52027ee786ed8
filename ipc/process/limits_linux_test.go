package process_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/ipc/process"
)

func init() {
	roles["eat"] = func(a []string) { // so many MiB, and then nothing more
		ready()
		mib, _ := strconv.Atoi(a[0])
		var eaten [][]byte
		for range mib {
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			eaten = append(eaten, b)
		}
		fmt.Println("eaten", len(eaten))
		forever()
	}
	roles["open"] = func([]string) { // files, as many as it may, when it is signalled
		ready()
		var line [1]byte
		_, _ = os.NewFile(3, "go").Read(line[:])
		var files []*os.File
		for {
			f, err := os.Open(os.DevNull)
			if err != nil {
				fmt.Println(len(files), errors.Is(err, syscall.EMFILE))
				forever()
			}
			files = append(files, f)
		}
	}
}

func TestMemoryBeyondTheLimitKills(t *testing.T) {
	s := spec(t, "eat", "1024")
	s.Memory = 256 << 20
	p := start(t, s)
	within(t, p.Done(), 20*time.Second, "killed")
	if st := p.State(); !st.OutOfMemory || st.Signal != syscall.SIGKILL || st.Success() {
		t.Errorf("state %+v", st)
	}
	if err := p.Err(); err == nil || !strings.Contains(err.Error(), "out of memory") {
		t.Errorf("error %v", err)
	}
}

func TestMemoryBelowTheLimitIsLeftAlone(t *testing.T) {
	var lines sink
	s := spec(t, "eat", "8")
	s.Memory, s.Line = 1<<30, lines.put
	p := start(t, s)
	eventually(t, 10*time.Second, "eaten", func() bool { return len(lines.texts(process.Stdout)) > 0 })
	select {
	case <-p.Done():
		t.Fatalf("ended: %v", p.State())
	case <-time.After(600 * time.Millisecond): // two looks
	}
	_ = p.KillGroup()
	within(t, p.Drained(), 2*time.Second, "drained")
	if p.State().OutOfMemory {
		t.Error("a kill by hand is taken for one for memory")
	}
}

func TestDescriptors(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	var lines sink
	s := spec(t, "open")
	s.ExtraFiles, s.Line = []*os.File{r}, lines.put
	p := start(t, s)
	greeted(t, p)
	before, err := process.DescriptorsOf(p.Pid())
	if err != nil || before < 4 || before > 50 {
		t.Errorf("%d descriptors, %v", before, err)
	}
	if err := p.LimitDescriptors(100); err != nil {
		t.Fatal(err)
	}
	if err := p.LimitDescriptors(1 << 40); err != nil {
		t.Errorf("above the hard limit: %v", err)
	}
	fmt.Fprintln(w)
	eventually(t, 5*time.Second, "out of descriptors", func() bool { return len(lines.texts(process.Stdout)) > 0 })
	n, _ := strconv.Atoi(strings.Fields(lines.texts(process.Stdout)[0])[0])
	if now, err := process.DescriptorsOf(p.Pid()); err != nil || now < 100 || now > 110 || n < 80 || n > 96 { // some may be inherited, with high numbers
		t.Errorf("%d opened, %d descriptors, %v", n, now, err)
	}
	_ = p.KillGroup()
	within(t, p.Done(), 2*time.Second, "done")
	if err := p.LimitDescriptors(100); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("after its end: %v", err)
	}
}

// group notes what is asked of it.
type group struct {
	mu     sync.Mutex
	calls  []string
	open   error
	add    error
	killed bool
}

func (g *group) note(call string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls = append(g.calls, call)
}

func (g *group) Open() (*os.File, error) { g.note("open"); return nil, g.open }
func (g *group) Add(pid int) error       { g.note("add " + strconv.Itoa(pid)); return g.add }
func (g *group) OOMKilled() bool         { g.note("killed?"); return g.killed }
func (g *group) Close() error            { g.note("close"); return nil }

func (g *group) want(t *testing.T, calls ...string) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if !slices.Equal(g.calls, calls) {
		t.Errorf("asked %q, want %q", g.calls, calls)
	}
}

func TestGroupLivesAsLongAsItsProcess(t *testing.T) {
	g := &group{killed: true}
	s := spec(t, "idle")
	s.Group = g
	p := start(t, s)
	greeted(t, p)
	added := "add " + strconv.Itoa(p.Pid())
	g.want(t, "open", added)
	_ = p.Signal(syscall.SIGKILL)
	within(t, p.Drained(), 2*time.Second, "drained")
	g.want(t, "open", added, "killed?", "close")
	if !p.State().OutOfMemory {
		t.Errorf("state %+v", p.State())
	}
}

func TestExitIsNoKillForMemory(t *testing.T) {
	g := &group{killed: true} // a child of it was killed, say
	s := spec(t, "exit", "3")
	s.Group = g
	p := start(t, s)
	within(t, p.Drained(), 5*time.Second, "drained")
	if st := p.State(); st.OutOfMemory || st.Code != 3 {
		t.Errorf("state %+v", st)
	}
}

func TestGroupEndsWithAStartThatFails(t *testing.T) {
	missing := spec(t, "idle")
	missing.Path = "/nonexistent/binary"
	for name, test := range map[string]struct {
		group *group
		spec  process.Spec
		asks  int
	}{
		"no binary":     {&group{}, missing, 2},
		"cannot open":   {&group{open: errors.New("no")}, spec(t, "idle"), 2},
		"cannot be put": {&group{add: errors.New("no")}, spec(t, "idle"), 4},
	} {
		t.Run(name, func(t *testing.T) {
			test.spec.Group = test.group
			if p, err := process.Start(t.Context(), test.spec); err == nil {
				t.Fatalf("started %d", p.Pid())
			}
			if calls := test.group.calls; len(calls) != test.asks || calls[len(calls)-1] != "close" {
				t.Errorf("asked %q", calls)
			}
		})
	}
}
