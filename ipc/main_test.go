package ipc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/ipc/process"
)

// TestMain makes the test binary the worker of its own tests: roleKey says
// which, and nothing of it runs otherwise.
const roleKey = "IPC_TEST_ROLE"

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleKey); role {
	case "":
		os.Exit(m.Run())
	case "reports":
		ipc.Server{Handler: handler(), ReportsStage: true, Version: "test-1"}.Serve()
	case "plain":
		ipc.Serve(handler())
	case "calls":
		ipc.Server{Handler: caller(), ReportsStage: true}.Serve()
	case "parent":
		parent()
	default:
		misbehave(role)
	}
}

// misbehave is a worker that does not keep to the rules.
func misbehave(role string) {
	switch role {
	case "silent": // never shakes hands
		signal.Ignore(syscall.SIGTERM)
		select {}
	case "exits":
		os.Exit(3)
	case "garbage": // before the handshake
		fmt.Println(strings.Repeat("x", 1<<20))
		select {}
	case "stuck": // does not end when asked
		ipc.Server{Handler: handler(), Drain: func(context.Context) error { select {} }}.Serve()
	case "flushes": // has something to do when it was served
		ipc.Serve(handler())
		time.Sleep(2500 * time.Millisecond)
	case "prints":
		fmt.Fprintln(os.Stderr, `{"@message": 1, "@level": {}, "@timestamp": []}`)
		fmt.Fprintln(os.Stderr, strings.Repeat("e", 1<<20))
		ipc.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Println("printed by a handler")
			fmt.Println(strings.Repeat("o", 1<<20))
			fmt.Fprintln(os.Stderr, `{"@level": 5}`)
		}))
	case "grandchild": // leaves one behind that holds its output open
		child := exec.Command("/bin/sleep", "60")
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		if err := child.Start(); err != nil {
			panic(err)
		}
		ipc.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, child.Process.Pid)
		}))
	case "vanishes": // shakes hands and ends
		fmt.Println("1|1|unix|/nonexistent/socket|grpc")
	case "deaf", "deaf orphan": // shakes hands, and nobody speaks on the control socket
		deaf(role == "deaf orphan")
	case "few files":
		few := syscall.Rlimit{Cur: 24, Max: 24}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
			panic(err)
		}
		ipc.Server{Handler: handler(), ReportsStage: true}.Serve()
	default:
		panic("no such role: " + role)
	}
}

// deaf listens and never accepts; as an orphan, in a process that has left the
// worker's group and outlives it.
func deaf(orphan bool) {
	socket := filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "deaf")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		panic(err)
	}
	if orphan {
		f, err := ln.File()
		if err != nil {
			panic(err)
		}
		child := exec.Command("/bin/sleep", "5")
		child.ExtraFiles = []*os.File{f}
		child.Stdout = os.Stdout
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := child.Start(); err != nil {
			panic(err)
		}
	}
	fmt.Printf("1|1|unix|%s|grpc\n", socket)
	select {}
}

// parent is a supervisor that is about to be killed.
func parent() {
	w, err := ipc.Launch(context.Background(), spec(os.Getenv("SOCKETS"), "plain"))
	if err != nil {
		panic(err)
	}
	fmt.Println(w.Pid())
	select {}
}

func spec(dir, role string) ipc.Spec {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return ipc.Spec{Path: exe, Env: []string{roleKey + "=" + role, "GORACE=atexit_sleep_ms=0"}, SocketDir: dir}
}

// socketDir is short and private, as a generation's folder is.
func socketDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ipc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		left, _ := filepath.Glob(filepath.Join(dir, "*"))
		if len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		os.RemoveAll(dir)
	})
	return dir
}

func launch(t testing.TB, role string, change ...func(*ipc.Spec)) *ipc.Worker {
	t.Helper()
	s := spec(socketDir(t), role)
	s.Line = func(l process.Line) { t.Logf("worker: %.200s", l.Text) }
	for _, c := range change {
		c(&s)
	}
	w, err := ipc.Launch(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Kill)
	return w
}

func handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello, ", r.Host) })
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header()["X-Seen"] = []string{r.Method, r.RequestURI, r.Header.Get("X-Tenant"), r.RemoteAddr, r.Proto}
		w.Header().Set("X-Length", strconv.FormatInt(r.ContentLength, 10))
		_, err := io.Copy(w, r.Body)
		for k, v := range r.Trailer {
			w.Header()[http.TrailerPrefix+"Echo-"+k] = v
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	})
	mux.HandleFunc("/status", func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.FormValue("code"))
		w.Header()["Content-Type"] = nil
		w.WriteHeader(code)
	})
	mux.HandleFunc("/drip", func(w http.ResponseWriter, r *http.Request) {
		in := make([]byte, 1)
		for { // one byte out for each byte in, at once
			if _, err := io.ReadFull(r.Body, in); err != nil {
				return
			}
			w.Write(in)
			w.(http.Flusher).Flush()
		}
	})
	mux.HandleFunc("/trailers", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Digest")
		io.WriteString(w, "body")
		w.Header().Set("Digest", "abc")
		w.Header().Set(http.TrailerPrefix+"Late", "x")
	})
	mux.HandleFunc("/hints", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusAccepted)
	})
	mux.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.FormValue("n"))
		piece := make([]byte, 100_000)
		for n > 0 {
			m, err := w.Write(piece[:min(n, len(piece))])
			if err != nil {
				return
			}
			n -= m
		}
	})
	mux.HandleFunc("/short", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "only this")
	})
	mux.HandleFunc("/cut", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "begun")
		w.(http.Flusher).Flush()
		ipc.Fail(w, &exchange.Error{Fault: exchange.BackendReset, Err: io.ErrUnexpectedEOF})
	})
	mux.HandleFunc("/fail", func(w http.ResponseWriter, r *http.Request) {
		if rep := exchange.From(r.Context()); r.FormValue("sent") != "" && rep != nil {
			rep.Sent()
		}
		ipc.Fail(w, &exchange.Error{Fault: exchange.Fault(r.FormValue("fault")), Err: errors.New("10.0.0.1 said no")})
	})
	mux.HandleFunc("/panic", func(w http.ResponseWriter, r *http.Request) { panic("deliberate") })
	mux.HandleFunc("/exit", func(w http.ResponseWriter, r *http.Request) {
		raise(r)
		if r.FormValue("begin") != "" {
			io.WriteString(w, "begun")
			w.(http.Flusher).Flush()
		}
		os.Exit(1)
	})
	mux.HandleFunc("/hang", func(w http.ResponseWriter, r *http.Request) {
		raise(r)
		if d, ok := r.Context().Deadline(); ok {
			w.Header().Set("Left", time.Until(d).String())
		}
		<-r.Context().Done()
		fmt.Println("hang ended:", r.FormValue("id"), r.Context().Err())
	})
	mux.HandleFunc("/early", func(w http.ResponseWriter, r *http.Request) { // never reads the body
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, "no")
	})
	mux.HandleFunc("/upgrade", upgrade)
	mux.HandleFunc("/print", func(w http.ResponseWriter, r *http.Request) { fmt.Println("printed by a handler") })
	mux.HandleFunc("/env", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, strings.Join(os.Environ(), "\n")) })
	return mux
}

// raise reports the stage that the request asks for.
func raise(r *http.Request) {
	rep := exchange.From(r.Context())
	if r.FormValue("sent") != "" {
		rep.Sent()
	}
	if r.FormValue("answered") != "" {
		rep.Answered()
	}
}

func upgrade(w http.ResponseWriter, r *http.Request) {
	c, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer c.Close()
	if r.FormValue("refuse") != "" {
		io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
		return
	}
	io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
	io.Copy(c, rw)
}
