//go:build linux

package main_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// metrics is one scrape.
type metrics map[string]*dto.MetricFamily

func (s *site) metrics() metrics {
	s.t.Helper()
	_, body, err := s.adminGet("/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	return families
}

// sum adds the samples of a metric that have all these labels, given as name,
// value, name, value; of a histogram, the counts.
func (m metrics) sum(name string, labels ...string) (sum float64) {
	for _, sample := range m[name].GetMetric() {
		found := 0
		for _, l := range sample.Label {
			for i := 0; i < len(labels); i += 2 {
				if l.GetName() == labels[i] && l.GetValue() == labels[i+1] {
					found++
				}
			}
		}
		if found == len(labels)/2 {
			sum += sample.GetCounter().GetValue() + sample.GetGauge().GetValue() + float64(sample.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// metric is sum of a scrape of its own; the metric must be there.
func (s *site) metric(name string, labels ...string) float64 {
	s.t.Helper()
	m := s.metrics()
	if m[name] == nil {
		s.t.Fatalf("no metric %s", name)
	}
	return m.sum(name, labels...)
}

// proc reads a figure of a process, such as RssAnon, in KiB.
func proc(t *testing.T, pid int, field string) int {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), field+":"); ok {
			n, err := strconv.Atoi(strings.Fields(value)[0])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %s of %d", field, pid)
	return 0
}

// alive reports whether a process runs; a zombie does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	return len(rest) > 0 && rest[0] != 'Z'
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if pid == 0 {
		t.Fatal("no process to kill")
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// Who reads the log may die: nothing but lines is lost.
func TestE2EStandardErrorBreaks(t *testing.T) {
	beside(t)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
	t.Cleanup(backend.Close)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, "COORDINATOR_BULKHEADS=a", "BULKHEAD_A_ROUTES=/", "BULKHEAD_A_BACKEND="+backend.URL)
	s.stderr = w
	read := make(chan struct{})
	go func() { io.Copy(io.Discard, r); close(read) }()
	s.start()
	w.Close()
	r.Close()
	<-read
	s.must("restart", "a") // logs
	select {
	case <-s.exited:
		t.Fatalf("the supervisor ended: %v", s.cmd.ProcessState)
	default:
	}
	resp, err := http.Get(s.url)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	s.signal(syscall.SIGTERM)
	if code := s.exit(20 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
