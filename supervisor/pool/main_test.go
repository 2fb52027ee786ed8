package pool_test

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/ipc/process"
	"commerce.example/coordinator/supervisor/pool"
)

// TestMain makes the test binary the worker, and the supervisor, of its tests.
const (
	roleKey = "POOL_TEST_ROLE"
	dirKey  = "POOL_TEST_DIR"            // for files by which a test and its workers talk
	raceKey = "GORACE=atexit_sleep_ms=0" // the detector holds up each exit for a second otherwise
)

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleKey); role {
	case "":
		// What the first process of all makes, and every later one uses.
		p, err := process.Start(context.Background(), process.Spec{Path: "/bin/true"})
		if err != nil {
			panic(err)
		}
		<-p.Drained()
		flag.Parse()
		_ = flag.Set("test.parallel", "4") // those that run beside others wait for clocks, not for processors
		fds, goroutines := descriptors(), runtime.NumGoroutine()
		code := m.Run()
		if left := counts(fds, goroutines); left != "" {
			fmt.Println("left by the tests that ran beside others:", left)
			code = 1
		}
		os.Exit(code)
	case "supervisor":
		supervise()
	default:
		work(role)
	}
}

func work(role string) {
	server := ipc.Server{Handler: handler(), Version: "test-1"}
	switch role {
	case "good":
	case "exits":
		os.Exit(3)
	case "ends": // with status 0
	case "garbage": // before the handshake
		fmt.Println(strings.Repeat("x", 1<<20))
		select {}
	case "silent": // never gets ready
		select {}
	case "alone": // proves that no other of its kind starts at the same time
		alone()
	case "stubborn": // does not end when asked
		server.Drain = func(context.Context) error { select {} }
	case "grandchild":
		child := exec.Command("/bin/sleep", "60")
		if err := child.Start(); err != nil {
			panic(err)
		}
		note("grandchild", strconv.Itoa(child.Process.Pid))
	}
	if role != "ends" {
		server.Serve()
	}
}

func note(name, text string) {
	if err := os.WriteFile(filepath.Join(os.Getenv(dirKey), name), []byte(text), 0o600); err != nil {
		panic(err)
	}
}

func alone() {
	lock := filepath.Join(os.Getenv(dirKey), "starting")
	f, err := os.OpenFile(lock, os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		note("overlap", err.Error())
		return
	}
	f.Close()
	time.Sleep(50 * time.Millisecond) // a slow start
	os.Remove(lock)
}

func handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, os.Getpid()) })
	mux.HandleFunc("/hang", func(w http.ResponseWriter, r *http.Request) {
		note("hanging-"+r.FormValue("id"), "")
		<-r.Context().Done()
	})
	mux.HandleFunc("/until", func(w http.ResponseWriter, r *http.Request) { // a file is there
		note("hanging-"+r.FormValue("id"), "")
		for r.Context().Err() == nil {
			if _, err := os.Stat(filepath.Join(os.Getenv(dirKey), r.FormValue("file"))); err == nil {
				fmt.Fprint(w, os.Getpid())
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	mux.HandleFunc("/leak", func(w http.ResponseWriter, r *http.Request) {
		leak(4 << 20)
		fmt.Fprint(w, os.Getpid())
	})
	mux.HandleFunc("/eat", func(w http.ResponseWriter, r *http.Request) { // until it is killed
		note("hanging-"+r.FormValue("id"), "")
		for r.Context().Err() == nil {
			leak(8 << 20)
			time.Sleep(10 * time.Millisecond)
		}
	})
	mux.HandleFunc("/files", func(w http.ResponseWriter, r *http.Request) {
		for range 20 {
			f, err := os.Open(os.DevNull)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			leaks.Lock()
			leaks.files = append(leaks.files, f)
			leaks.Unlock()
		}
		fmt.Fprint(w, os.Getpid())
	})
	return mux
}

// leaks are what a worker never gives back.
var leaks struct {
	sync.Mutex
	memory [][]byte
	files  []*os.File
}

func leak(bytes int) {
	b := make([]byte, bytes)
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	leaks.Lock()
	defer leaks.Unlock()
	leaks.memory = append(leaks.memory, b)
}

// beside is a test that runs beside others. Its pools share what a process has one
// of; what they leave of that is looked for at the end of all tests.
type beside struct{ *testing.T }

// waits lets a test which does little else do so beside others.
func waits(t *testing.T) testing.TB {
	t.Parallel()
	return beside{t}
}

// site is a pool under test, and what is seen of it.
type site struct {
	testing.TB
	*pool.Pool
	dir     string // of the workers' notes
	sockets string

	mu     sync.Mutex
	role   string // of the workers that start from now on
	starts int
	events []pool.Event
}

// open makes a pool of good workers. When the test ends it is stopped, and
// nothing of it may be left.
func open(t testing.TB, size int, change ...func(*pool.Config)) *site {
	t.Helper()
	s := newSite(t, "good")
	s.run(size, change...)
	return s
}

func newSite(t testing.TB, role string) *site {
	t.Helper()
	sockets, err := os.MkdirTemp("", "pool")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{TB: t, dir: t.TempDir(), sockets: sockets, role: role}
	t.Cleanup(func() { os.RemoveAll(sockets) })
	return s
}

func (s *site) run(size int, change ...func(*pool.Config)) {
	s.Helper()
	fds, goroutines := descriptors(), runtime.NumGoroutine()
	c := pool.Config{
		Size:         size,
		Spec:         s.spec,
		Budget:       func() pool.Budget { return pool.Budget{Faults: 5, Per: time.Minute} },
		DrainTimeout: func() time.Duration { return 30 * time.Second },
		StopTimeout:  5 * time.Second,
		Observe: func(e pool.Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.events = append(s.events, e)
		},
	}
	for _, f := range change {
		f(&c)
	}
	s.Pool = pool.New(c)
	s.Cleanup(func() {
		s.stop(5 * time.Second)
		s.nothingLeft(fds, goroutines)
	})
}

func (s *site) spec(int) (ipc.Spec, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.starts++
	exe, err := os.Executable()
	return ipc.Spec{
		Path: exe, Env: []string{roleKey + "=" + s.role, dirKey + "=" + s.dir, raceKey},
		SocketDir: s.sockets, StartTimeout: 10 * time.Second,
	}, err
}

func (s *site) become(role string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.role = role
}

// stop ends the pool, with no patience for its requests.
func (s *site) stop(within time.Duration) {
	s.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.within(within, "stop", func() { _ = s.Stop(ctx) })
}

func (s *site) nothingLeft(fds, goroutines int) {
	s.Helper()
	for _, e := range s.seen(pool.Started) {
		if alive(e.Pid) {
			s.Errorf("worker %d outlived its pool", e.Pid)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(s.sockets, "*")); len(left) > 0 {
		s.Errorf("left behind: %v", left)
	}
	if _, others := s.TB.(beside); others {
		return
	}
	if left := counts(fds, goroutines); left != "" {
		s.Error(left)
	}
}

// counts says what there is more of than so many descriptors and goroutines, also
// after a while.
func counts(fds, goroutines int) (left string) {
	if !poll(3*time.Second, func() bool { return descriptors() <= fds }) {
		left = fmt.Sprintf("%d descriptors, %d before\n", descriptors(), fds)
	}
	if !poll(3*time.Second, func() bool { return runtime.NumGoroutine() <= goroutines }) {
		var b strings.Builder
		_ = pprof.Lookup("goroutine").WriteTo(&b, 1)
		left += fmt.Sprintf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), goroutines, b.String())
	}
	return left
}

func descriptors() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0 // not Linux
	}
	return len(list)
}

// seen is every event of a kind so far.
func (s *site) seen(kind pool.Kind) (list []pool.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e.Kind == kind {
			list = append(list, e)
		}
	}
	return list
}

func (s *site) faults(cause pool.Cause) int {
	return len(slices.DeleteFunc(s.seen(pool.Faulted), func(e pool.Event) bool { return e.Cause != cause }))
}

func (s *site) states() (list []pool.State) {
	for _, w := range s.Status() {
		list = append(list, w.State)
	}
	return list
}

// await polls until each slot is in the state.
func (s *site) await(d time.Duration, state pool.State) {
	s.Helper()
	s.until(d, "every slot "+string(state), func() bool {
		return !slices.ContainsFunc(s.states(), func(is pool.State) bool { return is != state })
	})
}

func (s *site) until(d time.Duration, what string, ok func() bool) {
	s.Helper()
	begun := time.Now()
	if !poll(d, ok) {
		s.Fatalf("not within %v: %s; %+v", d, what, s.Status())
	}
	s.Logf("%s: %v", what, time.Since(begun).Round(time.Millisecond))
}

func (s *site) within(d time.Duration, what string, f func()) {
	s.Helper()
	begun, done := time.Now(), make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
		s.Logf("%s: %v", what, time.Since(begun).Round(time.Millisecond))
	case <-time.After(d):
		buf := make([]byte, 1<<20)
		s.Fatalf("%s: not over after %v\n%s", what, d, buf[:runtime.Stack(buf, true)])
	}
}

func (s *site) lease() pool.Lease {
	s.Helper()
	l, err := s.Lease(pool.Lease{})
	if err != nil {
		s.Fatal(err, s.Status())
	}
	return l
}

// ask sends a request with a lease and returns the answer's text.
func ask(l pool.Lease, path string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", "http://backend"+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := l.Worker().RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var b [100]byte
	n, _ := resp.Body.Read(b[:])
	return string(b[:n]), nil
}

type answer struct {
	text string
	err  error
}

// hold sends a request that lasts until the test, or a fault, ends it, and
// returns when the worker has it.
func (s *site) hold(l pool.Lease, path, id string) <-chan answer {
	s.Helper()
	done := make(chan answer, 1)
	go func() {
		defer l.Release()
		text, err := ask(l, path+"id="+id)
		done <- answer{text, err}
	}()
	s.until(5*time.Second, "request "+id+" in flight", func() bool {
		_, err := os.Stat(filepath.Join(s.dir, "hanging-"+id))
		return err == nil
	})
	return done
}

func (s *site) got(done <-chan answer, d time.Duration) answer {
	s.Helper()
	begun := time.Now()
	select {
	case a := <-done:
		s.Logf("answered after %v: %q %v", time.Since(begun).Round(time.Millisecond), a.text, a.err)
		return a
	case <-time.After(d):
		s.Fatalf("no answer within %v; %+v", d, s.Status())
		return answer{}
	}
}

func poll(d time.Duration, ok func() bool) bool {
	for deadline := time.Now().Add(d); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// alive reports whether a process exists and is no zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return runtime.GOOS != "linux" && syscall.Kill(pid, 0) == nil
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z")
}

func kill(t testing.TB, pid int, sig syscall.Signal) {
	t.Helper()
	if pid == 0 {
		t.Fatal("no worker to signal")
	}
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
}
