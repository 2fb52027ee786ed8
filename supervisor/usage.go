package supervisor

import (
	"strconv"
	"sync"
	"time"

	"commerce.example/coordinator/ipc/process"
	"commerce.example/coordinator/supervisor/pool"
)

// usage keeps the CPU time of each slot over the lives of its workers: a
// counter must not fall when a worker is replaced.
type usage struct {
	mu    sync.Mutex
	slots map[int]*slotUsage
}

type slotUsage struct {
	label    string
	pid      int
	cpu      time.Duration // of pid, when last read
	before   time.Duration // of the workers before it, as far as they were seen
	cpuTotal time.Duration
	memory   uint64

	descriptors int
}

// read brings the figures up to date for the slots that exist.
func (u *usage) read(workers []pool.Status) []slotUsage {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.slots == nil {
		u.slots = make(map[int]*slotUsage)
	}
	list := make([]slotUsage, 0, len(workers))
	for _, w := range workers {
		s := u.slots[w.Slot]
		if s == nil {
			s = &slotUsage{label: strconv.Itoa(w.Slot)}
			u.slots[w.Slot] = s
		}
		s.update(w.Pid)
		list = append(list, *s)
	}
	return list
}

func (s *slotUsage) update(pid int) {
	if pid != s.pid {
		s.before += s.cpu
		s.pid, s.cpu = pid, 0
	}
	s.memory, s.descriptors = 0, 0
	if pid != 0 {
		if now, err := process.UsageOf(pid); err == nil {
			s.cpu, s.memory = max(s.cpu, now.CPU), now.Anonymous
		}
		s.descriptors, _ = process.DescriptorsOf(pid)
	}
	s.cpuTotal = s.before + s.cpu
}
