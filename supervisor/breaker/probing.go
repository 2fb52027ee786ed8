package breaker

import (
	"slices"
	"time"
)

// probePatience is how long a probe may keep its permit without a result. A
// probe that hangs tells about the backend as it was when the probe was sent;
// past this time another may ask how it is now.
const probePatience = time.Second

// probing is one half-open period: how many results it wants, those that are
// in, and the probes that hold a permit, oldest first.
type probing struct {
	wanted  int
	results tally
	out     []probe
	lastID  uint64
}

type probe struct {
	id uint64
	at time.Time
}

// begin starts a period without results and with all permits free. IDs go on,
// so that a probe of an earlier period is nobody's twin.
func (p *probing) begin() {
	p.results = tally{}
	p.out = p.out[:0]
}

// resize makes room for that many permits, so that take allocates nothing.
func (p *probing) resize(wanted int) {
	p.wanted = wanted
	p.out = slices.Grow(p.out, max(0, wanted-len(p.out)))
}

// free is the number of permits to be had at now, 0 or less when there is none.
func (p *probing) free(now time.Time) int {
	held := 0
	for _, o := range p.out {
		if !o.hung(now) {
			held++
		}
	}
	return p.wanted - p.results.calls - held
}

// take hands out a permit, of which there is a free one, and returns its ID.
func (p *probing) take(now time.Time) uint64 {
	p.out = slices.DeleteFunc(p.out, func(o probe) bool { return o.hung(now) })
	p.lastID++
	p.out = append(p.out, probe{p.lastID, now})
	return p.lastID
}

// settle ends the hold of a probe on its permit, if it has one still. Without a
// result the permit is free again.
func (p *probing) settle(id uint64) {
	p.out = slices.DeleteFunc(p.out, func(o probe) bool { return o.id == id })
}

// hung holds in both directions, so that a clock set back ends it too.
func (o probe) hung(now time.Time) bool { return now.Sub(o.at).Abs() >= probePatience }
