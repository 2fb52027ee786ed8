package process_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"commerce.example/coordinator/ipc/process"
)

// The test binary is the child: ROLE says what it does.
func TestMain(m *testing.M) {
	role, ok := os.LookupEnv("ROLE")
	if !ok {
		os.Exit(m.Run())
	}
	play, ok := roles[role]
	if !ok {
		fmt.Fprintln(os.Stderr, "no such role:", role)
		os.Exit(99)
	}
	play(os.Args[1:])
}

var roles = map[string]func(args []string){
	"exit": func(a []string) {
		code, _ := strconv.Atoi(a[0])
		os.Exit(code)
	},
	"idle":   func([]string) { ready(); forever() },
	"silent": func([]string) { forever() },
	"env": func([]string) {
		ready()
		for _, kv := range os.Environ() {
			fmt.Println(kv)
		}
	},
	"args": func([]string) {
		ready()
		wd, _ := os.Getwd()
		n, err := os.Stdin.Read(make([]byte, 1))
		fmt.Println(strings.Join(os.Args, " "), wd, n, err == io.EOF)
	},
	"echo": func(a []string) { // stdout, then stderr, unquoted from Go syntax
		for i, w := range []*os.File{os.Stdout, os.Stderr} {
			text, err := strconv.Unquote(a[i])
			if err != nil {
				os.Exit(98)
			}
			io.WriteString(w, text)
		}
	},
	"flood":      func(a []string) { flood(a[0], "0123456789abcdef\n", a[1]) },
	"endless":    func(a []string) { flood(a[0], "0123456789abcdef", a[1]) },
	"garbage":    garbage,
	"deaf":       func([]string) { ready(); process.IgnoreSignals(); fmt.Println("deaf"); forever() },
	"grandchild": grandchild,
	"lifeline": func([]string) {
		gone := process.Lifeline(3)
		withoutParentDeathSignal()
		ready()
		<-gone
		os.Exit(7)
	},
	"parent": parent,
}

func ready()   { fmt.Println("1|1|unix|/nowhere|grpc") }
func forever() { time.Sleep(time.Hour) } // dies by the test's hand, or with it

func flood(stream, unit, count string) {
	w, chunk := os.Stdout, bytes.Repeat([]byte(unit), 4096)
	if stream == "stderr" {
		w = os.Stderr
	}
	n, _ := strconv.Atoi(count)
	ready()
	for n > 0 {
		k, err := w.Write(chunk[:min(n, len(chunk))])
		if err != nil {
			os.Exit(1)
		}
		n -= k
	}
}

func garbage([]string) {
	b := make([]byte, 2<<20)
	for i := range b {
		if b[i] = byte(i * 7); b[i] == '\n' {
			b[i] = 0
		}
	}
	os.Stdout.Write(b)
	fmt.Println()
	ready()
	forever()
}

// grandchild starts one that never ends. Descriptor 3 goes down to it; "escape"
// also has it keep stdout and leave the group, "leave" has the child exit.
func grandchild(a []string) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{"ROLE=silent"}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{os.NewFile(3, "tether")}
	if a[0] == "escape" {
		newSession(cmd)
	}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(97)
	}
	ready()
	fmt.Println(cmd.Process.Pid)
	if a[0] != "stay" {
		os.Exit(0)
	}
	forever()
}

// parent is a supervisor to be killed. Its child gets descriptor 3, and the role
// and lifeline that a names.
func parent(a []string) {
	fd, _ := strconv.Atoi(a[1])
	files := []*os.File{nil, os.NewFile(3, "tether")}
	p, err := process.Start(context.Background(), process.Spec{
		Path: os.Args[0], Env: []string{"ROLE=" + a[0]}, ExtraFiles: files, Lifeline: fd,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(96)
	}
	if _, err := bufio.NewReader(p.Stdout()).ReadString('\n'); err != nil {
		os.Exit(95)
	}
	files[1].Close()
	ready()
	forever()
}

// sink collects lines.
type sink struct {
	mu    sync.Mutex
	lines []process.Line
}

func (s *sink) put(l process.Line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, l)
}

func (s *sink) all() []process.Line {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]process.Line(nil), s.lines...)
}

func (s *sink) texts(stream process.Stream) (texts []string) {
	for _, l := range s.all() {
		if l.Stream == stream {
			texts = append(texts, l.Text)
		}
	}
	return texts
}

func self(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func spec(t testing.TB, role string, args ...string) process.Spec {
	path := self(t)
	return process.Spec{Path: path, Args: append([]string{path}, args...), Env: []string{
		"ROLE=" + role,
		"GORACE=atexit_sleep_ms=0", // the race detector's default is a second at each exit
	}}
}

// start starts s and has it gone when the test ends.
func start(t testing.TB, s process.Spec) *process.Process {
	t.Helper()
	p, err := process.Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.KillGroup()
		within(t, p.Drained(), 5*time.Second, "drained")
	})
	return p
}

func within(t testing.TB, c <-chan struct{}, d time.Duration, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(d):
		t.Fatalf("not %s within %v", what, d)
	}
}

// greeted waits for the first line of stdout.
func greeted(t testing.TB, p *process.Process) string {
	t.Helper()
	line := make(chan string, 1)
	go func() {
		s, _ := bufio.NewReader(p.Stdout()).ReadString('\n')
		line <- s
	}()
	select {
	case s := <-line:
		return s
	case <-time.After(10 * time.Second):
		t.Fatal("no first line, no end of stdout")
		return ""
	}
}

// eventually polls until ok.
func eventually(t testing.TB, d time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", d, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// tether is a pipe whose write end only the children of a test hold: gone closes
// when the last of them has ended.
func tether(t testing.TB) (w *os.File, gone <-chan struct{}) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := make(chan struct{})
	go func() {
		io.Copy(io.Discard, r)
		close(c)
	}()
	t.Cleanup(func() { w.Close(); r.Close(); <-c })
	return w, c
}
