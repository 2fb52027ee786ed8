package pool

import (
	"sync"
	"time"
)

const (
	missMemory = 2 * time.Second // misses this close together are of one cause
	missExcuse = 10 * time.Second
)

// Peers is what the pools of one supervisor know of each other: that they miss
// probes together. Then the machine is at fault, and to replace all workers at
// once would be the worst that can be done to it. A miss that lasts for 10 s
// counts all the same. The zero Peers is ready, nil is that of a pool alone; it
// is safe for concurrent use.
type Peers struct {
	mu     sync.Mutex
	missed map[*Pool]time.Time // the last time, within missMemory
	alone  time.Time           // when at most one pool had missed, the last time
}

// excuse notes that a worker of p missed a probe, and reports whether others did.
func (ps *Peers) excuse(p *Pool, now time.Time) bool {
	if ps == nil {
		return false
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for other, at := range ps.missed {
		if now.Sub(at) > missMemory {
			delete(ps.missed, other)
		}
	}
	if ps.missed == nil {
		ps.missed = make(map[*Pool]time.Time)
	}
	ps.missed[p] = now
	if len(ps.missed) == 1 {
		ps.alone = now
		return false
	}
	return now.Sub(ps.alone) < missExcuse
}
