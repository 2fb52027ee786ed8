package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/ipc/wire"
)

// faulty does what the path says. Like a proxy's, its requests count as sent.
func faulty(w http.ResponseWriter, r *http.Request) {
	exchange.From(r.Context()).Sent()
	number := func(name string) int { n, _ := strconv.Atoi(r.FormValue(name)); return n }
	switch what := filepath.Base(r.URL.Path); what {
	case "slow":
		select {
		case <-time.After(time.Duration(number("ms")) * time.Millisecond):
		case <-r.Context().Done():
		}
	case "flood": // far more lines than are taken
		for i := range 20_000 {
			fmt.Fprintf(os.Stderr, "line %d of a flood, and some more to make it longer\n", i)
		}
	case "endless":
		_, _ = os.Stdout.Write(bytes.Repeat([]byte("no end "), 1<<20))
	case "malformed": // a plugin library would parse these
		for _, line := range []string{`{"@level":"`, `{"@message":7,"@level":{}}`, "\xff\x00\x1b[2J", "1|2|unix|x|grpc|", "{}", `{"@timestamp":null}`} {
			fmt.Fprintln(os.Stdout, line)
			fmt.Fprintln(os.Stderr, line)
		}
	case "fork":
		child := exec.Command("/bin/sleep", "300")
		if err := child.Start(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, child.Process.Pid)
		return
	case "spin":
		spin(time.Duration(number("ms")) * time.Millisecond)
	case "variable":
		fmt.Fprintln(w, os.Getenv(r.FormValue("name")))
		return
	}
	fmt.Fprintln(w, os.Getpid())
}

// spin keeps more threads busy than there are cores.
func spin(d time.Duration) {
	var spinning sync.WaitGroup
	end := time.Now().Add(d)
	for range 2 * runtime.NumCPU() {
		spinning.Go(func() {
			for time.Now().Before(end) {
			}
		})
	}
	spinning.Wait()
}

// prepareActor makes the worker misbehave from its start as a file beside its
// binary says.
func prepareActor() {
	told := func(name string) bool {
		_, err := os.Stat(filepath.Join(filepath.Dir(os.Args[0]), filepath.Base(os.Args[0])+"."+name))
		return err == nil
	}
	if told("crash") {
		time.AfterFunc(300*time.Millisecond, func() { os.Exit(3) })
	}
	if told("babble") {
		babble()
	}
}

// babble puts a process-internal relay before the data plane: it takes the
// listening socket that the supervisor made, gives the SDK another in its place,
// and answers some requests with what is no frame, or not a whole one.
func babble() {
	const dataListener = 3 // as ipc hands it down
	number, err := unix.Dup(dataListener)
	if err != nil {
		panic(err)
	}
	outer, err := net.FileListener(os.NewFile(uintptr(number), "data listener"))
	if err != nil {
		panic(err)
	}
	path := filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "inner")
	inner, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		panic(err)
	}
	inner.SetUnlinkOnClose(false)
	file, err := inner.File()
	if err == nil {
		err = unix.Dup2(int(file.Fd()), dataListener)
	}
	if err != nil {
		panic(err)
	}
	file.Close()
	inner.Close()
	go func() {
		for {
			nc, err := outer.Accept()
			if err != nil {
				panic(err)
			}
			go babbleOn(nc, path)
		}
	}()
}

// babbleOn relays a connection's frames until one asks for garbage.
func babbleOn(nc net.Conn, path string) {
	defer nc.Close()
	behind, err := net.Dial("unix", path)
	if err != nil {
		return
	}
	defer behind.Close()
	go func() { _, _ = io.Copy(nc, behind); nc.Close() }()
	for {
		frame := make([]byte, wire.HeaderLen)
		if _, err := io.ReadFull(nc, frame); err != nil {
			return
		}
		kind, n, err := wire.ParseHeader(frame)
		if err != nil {
			return
		}
		frame = append(frame, make([]byte, n)...)
		if _, err := io.ReadFull(nc, frame[wire.HeaderLen:]); err != nil {
			return
		}
		if kind == wire.Request {
			switch {
			case bytes.Contains(frame, []byte("/faulty/garbage")):
				_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\n\r\n")
				return
			case bytes.Contains(frame, []byte("/faulty/oversized")):
				_, _ = nc.Write([]byte{byte(wire.Response), 0xff, 0xff, 0xff})
				return
			case bytes.Contains(frame, []byte("/faulty/stalled")):
				_, _ = nc.Write([]byte{byte(wire.Response), 0})
				_, _ = io.Copy(io.Discard, nc)
				return
			}
		}
		if _, err := behind.Write(frame); err != nil {
			return
		}
	}
}

// The steps of an upgrade at which a successor can be held.
const (
	holdStart   = "start"   // it has done nothing
	holdReady   = "ready"   // it is, and the old one does not know
	holdGo      = "go"      // the old one has said so, and it does not know
	holdServing = "serving" // it does, and the old one does not know
)

// holdHandover stops a successor at the step that the file "hold" beside the
// configuration names, for as long as the file is there. It says so in "held".
func holdHandover() {
	value := os.Getenv("HANDOVER_FROM_COORDINATOR")
	dir := filepath.Dir(os.Args[len(os.Args)-1]) // of --env-file
	step, err := os.ReadFile(filepath.Join(dir, "hold"))
	if value == "" || err != nil {
		return
	}
	hold := func() {
		_ = os.WriteFile(filepath.Join(dir, "held"), []byte(strconv.Itoa(os.Getpid())), 0o600)
		for {
			if _, err := os.Stat(filepath.Join(dir, "hold")); err != nil {
				return
			}
			time.Sleep(2 * time.Millisecond) // between two looks
		}
	}
	if string(step) == holdStart {
		hold()
		return
	}
	var handover struct {
		Files map[string]int `json:"files"`
		Sick  []string       `json:"sick"`
	}
	if err := json.Unmarshal([]byte(value), &handover); err != nil {
		panic(err)
	}
	pipe := func() (r, w int) {
		var fds [2]int
		if err := unix.Pipe(fds[:]); err != nil {
			panic(err)
		}
		return fds[0], fds[1]
	}
	relay := func(from, to int) {
		unix.CloseOnExec(from)
		unix.CloseOnExec(to)
		in, out := os.NewFile(uintptr(from), "from"), os.NewFile(uintptr(to), "to")
		defer out.Close()
		buf := make([]byte, 4<<10)
		for {
			n, err := in.Read(buf)
			if err != nil {
				return
			}
			if strings.TrimSpace(string(buf[:n])) == string(step) {
				hold()
			}
			_, _ = out.Write(buf[:n])
		}
	}
	r, w := pipe()
	go relay(handover.Files["in"], w)
	handover.Files["in"] = r
	r, w = pipe()
	go relay(r, handover.Files["out"])
	handover.Files["out"] = w
	changed, err := json.Marshal(handover)
	if err != nil {
		panic(err)
	}
	_ = os.Setenv("HANDOVER_FROM_COORDINATOR", string(changed))
}
