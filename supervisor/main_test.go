package supervisor_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/breaker"
)

// The test binary is the worker of its own tests.
func TestMain(m *testing.M) {
	if os.Getenv("WORKER_BULKHEAD") != "" {
		ipc.Server{Handler: workerHandler(), ReportsStage: true}.Serve()
		return
	}
	flag.Parse()
	_ = flag.Set("test.parallel", "4") // those that run beside others wait for clocks, not for processors
	os.Exit(m.Run())
}

// workerHandler misbehaves as the path says, so that a test needs no backend.
func workerHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, os.Getenv("WORKER_BULKHEAD")) })
	mux.HandleFunc("/{name}/hang", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("sent") != "" {
			exchange.From(r.Context()).Sent()
		}
		if dir := r.FormValue("dir"); dir != "" { // by which a test sees that it is here, and where
			if f, err := os.CreateTemp(dir, strconv.Itoa(os.Getpid())+"-"); err == nil {
				f.Close()
			}
		}
		<-r.Context().Done()
	})
	mux.HandleFunc("/{name}/bytes", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.FormValue("n"))
		w.Header().Set("Content-Length", strconv.Itoa(n))
		w.Write(make([]byte, n))
	})
	mux.HandleFunc("/{name}/stall", func(w http.ResponseWriter, r *http.Request) {
		exchange.From(r.Context()).Answered()
		if kind := r.FormValue("type"); kind != "" {
			w.Header().Set("Content-Type", kind)
		}
		io.WriteString(w, "begun")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("/{name}/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := 0; ; i++ {
			if _, err := fmt.Fprintf(w, "data: %d\n\n", i); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	mux.HandleFunc("/{name}/upgrade", func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		io.Copy(c, rw)
	})
	mux.HandleFunc("/{name}/status", func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.FormValue("code"))
		w.WriteHeader(code)
	})
	mux.HandleFunc("/{name}/fault", func(w http.ResponseWriter, r *http.Request) {
		rep := exchange.From(r.Context())
		if r.FormValue("sent") != "" {
			rep.Sent()
		}
		ipc.Fail(w, &exchange.Error{Fault: exchange.Fault(r.FormValue("fault")), Err: io.ErrUnexpectedEOF})
	})
	mux.HandleFunc("/{name}/echo", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	mux.HandleFunc("/{name}/sum", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			ipc.Fail(w, err)
			return
		}
		fmt.Fprint(w, n)
	})
	mux.HandleFunc("/{name}/drip", func(w http.ResponseWriter, r *http.Request) { // as many bytes as deciseconds
		n, _ := strconv.Atoi(r.FormValue("n"))
		for range n {
			io.WriteString(w, ".")
			w.(http.Flusher).Flush()
			time.Sleep(100 * time.Millisecond)
		}
	})
	mux.HandleFunc("/{name}/sip", func(w http.ResponseWriter, r *http.Request) { // 4 KiB in a decisecond
		var sum int64
		for {
			n, err := io.CopyN(io.Discard, r.Body, 4<<10)
			if sum += n; err != nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		fmt.Fprint(w, sum)
	})
	mux.HandleFunc("/{name}/pay", pay)
	mux.HandleFunc("/{name}/trailer", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, r.Trailer.Get(r.FormValue("name")))
	})
	mux.HandleFunc("/{name}/env", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, os.Getenv(r.FormValue("key"))) })
	mux.HandleFunc("/{name}/eat", func(w http.ResponseWriter, r *http.Request) { // until it is killed
		var eaten [][]byte
		for r.Context().Err() == nil {
			b := make([]byte, 8<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			eaten = append(eaten, b)
			time.Sleep(10 * time.Millisecond)
		}
		fmt.Fprint(w, len(eaten))
	})
	mux.HandleFunc("/{name}/deadlock", deadlock)
	mux.HandleFunc("/{name}/once", func(w http.ResponseWriter, r *http.Request) { // dies, until a file is there
		if f, err := os.OpenFile(r.FormValue("file"), os.O_CREATE|os.O_EXCL, 0o600); err == nil {
			f.Close()
			os.Exit(1)
		}
		io.WriteString(w, "well")
	})
	mux.HandleFunc("/{name}/legacy/", legacy)
	mux.HandleFunc("/{name}/exit", func(w http.ResponseWriter, r *http.Request) { os.Exit(1) })
	return mux
}

// legacy is a backend whose state is the content of a file: empty is well, a
// status is what it answers, a fault how it fails. Its answers say whose they are
// and that no two are the same. The query sets fields of them.
func legacy(w http.ResponseWriter, r *http.Request) {
	state, err := os.ReadFile(os.Getenv("LEGACY"))
	if err != nil {
		panic(err)
	}
	if status, err := strconv.Atoi(string(state)); err == nil {
		http.Error(w, "this is no answer", status)
		return
	}
	if fault := exchange.Fault(state); fault != "" {
		if fault != exchange.BackendRefused {
			exchange.From(r.Context()).Sent()
		}
		ipc.Fail(w, &exchange.Error{Fault: fault, Err: io.ErrUnexpectedEOF})
		return
	}
	for name, values := range r.URL.Query() {
		if http.CanonicalHeaderKey(name) == name {
			w.Header()[name] = values
		}
	}
	if r.FormValue("json") != "" {
		w.Header().Set("Content-Type", "application/json")
		legacyJSON(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	body := fmt.Sprintf("%s of %q at %d", r.URL.Path, r.Header.Get("Authorization"), time.Now().UnixNano())
	for file := r.FormValue("until"); file != "" && r.Method == "GET" && r.Context().Err() == nil; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(file); err == nil {
			break
		}
	}
	if name := r.FormValue("says"); name != "" {
		body = r.Header.Get(name)
	}
	io.WriteString(w, body)
	if n, _ := strconv.Atoi(r.FormValue("n")); n > 0 {
		w.Write(make([]byte, n))
	}
}

// legacyJSON answers {"at": TIME}, and that the user is whoever asks; with the path
// that ends in /drifts, now as a number and now as a text.
func legacyJSON(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	var value any = at.Nanosecond()
	if strings.HasSuffix(r.URL.Path, "/drifts") && at.Nanosecond()/1000%2 == 0 {
		value = at.String()
	}
	body, err := json.Marshal(map[string]any{"user": r.Header.Get("Authorization"), "at": value})
	if err != nil {
		panic(err)
	}
	var out io.Writer = w
	if r.Header.Get("Accept-Encoding") == "gzip" {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		defer z.Close()
		out = z
	}
	out.Write(body)
}

// deadlock does not even notice that its request is over.
func deadlock(http.ResponseWriter, *http.Request) { select {} }

// bulkhead is a configuration of one bulkhead, routed by its name.
func bulkhead(name string, change ...func(*supervisor.BulkheadConfig)) supervisor.BulkheadConfig {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	c := supervisor.BulkheadConfig{
		Name: name, Routes: []supervisor.Route{{Prefix: "/" + name}},
		Worker: supervisor.WorkerConfig{Kind: exe, Env: quick()}, Workers: 1,
		RestartBudget: supervisor.RestartBudget{Faults: 50, Per: time.Minute},
		Limit:         8, Queue: 4, QueueTimeout: time.Second, UpgradeLimit: 2, MaxBody: 1 << 20,
		Timeout: 10 * time.Second, IdleTimeout: 10 * time.Second,
		Breaker: breaker.Settings{
			Window: 10 * time.Second, MinCalls: 5, FailureRatio: 0.5, SlowRatio: 1, OpenFor: time.Second, Probes: 1,
		},
		BreakerMode: breaker.Auto, BreakerStatus: []int{500, 502, 503, 504},
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

// quick is the environment of test workers: the race detector would have each
// process sleep for a second at its end.
func quick(more ...string) map[string]string {
	env := map[string]string{"GORACE": "atexit_sleep_ms=0"}
	for _, name := range more {
		env[name] = "1"
	}
	return env
}

// running is a supervisor under test.
type running struct {
	*supervisor.Supervisor
	t    testing.TB
	addr string
	stop func() error

	socket string // of the admin API
}

type option func(*supervisor.Options)

func start(t testing.TB, bulkheads []supervisor.BulkheadConfig, options ...option) *running {
	t.Helper()
	dir, err := os.MkdirTemp("", "sv")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	serving := make(chan struct{})
	o := supervisor.Options{
		Config: supervisor.Config{
			Listen: []string{"127.0.0.1:0"}, AdminSocket: filepath.Join(dir, "admin.sock"),
			StateDir: filepath.Join(dir, "state"), RuntimeDir: filepath.Join(dir, "run"),
			Bulkheads: bulkheads, DrainTimeout: 10 * time.Second, Conns: 1000,
		},
		BuiltIn: func(string, string, int) (string, []string, bool) { return "", nil, false },
		Log:     hclog.New(&hclog.LoggerOptions{Output: testLog{t}, Level: hclog.Info}),
		Serving: func() { close(serving) },
	}
	for _, f := range options {
		f(&o)
	}
	s, err := supervisor.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	hard, kill := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, hard) }()
	r := &running{Supervisor: s, t: t, socket: o.Config.AdminSocket}
	r.stop = func() error {
		cancel()
		select {
		case err := <-ended:
			ended <- err
			return err
		case <-time.After(30 * time.Second):
			kill()
			return fmt.Errorf("the supervisor did not stop: %w", <-ended)
		}
	}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		kill()
	})
	select {
	case <-serving:
	case err := <-ended:
		t.Fatal(err)
	case <-time.After(30 * time.Second):
		t.Fatal("the supervisor does not serve")
	}
	r.addr = s.Status().Listen[0]
	return r
}

type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// get asks over a fresh connection.
func (r *running) get(target string, fields ...string) (*http.Response, string) {
	r.t.Helper()
	return r.do("GET", target, nil, fields...)
}

func (r *running) do(method, target string, body io.Reader, fields ...string) (*http.Response, string) {
	r.t.Helper()
	req, err := http.NewRequest(method, "http://"+r.addr+target, body)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Add(fields[i], fields[i+1])
	}
	tr := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, target, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatalf("%s %s: body: %v", method, target, err)
	}
	return resp, string(b)
}

// reason asks and returns the problem's reason, or the status.
func (r *running) reason(method, target string, body io.Reader) string {
	r.t.Helper()
	resp, b := r.do(method, target, body)
	var p struct{ Reason string }
	if resp.Header.Get("Content-Type") != "application/problem+json" || json.Unmarshal([]byte(b), &p) != nil {
		return resp.Status[:3]
	}
	return p.Reason
}

// raw opens a connection and writes to it.
func (r *running) raw(text string) (net.Conn, *bufio.Reader) {
	r.t.Helper()
	nc, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(nc, text); err != nil {
		r.t.Fatal(err)
	}
	return nc, bufio.NewReader(nc)
}

// bulkhead is the state of one of them.
func (r *running) bulkhead(name string) supervisor.BulkheadStatus {
	r.t.Helper()
	for _, b := range r.Status().Bulkheads {
		if b.Name == name {
			return b
		}
	}
	r.t.Fatalf("no bulkhead %s", name)
	return supervisor.BulkheadStatus{}
}

// eventually polls until ok.
func eventually(t testing.TB, d time.Duration, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(d); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", d, what)
		}
	}
}

func insecure() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }
