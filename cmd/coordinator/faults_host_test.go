//go:build linux

package main_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"commerce.example/coordinator/cmd/coordinator/internal/load"
)

// FAULTS 30: whatever the supervisor was doing, nothing of it is left, and the
// next one serves.
func TestFault30SupervisorKilled(t *testing.T) {
	for _, c := range []struct {
		name    string
		orphans int // what is left for the next start
		does    func(*testing.T, *site)
	}{
		{"while its workers have children", 4, func(t *testing.T, s *site) {
			for range 4 {
				(&proband{t, s}).well("fork")
			}
		}},
		{"while a worker starts for a reload", 0, func(t *testing.T, s *site) {
			reloadSleeper(t, s)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := faultSite(t)
			s.start()
			g := s.generate("/healthy/ok", 100, time.Minute)
			c.does(t, s)
			left := s.sockets()
			s.signal(syscall.SIGKILL)
			s.exit(2 * time.Second)
			eventually(t, 2*time.Second+slack(), "no worker is left", func() bool { return len(s.processes()) <= c.orphans })
			orphans := s.processes()
			g.Stop()
			s.set("BULKHEAD_FAULTY_WORKER=" + s.dir + "/faulty")
			s.start()
			for _, path := range s.sockets() {
				if slices.Contains(left, path) {
					t.Errorf("%s is still there", path)
				}
			}
			for pid := range orphans {
				eventually(t, 2*time.Second, "a child of a worker that is gone was killed", func() bool { return !alive(pid) })
			}
			(&proband{t, s}).well("ok")
		})
	}
}

// reloadSleeper begins a reload whose new workers never get ready.
func reloadSleeper(t *testing.T, s *site) {
	t.Helper()
	sleeper := s.dir + "/sleeper"
	if err := os.WriteFile(sleeper, []byte("#!/bin/sh\nexec sleep 300\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	before := len(s.processes())
	s.set("BULKHEAD_FAULTY_WORKER=" + sleeper)
	s.signal(syscall.SIGHUP)
	eventually(t, 5*time.Second, "the new worker starts", func() bool { return len(s.processes()) > before })
}

// FAULTS 31: a stop does not wait for a reload. What it owes to requests is told
// by TestE2EStop...
func TestFault31StopDuringAReload(t *testing.T) {
	s := faultSite(t)
	s.start()
	reloadSleeper(t, s)
	begun := time.Now()
	s.signal(syscall.SIGTERM)
	code := s.exit(8 * time.Second)
	t.Logf("exit code %d, %v after SIGTERM", code, time.Since(begun))
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	s.nobody(time.Second)
}

// FAULTS 32: however many reloads are asked for, a bulkhead has two generations
// of workers at most, no request is lost, and the last word counts.
func TestFault32ManyReloads(t *testing.T) {
	const asks = 100
	s := faultSite(t, "BULKHEAD_FAULTY_ENV_GENERATION=0")
	s.start()
	s.prime()
	calls := s.generate("/faulty/ok", 100, time.Minute, func(o *load.Options) { o.Name, o.Conns, o.NewConnShare = "faulty", 32, .1 })
	others := s.generate("/healthy/ok", 100, time.Minute, func(o *load.Options) { o.Name, o.Conns = "healthy", 32 })
	connected(t, 32, calls, others)
	before := s.counts()
	pids := s.pids("healthy")

	codes := make(chan error, asks)
	reload := func() {
		resp, err := s.admin.Post("http://localhost/v1/reload", "", nil)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				err = fmt.Errorf("status %d", resp.StatusCode)
			}
		}
		codes <- err
	}
	s.admin.Timeout = time.Minute
	most := 0
	const burst = 10
	every := time.NewTicker(span(5*time.Second, 10*time.Second) * burst / asks)
	defer every.Stop()
	for i := range asks {
		if i%burst == 0 {
			<-every.C
		}
		s.set(fmt.Sprintf("BULKHEAD_FAULTY_ENV_GENERATION=%d", i+1))
		go reload()
		if i%burst == 0 {
			most = max(most, s.generations())
		}
	}
	for range asks {
		if err := <-codes; err != nil {
			t.Errorf("reload: %v", err)
		}
		most = max(most, s.generations())
	}
	ran := s.metric("coordinator_operations_total", "action", "reload", "result", "done")
	t.Logf("%d reloads were asked for, %v ran, at most %d generations of workers were alive", asks, ran, most)
	if most > 2 {
		t.Errorf("%d generations were alive", most)
	}
	if ran >= asks || ran < 2 {
		t.Errorf("%v reloads ran for %d", ran, asks)
	}
	if got := (&proband{t, s}).well("variable?name=GENERATION"); got != strconv.Itoa(asks) {
		t.Errorf("the workers are of generation %s", got)
	}
	s.settled(before)
	noErrors(t, calls.Stop())
	noErrors(t, others.Stop())
	if now := s.pids("healthy"); !slices.Equal(now, pids) {
		t.Errorf("healthy's workers are %v, were %v", now, pids)
	}
	if !s.logged("reloaded", `"asked":`) {
		t.Error("the log does not say how many asked")
	}
}

// generations is how many different ones the faulty bulkhead's workers are of.
func (s *site) generations() int {
	seen := make(map[string]bool)
	for _, environ := range s.processes() {
		if g := variable(environ, "GENERATION"); g != "" {
			seen[g] = true
		}
	}
	return len(seen)
}

// FAULTS 33: what belongs to another is refused in words, and nothing is left.
func TestFault33TakenPortAndState(t *testing.T) {
	first := faultSite(t)
	first.start()
	for name, c := range map[string]struct {
		setting string
		says    []string
	}{
		"port":            {"COORDINATOR_LISTEN=" + strings.TrimPrefix(first.url, "http://"), []string{"COORDINATOR_LISTEN", "address already in use"}},
		"state directory": {"COORDINATOR_STATE_DIR=" + first.dir + "/state", []string{"COORDINATOR_STATE_DIR", fmt.Sprintf("pid %d", first.cmd.Process.Pid)}},
		"admin socket":    {"COORDINATOR_ADMIN_SOCKET=" + first.dir + "/admin.sock", []string{"admin.sock", "another supervisor"}},
	} {
		t.Run(name, func(t *testing.T) {
			second := faultSite(t, c.setting)
			code, output := second.cli("run")
			t.Logf("exit code %d: %s", code, output)
			if code != 1 {
				t.Errorf("exit code %d", code)
			}
			for _, says := range c.says {
				if !strings.Contains(output, says) {
					t.Errorf("it does not say %q", says)
				}
			}
			if left := append(second.sockets(), generationDirs(second.dir)...); len(left) > 0 {
				t.Errorf("it left %v", left)
			}
			if left := second.processes(); len(left) > 0 {
				t.Errorf("it left %d processes", len(left))
			}
		})
	}
	(&proband{t, first}).well("ok")
	first.must("status")
}

func generationDirs(dir string) []string {
	found, _ := filepath.Glob(dir + "/coordinator/*/g*")
	return found
}

// FAULTS 34: without free descriptors new clients wait, those who are in go on, the admin API answers, and all is well when there are some again.
func TestFault34OutOfDescriptors(t *testing.T) {
	s := faultSite(t)
	s.start()
	s.prime()
	g := s.generate("/healthy/ok", 50, time.Minute, func(o *load.Options) { o.Conns = 4 })
	connected(t, 4, g)
	before := s.counts()
	open := int(before.descriptors)
	few := unix.Rlimit{Cur: uint64(open + 60), Max: uint64(open + 60)}
	var was unix.Rlimit
	if err := unix.Prlimit(s.cmd.Process.Pid, unix.RLIMIT_NOFILE, nil, &was); err != nil {
		t.Fatal(err)
	}
	few.Max = was.Max
	if err := unix.Prlimit(s.cmd.Process.Pid, unix.RLIMIT_NOFILE, &few, nil); err != nil {
		t.Fatal(err)
	}
	paused := s.metric("coordinator_accept_pauses_total")

	var kept []net.Conn
	defer func() {
		for _, nc := range kept {
			nc.Close()
		}
	}()
	for range 3 * 60 {
		nc, err := net.DialTimeout("tcp", strings.TrimPrefix(s.url, "http://"), time.Second)
		if err != nil {
			t.Fatal(err) // it waits in the backlog
		}
		kept = append(kept, nc)
	}
	eventually(t, 5*time.Second, "the front stops accepting", func() bool { return s.metric("coordinator_accept_pauses_total") > paused })
	for range 20 {
		s.bulkhead("faulty")
	}
	s.must("restart", "faulty")
	eventually(t, 2*time.Second, "the log says so", func() bool { return s.logged("out of descriptors") })
	noErrors(t, g.Stop())

	for _, nc := range kept {
		nc.Close()
	}
	kept = nil
	if err := unix.Prlimit(s.cmd.Process.Pid, unix.RLIMIT_NOFILE, &was, nil); err != nil {
		t.Fatal(err)
	}
	(&proband{t, s}).well("ok")
	s.settled(before)
}

// FAULTS 38: a supervisor that stood still blames nobody for it.
func TestFault38SupervisorStopped(t *testing.T) {
	beside(t)
	s := faultSite(t)
	s.start()
	before := append(s.pids("faulty"), s.pids("healthy")...)
	s.signal(syscall.SIGSTOP)
	time.Sleep(span(5*time.Second, 30*time.Second))
	s.signal(syscall.SIGCONT)
	p := &proband{t, s}
	eventually(t, 5*time.Second, "it serves again", func() bool {
		a, err := get("/faulty/ok").ask(newClient(t), s.url)
		return err == nil && a.status == "200 OK"
	})
	for begun := time.Now(); time.Since(begun) < 3*time.Second; { // what probes take to condemn a worker, and more
		p.well("ok")
	}
	if now := append(s.pids("faulty"), s.pids("healthy")...); !slices.Equal(now, before) {
		t.Errorf("the workers are %v, were %v", now, before)
	}
	if n := s.metric("coordinator_worker_restarts_total"); n != 0 {
		t.Errorf("%v workers were replaced", n)
	}
}

// FAULTS 39: nobody reads the log. Requests do not wait for it; what it cannot
// take is counted, and said when somebody reads again.
func TestFault39LogBlocked(t *testing.T) {
	beside(t)
	s := faultSite(t, "COORDINATOR_LOG_LEVEL=debug")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s.stderr = w
	s.start()
	w.Close()
	g := s.generate("/healthy/ok", 100, time.Minute)
	p := &proband{t, s}
	dropped := func() float64 { return s.metric("coordinator_log_dropped_total") }
	eventually(t, 30*time.Second, "lines are dropped", func() bool {
		p.well("flood")
		return dropped() > 0
	})
	s.must("restart", "healthy")
	t.Logf("%v lines dropped", dropped())

	said := make(chan bool, 1)
	go func() {
		var text []byte
		buf := make([]byte, 64<<10)
		found := false
		for {
			n, err := r.Read(buf)
			text = append(text, buf[:n]...)
			if !found && bytes.Contains(text, []byte("log lines dropped")) {
				found = true
				said <- true
			}
			if len(text) > 1<<20 {
				text = text[len(text)-1024:]
			}
			if err != nil {
				return
			}
		}
	}()
	select {
	case <-said:
	case <-time.After(10 * time.Second):
		t.Error("the log does not say that lines were dropped")
	}
	noErrors(t, g.Stop())
	s.signal(syscall.SIGTERM)
	if code := s.exit(15 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// FAULTS 44: workers are held by pidfd, and one that ended is forgotten: a
// stranger that has its number lives.
func TestFault44PidReused(t *testing.T) {
	s := faultSite(t)
	s.start()
	before := append(s.pids("faulty"), s.pids("healthy")...)
	held := pidfds(t, s.cmd.Process.Pid)
	for _, pid := range before {
		if !held[pid] {
			t.Errorf("the supervisor has no pidfd of %d: %v", pid, held)
		}
	}
	dead := s.pids("faulty")[0]
	kill(t, dead)
	eventually(t, 5*time.Second, "it is replaced", func() bool { return s.bulkhead("faulty").State == "ready" && !slices.Contains(s.pids("faulty"), dead) })
	if pidfds(t, s.cmd.Process.Pid)[dead] {
		t.Error("the supervisor still holds the dead one")
	}
	stranger := withPid(t, dead)
	s.must("restart", "faulty")
	s.signal(syscall.SIGTERM)
	if code := s.exit(15 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if !alive(stranger.Process.Pid) {
		t.Errorf("the stranger %d was killed", stranger.Process.Pid)
	}
}

// pidfds are the processes that a process holds by descriptor.
func pidfds(t *testing.T, holder int) map[int]bool {
	t.Helper()
	held := make(map[int]bool)
	infos, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", holder))
	for _, path := range infos {
		text, _ := os.ReadFile(path)
		for line := range strings.Lines(string(text)) {
			if number, ok := strings.CutPrefix(line, "Pid:"); ok {
				pid, _ := strconv.Atoi(strings.TrimSpace(number))
				held[pid] = true
			}
		}
	}
	return held
}

// withPid starts a process with a number that was another's, where the kernel
// lets us say which comes next.
func withPid(t *testing.T, pid int) *exec.Cmd {
	t.Helper()
	for range 200 {
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0); err != nil {
			t.Skip("cannot choose the number of a process here: ", err)
		}
		cmd := exec.Command("/bin/sleep", "300")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		if cmd.Process.Pid == pid {
			return cmd
		}
	}
	t.Skip("other processes come between: no process got the number")
	return nil
}
