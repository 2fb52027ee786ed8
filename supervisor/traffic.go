package supervisor

import (
	"sync"
	"time"

	"commerce.example/coordinator/ipc/process"
	"commerce.example/coordinator/supervisor/adaptive"
	"commerce.example/coordinator/supervisor/breaker"
	"commerce.example/coordinator/supervisor/pool"
	"commerce.example/coordinator/supervisor/sizing"
)

// sized is by what a bulkhead admits, and since when.
type sized struct {
	setting sizing.Setting
	since   time.Time
}

// settingOf is that of c. A limit that follows the backend is its upper bound: its
// steps are no change of the setting.
func settingOf(c BulkheadConfig) sizing.Setting {
	s := sizing.Setting{Limit: c.Limit, Queue: c.Queue, QueueTimeout: min(c.QueueTimeout, c.Timeout)}
	if c.Adaptive.Mode == adaptive.Auto {
		s.Limit = c.Adaptive.Most
	}
	return s
}

// setting is by what the bulkhead admits now.
func (b *Bulkhead) setting(now time.Time) sizing.Setting {
	set := b.settings.Load()
	s, l := settingOf(set.BulkheadConfig), b.limiter.Stats(now)
	if s.Queue = l.Queue; set.Adaptive.Mode != adaptive.Auto {
		s.Limit = l.Limit
	}
	return s
}

// observeSetting tells the evidence when requests say nothing about the traffic as
// it is, and notes when the setting changes. The watch calls it.
func (b *Bulkhead) observeSetting(now time.Time) {
	b.traffic.BreakerClosed(now, !b.draining.Load() && !b.hurt() && !refusesMost(b.breaker.Stats(now).State))
	if s := b.setting(now); s != b.sized.Load().setting {
		b.sized.Store(&sized{setting: s, since: now})
	}
}

// hurt reports whether a drill plays a fault on it.
func (b *Bulkhead) hurt() bool {
	mode := b.drilling.Load()
	return mode != nil && *mode != DrillFallback
}

func refusesMost(s breaker.State) bool {
	return s == breaker.StateOpen || s == breaker.StateHalfOpen || s == breaker.StateForcedOpen
}

// The CPU time of workers is read every 2 s, and of each bulkhead in another tick
// of the watch: to read it takes some tens of microseconds a worker.
const (
	cpuEvery   = int(2 * time.Second / watchEvery)
	cpuStagger = 7
)

// observeCPU adds what the workers worked since it was last called to the
// evidence.
func (b *Bulkhead) observeCPU(now time.Time) {
	b.traffic.Worked(now, b.worked.read(b.pool.Load().Status()))
}

// cpuMeter reads the CPU time that workers spend on requests: what one had spent
// when it was first seen was for its start.
type cpuMeter struct {
	mu   sync.Mutex
	seen map[int]time.Duration // by pid
}

// read is the CPU time since the last read, without that of workers that have
// ended since.
func (m *cpuMeter) read(workers []pool.Status) (spent time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := make(map[int]time.Duration, len(workers))
	for _, w := range workers {
		if w.Pid == 0 {
			continue
		}
		used, err := process.UsageOf(w.Pid)
		if err != nil {
			continue
		}
		if before, known := m.seen[w.Pid]; known {
			spent += max(used.CPU-before, 0)
		}
		seen[w.Pid] = used.CPU
	}
	m.seen = seen
	return spent
}
