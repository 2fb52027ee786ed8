package supervisor

import (
	"container/list"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"commerce.example/coordinator/ipc"
	"commerce.example/coordinator/ipc/exchange"
)

const (
	poisonDeaths  = 2 // workers that died with a request before it is refused
	poisonEntries = 1024
	poisonFor     = time.Hour // since the last death
)

// fingerprint is a request without anything of it that could be read: a hash of
// method, host, target and length under a key that no other process knows.
type fingerprint [16]byte

func (f fingerprint) String() string { return hex.EncodeToString(f[:]) }

// poison remembers the requests that workers died with. One that was in flight
// at two deaths is refused, for it may be what kills them.
//
// Requests that are merely frequent are in flight at any death, also when
// somebody kills all workers at once. Three rules are for them: an answer in full
// clears a request; a death counts only if the request was handed over after the
// one before it; and none counts against a request that was answered in the
// minute before, unless another follows. It is safe for concurrent use.
type poison struct {
	excused  atomic.Bool  // while a drill kills workers: no request is to blame
	suspects atomic.Int32 // while there are none, no request pays for a fingerprint
	answered *answered
	key      [32]byte

	mu      sync.Mutex
	of      map[fingerprint]*list.Element
	order   list.List  // of *suspect, the oldest last death first
	unnamed []*suspect // refused by now, and not yet in the log
}

// suspect is a request that a worker died with.
type suspect struct {
	print        fingerprint
	method, path string // without the query
	deaths       int
	last         time.Time // death, also one that did not count
	since        time.Time // it is refused; zero: it is not
}

func newPoison(now time.Time) *poison {
	p := &poison{answered: newAnswered(now), of: make(map[fingerprint]*list.Element)}
	rand.Read(p.key[:]) // never fails
	return p
}

// printOf is the fingerprint of r. No part can contain the zero byte that ends
// it, and what is cut off the hash cannot be extended.
func (p *poison) printOf(r *http.Request) fingerprint {
	b := append(make([]byte, 0, 512), p.key[:]...)
	for _, part := range [...]string{r.Method, r.Host, r.RequestURI} {
		b = append(append(b, part...), 0)
	}
	sum := sha256.Sum256(strconv.AppendInt(b, r.ContentLength, 10))
	return fingerprint(sum[:len(fingerprint{})])
}

// died notes that a worker died with r, which it had been handed at that time. It
// returns at how many deaths the same request was in flight.
func (p *poison) died(r *http.Request, handed, now time.Time) int {
	if p.excused.Load() {
		return 0
	}
	print := p.printOf(r)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire(now)
	e := p.of[print]
	if e == nil {
		if p.order.Len() == poisonEntries {
			p.remove(p.order.Front())
		}
		s := &suspect{print: print, method: r.Method, path: shortPath(r.URL.Path)}
		if p.answered.lately(r, now) {
			s.last = now
		}
		e = p.order.PushBack(s)
		p.of[print] = e
		p.suspects.Add(1)
	}
	s := e.Value.(*suspect)
	if !handed.After(s.last) {
		return s.deaths
	}
	s.last = now
	p.order.MoveToBack(e)
	if s.deaths++; s.deaths == poisonDeaths {
		s.since = now
		p.unnamed = append(p.unnamed, s)
	}
	return s.deaths
}

// refuses reports whether r is not to be sent.
func (p *poison) refuses(r *http.Request, now time.Time) bool {
	if p.suspects.Load() == 0 {
		return false
	}
	print := p.printOf(r)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire(now)
	e := p.of[print]
	return e != nil && !e.Value.(*suspect).since.IsZero()
}

// absolve clears a request that a worker has answered in full.
func (p *poison) absolve(r *http.Request, now time.Time) {
	p.answered.note(r, now)
	if p.suspects.Load() == 0 {
		return
	}
	print := p.printOf(r)
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.of[print]; e != nil {
		p.remove(e)
	}
}

// forgive forgets the request of a fingerprint, and with an empty one all. It
// returns how many of them were refused.
func (p *poison) forgive(print string, now time.Time) (refused int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire(now)
	for e := p.order.Front(); e != nil; {
		next, s := e.Next(), e.Value.(*suspect)
		if print == "" || print == s.print.String() {
			if !s.since.IsZero() {
				refused++
			}
			p.remove(e)
		}
		e = next
	}
	return refused
}

// refused is every request that is, the first one first.
func (p *poison) refused(now time.Time) []PoisonStatus {
	list := []PoisonStatus{}
	if p.suspects.Load() == 0 {
		return list
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire(now)
	for e := p.order.Front(); e != nil; e = e.Next() {
		if s := e.Value.(*suspect); !s.since.IsZero() {
			list = append(list, s.status())
		}
	}
	return list
}

// fresh is what refused has gained since the last call, for the log.
func (p *poison) fresh() (list []PoisonStatus) {
	if p.suspects.Load() == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.unnamed {
		list = append(list, s.status())
	}
	p.unnamed = nil
	return list
}

func (s *suspect) status() PoisonStatus {
	return PoisonStatus{Fingerprint: s.print.String(), Method: s.method, Path: s.path, Deaths: s.deaths, Since: s.since}
}

// expire forgets those whose last death is long ago. It is called under the lock.
func (p *poison) expire(now time.Time) {
	for e := p.order.Front(); e != nil && now.Sub(e.Value.(*suspect).last) > poisonFor; e = p.order.Front() {
		p.remove(e)
	}
}

// remove is called under the lock.
func (p *poison) remove(e *list.Element) {
	p.order.Remove(e)
	delete(p.of, e.Value.(*suspect).print)
	p.suspects.Add(-1)
}

// suspect notes that the worker died while it had the request: it ended by
// itself or had to be given up. One that it had not taken up had no part in
// that, and neither has any in an end that an operator or a drill caused.
func (c *call) suspect(e *exchange.Error) {
	switch {
	case e.Stage == exchange.Waiting || ipc.Told(e) || c.lease.Drilled():
		return
	case e.Fault == exchange.WorkerUnresponsive:
	case e.Fault == exchange.WorkerDied && c.lease.Died():
	default:
		return
	}
	c.deadly = c.bulkhead.poison.died(c.r, c.handed, time.Now()) >= poisonDeaths
}
