//go:build linux

package main_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/load"
)

// upgradable is a site whose program is a file of its own, and whose supervisor
// may be another process than the one that was started.
func upgradable(t *testing.T, settings ...string) *site {
	t.Helper()
	s := faultSite(t, settings...)
	s.exe = s.dir + "/coordinator-binary"
	s.install(self(t))
	t.Cleanup(func() { // before that of the site
		s.unhold()
		for pid, environ := range s.processes() {
			if variable(environ, "XDG_RUNTIME_DIR") == s.dir { // a supervisor
				_ = syscall.Kill(pid, syscall.SIGTERM)
				_ = syscall.Kill(pid, syscall.SIGINT)
			}
		}
		for begun := time.Now(); len(s.processes()) > 0 && time.Since(begun) < 15*time.Second; {
			time.Sleep(20 * time.Millisecond) // between two looks
		}
		for pid := range s.processes() {
			t.Errorf("process %d is left", pid)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return s
}

// install puts a program where the supervisor's is.
func (s *site) install(program string) {
	s.t.Helper()
	next := s.exe + ".next"
	if err := os.Link(program, next); err != nil { // another file system
		s.copy(program, next)
	}
	if err := os.Rename(next, s.exe); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) copy(from, to string) {
	s.t.Helper()
	in, err := os.Open(from)
	if err != nil {
		s.t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o700)
	if err == nil {
		_, err = io.Copy(out, in)
	}
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// serving is the pid of the supervisor that answers.
func (s *site) serving() int {
	s.t.Helper()
	st, err := s.tryStatus()
	if err != nil {
		s.t.Fatal(err)
	}
	return st.Pid
}

// replaced waits until the supervisor pid, which handed over, has ended.
func (s *site) replaced(pid int) {
	s.t.Helper()
	eventually(s.t, 15*time.Second, "the old supervisor has ended", func() bool { return !alive(pid) })
}

// Reloads and upgrades under load, on connections old and new, lose nothing and
// leave nothing.
func TestFaultReloadsAndUpgradesLoseNothing(t *testing.T) {
	rate := 200.0
	if long {
		rate = 1000
	}
	reloads, upgrades := int(span(8, 20)), int(span(3, 5))
	s := upgradable(t, "BULKHEAD_FAULTY_ENV_GENERATION=0")
	s.start()
	s.prime()
	const most = 5 * time.Minute
	running := []*load.Generator{
		s.generate("/faulty/ok", rate/2, most, func(o *load.Options) { o.Name, o.Conns = "kept connections", 32 }),
		s.generate("/faulty/ok", rate/4, most, func(o *load.Options) { o.Name, o.Conns, o.NewConnShare = "new connections", 32, 1 }),
		s.generate("/healthy/ok", rate/4, most, func(o *load.Options) { o.Name, o.Conns, o.NewConnShare = "healthy", 32, .1 }),
	}
	connected(t, 32, running...)
	before := s.counts()
	ofWorker := descriptors(t, s.pids("faulty")[0])
	for i := range reloads {
		s.set(fmt.Sprintf("BULKHEAD_FAULTY_ENV_GENERATION=%d", i+1))
		s.must("reload")
	}
	for range upgrades {
		old := s.serving()
		s.must("upgrade")
		if now := s.serving(); now == old {
			t.Fatalf("the supervisor is still %d", old)
		}
		s.replaced(old)
	}
	if got := (&proband{t, s}).well("variable?name=GENERATION"); got != strconv.Itoa(reloads) {
		t.Errorf("the workers are of generation %s", got)
	}
	s.settled(before)
	for _, g := range running {
		noErrors(t, g.Stop())
	}
	eventually(t, 5*time.Second, "a worker holds no more than before", func() bool { return descriptors(t, s.pids("faulty")[0]) <= ofWorker+8 })
	if links := inherited(t, s.pids("faulty")[0]); len(links) > 0 {
		t.Errorf("a worker holds what is its supervisor's: %v", links)
	}
}

func descriptors(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// inherited is what a worker must not have: the state lock, and listening
// sockets other than its own two.
func inherited(t *testing.T, pid int) (links []string) {
	t.Helper()
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", pid))
	if err != nil {
		t.Fatal(err)
	}
	listening := map[string]bool{} // inodes
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 9 && f[3] == "0A" {
			listening["socket:["+f[9]+"]"] = true
		}
	}
	paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, path := range paths {
		link, _ := os.Readlink(path)
		if strings.HasSuffix(link, "/lock") || listening[link] {
			links = append(links, link)
		}
	}
	return links
}

// A successor that does not get ready leaves the old supervisor as it was, and
// the operator knows why.
func TestFaultUpgradeRefused(t *testing.T) {
	s := upgradable(t)
	s.start()
	g := s.generate("/healthy/ok", 100, 2*time.Minute, func(o *load.Options) { o.Conns, o.NewConnShare = 16, .2 })
	connected(t, 16, g)
	before, pid := s.counts(), s.serving()
	refused := func(says string) {
		t.Helper()
		code, output := s.cli2(self(t), "upgrade")
		t.Logf("exit code %d: %s", code, output)
		if code != 1 || !strings.Contains(output, says) || !strings.Contains(output, "this supervisor goes on") {
			t.Errorf("exit code %d: %s; want 1, %q", code, output, says)
		}
		if now := s.serving(); now != pid {
			t.Fatalf("the supervisor is %d, was %d", now, pid)
		}
	}
	script := func(text string) {
		t.Helper()
		if err := os.WriteFile(s.exe+".script", []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(s.exe+".script", s.exe); err != nil {
			t.Fatal(err)
		}
	}
	script("#!/bin/sh\nexit 7\n")
	refused("exit status 7")
	script("no program")
	refused("exec format error")
	if err := os.Remove(s.exe); err != nil {
		t.Fatal(err)
	}
	refused("no such file")

	s.install(self(t))
	s.set("BULKHEAD_FAULTY_TIMEOUT=soon")
	refused("BULKHEAD_FAULTY_TIMEOUT")
	s.set("BULKHEAD_FAULTY_TIMEOUT=", "BULKHEAD_FAULTY_WORKER=/bin/false")
	refused("no worker of faulty got ready")
	s.set("BULKHEAD_FAULTY_WORKER=" + s.dir + "/faulty")
	s.settled(before)
	if dirs := generationDirs(s.dir); len(dirs) != 1 {
		t.Errorf("folders of sockets: %v, want the old supervisor's", dirs)
	}
	if lock, _ := os.ReadFile(s.dir + "/state/lock"); strings.TrimSpace(string(lock)) != strconv.Itoa(pid) {
		t.Errorf("the lock names %s, want %d", lock, pid)
	}
	s.must("upgrade")
	s.replaced(pid)
	noErrors(t, g.Stop())
}

// cli2 runs a command of another program than the site's, which may be broken.
func (s *site) cli2(program string, args ...string) (int, string) {
	s.t.Helper()
	was := s.exe
	s.exe = program
	defer func() { s.exe = was }()
	return s.cli(args...)
}

// FAULTS 43: whichever of the two supervisors is killed at whichever step of an
// upgrade, one of them serves in the end and nothing of the other is left. Before
// the old one has said go, its death ends the successor too: a service manager
// starts a third, and two would not get on.
func TestFault43UpgradeKilled(t *testing.T) {
	for _, c := range []struct {
		step    string
		killOld bool
		serves  string // in the end
	}{
		{"start", false, "old"}, {"start", true, "none"},
		{"ready", false, "old"}, {"ready", true, "none"},
		{"go", false, "old"}, {"go", true, "new"},
		{"serving", false, "old"}, {"serving", true, "new"},
	} {
		who := map[bool]string{false: "new", true: "old"}[c.killOld]
		t.Run(fmt.Sprintf("%s killed at %s", who, c.step), func(t *testing.T) {
			t.Parallel() // most of it is waiting
			s := upgradable(t)
			s.start()
			old := s.serving()
			client := &proband{t, s}
			client.well("ok")
			s.writeHold(c.step)
			report := make(chan string, 1)
			go func() { _, output := s.cli2(self(t), "upgrade"); report <- output }()
			next := s.held()
			victim, survivor := next, old
			if c.killOld {
				victim, survivor = old, next
			}
			kill(t, victim)
			s.unhold()
			t.Logf("upgrade: %s", <-report)
			eventually(t, 3*time.Second, "it is dead", func() bool { return !alive(victim) })
			if c.serves == "none" {
				s.nobody(10 * time.Second)
				s.start()
				client.well("ok")
				return
			}
			eventually(t, 5*time.Second, "the survivor serves", func() bool {
				st, err := s.tryStatus()
				return err == nil && st.Pid == survivor && st.State == "ready"
			})
			eventually(t, 5*time.Second, "one supervisor and four workers are left", func() bool { return len(s.processes()) == 5 })
			for range 20 { // never a mixture: all workers are the survivor's
				worker, err := strconv.Atoi(client.well("ok"))
				if err != nil || proc(t, worker, "PPid") != survivor {
					t.Fatalf("worker %d answered, whose supervisor is not %d", worker, survivor)
				}
			}
			s.must("upgrade") // nothing stands in the way of another
			s.replaced(survivor)
			client.well("ok")
		})
	}
}

func (s *site) writeHold(step string) {
	s.t.Helper()
	_ = os.Remove(s.dir + "/held")
	if err := os.WriteFile(s.dir+"/hold", []byte(step), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) unhold() { _ = os.Remove(s.dir + "/hold") }

// held waits until a successor stands at its step, and is its pid.
func (s *site) held() (pid int) {
	s.t.Helper()
	eventually(s.t, 15*time.Second, "the successor is held", func() bool {
		text, err := os.ReadFile(s.dir + "/held")
		if err == nil {
			pid, err = strconv.Atoi(string(text))
		}
		return err == nil && pid > 0
	})
	return pid
}

// FAULTS 43, the step after the last: the old supervisor still drains.
func TestFault43OldKilledWhileItDrains(t *testing.T) {
	s := upgradable(t)
	s.start()
	old := s.serving()
	cut := make(chan error, 1)
	go func() {
		_, err := probe{method: "POST", target: "/faulty/slow?ms=20000"}.ask(newClient(t), s.url)
		cut <- err
	}()
	eventually(t, 5*time.Second, "a request is in flight", func() bool { return s.bulkhead("faulty").InFlight == 1 })
	s.must("upgrade")
	kill(t, old)
	if err := <-cut; err == nil {
		t.Error("the request of the killed one has an answer")
	}
	s.replaced(old)
	eventually(t, 5*time.Second, "one supervisor and four workers are left", func() bool { return len(s.processes()) == 5 })
	(&proband{t, s}).well("ok")
}

// A stop ends an upgrade whose successor takes its time.
func TestFault31StopDuringAnUpgrade(t *testing.T) {
	s := upgradable(t)
	s.start()
	s.writeHold("start")
	report := make(chan string, 1)
	go func() { _, output := s.cli2(self(t), "upgrade"); report <- output }()
	s.held()
	s.signal(syscall.SIGTERM)
	if code := s.exit(8 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if output := <-report; !strings.Contains(output, "told to stop") {
		t.Errorf("upgrade: %s", output)
	}
	s.nobody(2 * time.Second)
}

// In a container the supervisor is process 1: its end would be the container's.
func TestFaultUpgradeOfPID1Refused(t *testing.T) {
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Skip(err)
	}
	s := upgradable(t)
	probe := exec.Command(unshare, "--pid", "--fork", "--kill-child", "--mount-proc", "true")
	if out, err := probe.CombinedOutput(); err != nil {
		t.Skipf("no namespace of processes here: %v %s", err, out)
	}
	s.wrap = []string{unshare, "--pid", "--fork", "--kill-child", "--mount-proc"}
	s.start()
	if pid := s.serving(); pid != 1 {
		t.Fatalf("the supervisor is process %d", pid)
	}
	s.wrap = nil
	code, output := s.cli("upgrade")
	t.Logf("exit code %d: %s", code, output)
	if code != 1 || !strings.Contains(output, "PID 1") {
		t.Errorf("exit code %d", code)
	}
	(&proband{t, s}).well("ok")
	for pid := range s.processes() { // the signal is for process 1, which unshare would not pass on
		if proc(t, pid, "PPid") == s.cmd.Process.Pid {
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
	}
	s.exit(15 * time.Second)
}

// What a service manager is told: ready, the watchdog, whom to watch after an
// upgrade, and the end.
func TestFaultNotify(t *testing.T) {
	s := upgradable(t)
	path := s.dir + "/notify"
	nc, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	told := func(within time.Duration, want string) {
		t.Helper()
		buf := make([]byte, 4096)
		_ = nc.SetReadDeadline(time.Now().Add(within))
		var others []string
		for {
			n, err := nc.Read(buf)
			if err != nil {
				t.Fatalf("not told %q but %q: %v", want, others, err)
			}
			if string(buf[:n]) == want {
				return
			}
			others = append(others, string(buf[:n]))
		}
	}
	s.extra = []string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=300000"}
	s.start()
	told(5*time.Second, "READY=1")
	told(5*time.Second, "WATCHDOG=1")
	told(5*time.Second, "WATCHDOG=1")
	s.signal(syscall.SIGHUP)
	told(5*time.Second, "RELOADING=1")
	told(5*time.Second, "READY=1")
	old := s.serving()
	s.must("upgrade")
	now := s.serving()
	told(10*time.Second, fmt.Sprintf("MAINPID=%d\nREADY=1", now))
	s.replaced(old)
	told(5*time.Second, "WATCHDOG=1") // the successor's
	if err := syscall.Kill(now, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	told(5*time.Second, "STOPPING=1")
	s.nobody(15 * time.Second)
}
