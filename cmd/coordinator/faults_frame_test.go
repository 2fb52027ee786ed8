//go:build linux

package main_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/load"
)

// A faultRow is one fault of the catalogue. cause makes it happen, waits for
// its safe outcome, and leaves both bulkheads as they were. What all faults have
// in common is told by what run does.
type faultRow struct {
	name     string
	settings []string
	before   func(*site) // the start
	cause    func(*faultTrial)
	hurts    []string   // reasons that clients of the faulty bulkhead may be given
	passed   func() int // answers of 500 and above that are the backend's own; nil: none
	log      []string   // parts of one line that names the cause
	counted  []string   // the metric that counts it, and its labels
	// connections to workers that the row opens on purpose: idle ones are kept
	// for 30 s.
	connections float64
}

// A faultTrial is a site with a faulty and a healthy bulkhead, both under load.
type faultTrial struct {
	*site
	pid    int      // of the supervisor
	others []int    // the healthy bulkhead's workers
	bin    string   // of the faulty bulkhead's workers
	client *proband // of the test itself
}

// proband asks the faulty bulkhead.
type proband struct {
	t *testing.T
	s *site
}

func (p *proband) ask(method, target string) answer {
	p.t.Helper()
	a, err := probe{method: method, target: "/faulty/" + target}.ask(newClient(p.t), p.s.url)
	if err != nil {
		p.t.Fatalf("%s %s: %v", method, target, err)
	}
	return a
}

// well asks for what has to succeed.
func (p *proband) well(target string) string {
	p.t.Helper()
	a := p.ask("GET", target)
	if a.status != "200 OK" {
		p.t.Fatalf("%s: %s %s", target, a.status, a.body)
	}
	return strings.TrimSpace(a.body)
}

// faultSite has the two bulkheads, not started.
func faultSite(t *testing.T, settings ...string) *site {
	t.Helper()
	s := newSite(t)
	s.set(append([]string{
		"COORDINATOR_LOG_LEVEL=info", "COORDINATOR_BULKHEADS=faulty,healthy",
		"BULKHEAD_FAULTY_ROUTES=/faulty", "BULKHEAD_FAULTY_WORKER=" + actor(t, s.dir, "faulty"), "BULKHEAD_FAULTY_LIMIT=64", "BULKHEAD_FAULTY_QUEUE=512", "BULKHEAD_FAULTY_QUEUE_TIMEOUT=5s",
		"BULKHEAD_HEALTHY_ROUTES=/healthy", "BULKHEAD_HEALTHY_WORKER=" + s.dir + "/faulty", "BULKHEAD_HEALTHY_LIMIT=64", "BULKHEAD_HEALTHY_QUEUE=512", "BULKHEAD_HEALTHY_QUEUE_TIMEOUT=5s",
	}, settings...)...)
	return s
}

// prime opens the connections that a burst needs, so that later ones do not
// look like a leak.
func (s *site) prime() {
	s.t.Helper()
	for _, path := range []string{"/faulty/slow?ms=100", "/healthy/slow?ms=100"} {
		s.generate(path, 0, time.Second, func(o *load.Options) { o.Count, o.Conns = 120, 60 }).Wait()
	}
}

// faultCounts are what a fault must leave as it found them.
type faultCounts struct {
	processes              int
	descriptors, goroutine float64
}

func (s *site) counts() faultCounts {
	s.t.Helper()
	m := s.metrics()
	return faultCounts{len(s.processes()), m.sum("process_open_fds"), m.sum("go_goroutines")}
}

// within reports whether the counts are back, give or take what the load has
// under way.
func (c faultCounts) within(before faultCounts) bool {
	const slack = 16
	return c.processes == before.processes && c.descriptors <= before.descriptors+slack && c.goroutine <= before.goroutine+3*slack
}

// run has the faults happen at a steady load on both bulkheads.
func (row *faultRow) run(t *testing.T) {
	s := faultSite(t, row.settings...)
	if row.before != nil {
		row.before(s)
	}
	s.start()
	f := &faultTrial{site: s, pid: s.cmd.Process.Pid, others: s.pids("healthy"), bin: s.dir + "/faulty", client: &proband{t, s}}
	s.prime()
	const most = 5 * time.Minute
	others := s.generate("/healthy/ok", 100, most, func(o *load.Options) { o.Name, o.Conns = "healthy alone", 32 })
	front := s.generate("/nowhere", 50, most, func(o *load.Options) { o.Name, o.Conns = "no_route", 8 })
	calls := s.generate("/faulty/ok", 50, most, func(o *load.Options) { o.Name, o.Conns = "faulty", 64 })
	time.Sleep(span(1500*time.Millisecond, 10*time.Second))
	before := s.counts()
	before.descriptors += row.connections
	counted := 0.0
	if row.counted != nil {
		counted = s.metric(row.counted[0], row.counted[1:]...)
	}

	others.Cut("healthy beside the fault")
	front.Cut("no_route beside the fault")
	begun := time.Now()
	row.cause(f)
	others.Cut("healthy after")
	front.Cut("no_route after")
	t.Logf("the fault and its outcome took %v", time.Since(begun))
	s.settled(before)

	row.judge(t, calls.Stop())
	others.Stop()
	front.Stop()
	o, n := others.Phases(), front.Phases()
	for _, phase := range o {
		noErrors(t, phase)
	}
	unhurt(t, o[0], o[1], max(n[0].All.Quantile(.99), n[1].All.Quantile(.99)))
	if now := s.pids("healthy"); !slices.Equal(now, f.others) {
		t.Errorf("healthy's workers are %v, were %v", now, f.others)
	}
	if st, err := s.tryStatus(); err != nil || st.Pid != f.pid {
		t.Errorf("the supervisor is %d (%v), was %d", st.Pid, err, f.pid)
	}
	if row.log != nil {
		eventually(t, 2*time.Second, fmt.Sprintf("a log line with %q", row.log), func() bool { return s.logged(row.log...) })
	}
	if row.counted != nil && s.metric(row.counted[0], row.counted[1:]...) <= counted {
		t.Errorf("%v was %v and still is", row.counted, counted)
	}
}

// judge wants no failure of the faulty bulkhead's own clients but those allowed.
func (row *faultRow) judge(t *testing.T, r *load.Result) {
	t.Helper()
	t.Log(figures(r))
	told := 0
	for _, reason := range row.hurts {
		told += r.Reasons[reason]
	}
	if row.passed != nil {
		told += row.passed()
	}
	if told != r.ServerErrors() || r.TransportErrors() > 0 {
		t.Errorf("faulty: want no failures but %v", row.hurts)
	}
}

// settled waits until the counts are back.
func (s *site) settled(before faultCounts) {
	s.t.Helper()
	var now faultCounts
	begun := time.Now()
	for now = s.counts(); !now.within(before); now = s.counts() {
		if time.Since(begun) > 20*time.Second {
			s.t.Errorf("before %+v, 20 s after it %+v", before, now)
			return
		}
		time.Sleep(20 * time.Millisecond) // between two looks
	}
	s.t.Logf("before %+v, %v after it %+v", before, time.Since(begun), now)
}

// logged reports whether one line of the present supervisor's log has all parts.
func (s *site) logged(parts ...string) bool {
	s.t.Helper()
	text, err := os.ReadFile(s.log)
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		if !slices.ContainsFunc(parts, func(part string) bool { return !bytes.Contains(line, []byte(part)) }) {
			return true
		}
	}
	return false
}

// processes are those of the site, of whatever supervisor: its folder is in the
// environment of each. A zombie has none. Commands of the test's own are over.
func (s *site) processes() map[int]string {
	s.t.Helper()
	found := make(map[int]string)
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range paths {
		environ, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(environ, []byte("="+s.dir+"/")) && !bytes.Contains(environ, []byte("="+s.dir+"\x00")) {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if alive(pid) {
			found[pid] = string(environ)
		}
	}
	return found
}

// nobody waits until no process of the site is left.
func (s *site) nobody(within time.Duration) {
	s.t.Helper()
	took := eventually(s.t, within, "no process is left", func() bool { return len(s.processes()) == 0 })
	s.t.Logf("no process was left after %v", took)
}

// restored waits until the faulty bulkhead has all its workers.
func (f *faultTrial) restored(within time.Duration) time.Duration {
	f.t.Helper()
	return eventually(f.t, within, "faulty has all its workers", func() bool { return f.site.bulkhead("faulty").State == "ready" })
}

// replaceBinary puts other content where the faulty bulkhead's binary is.
func (f *faultTrial) replaceBinary(mode os.FileMode, script string) {
	f.t.Helper()
	next := f.bin + ".next"
	err := os.WriteFile(next, []byte(script), mode)
	if err == nil {
		err = os.Chmod(next, mode)
	}
	if err == nil {
		err = os.Rename(next, f.bin)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// restoreBinary undoes that.
func (f *faultTrial) restoreBinary() {
	f.t.Helper()
	_ = os.Remove(f.bin)
	if err := os.Symlink(self(f.t), f.bin); err != nil {
		f.t.Fatal(err)
	}
}

// environ is one variable of a process.
func environ(t *testing.T, pid int, name string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		t.Fatal(err)
	}
	return variable(string(text), name)
}

func variable(environ, name string) string {
	for v := range strings.SplitSeq(environ, "\x00") {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// TestFaults is the part of the catalogue that one worker pool can suffer; the
// faults of the supervisor and its host have tests of their own, with the same
// numbers.
func TestFaults(t *testing.T) {
	beside(t)
	for _, number := range slices.Sorted(maps.Keys(faultRows)) {
		row := faultRows[number]
		t.Run(fmt.Sprintf("%02d %s", number, row.name), row.run)
	}
}
