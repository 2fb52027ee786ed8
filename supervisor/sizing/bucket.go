package sizing

import "time"

const (
	bucketLength = 10 * time.Second
	numBuckets   = 360 // whole ones kept beside the present one

	// Longest is the longest window that a Recorder remembers.
	Longest = numBuckets * bucketLength
)

// A bucket is what happened in ten seconds. Sums are in seconds.
type bucket struct {
	fates     [fates]uint32 // visits by what became of them; Served when admitted
	arrived   [10]uint32    // by second
	gaps      moments       // between arrivals
	holding   moments
	waits     moments // of those that were admitted after a wait
	atOnce    uint32  // those that were admitted without
	peak      int32   // concurrency
	crowd     covariance
	cpu       float64
	failed    uint32 // of those that gave their slot back
	held      cells
	waited    cells
	breakerOn float64 // time with the breaker not closed; in the ring only
}

func (b *bucket) merge(o *bucket) {
	for i, n := range o.fates {
		b.fates[i] += n
	}
	for i, n := range o.arrived {
		b.arrived[i] += n
	}
	b.gaps.merge(o.gaps)
	b.holding.merge(o.holding)
	b.waits.merge(o.waits)
	b.atOnce += o.atOnce
	b.peak = max(b.peak, o.peak)
	b.crowd.merge(o.crowd)
	b.cpu += o.cpu
	b.failed += o.failed
	for i, n := range o.held {
		b.held[i] += n
	}
	for i, n := range o.waited {
		b.waited[i] += n
	}
	b.breakerOn += o.breakerOn
}

// moments are sums of which mean and variance are made.
type moments struct{ n, sum, squares float64 }

func (m *moments) add(x float64) {
	m.n++
	m.sum += x
	m.squares += x * x
}

func (m *moments) merge(o moments) {
	m.n += o.n
	m.sum += o.sum
	m.squares += o.squares
}

func (m moments) mean() float64 {
	if m.n == 0 {
		return 0
	}
	return m.sum / m.n
}

// scv is the squared coefficient of variation, 0 for less than two values.
func (m moments) scv() float64 {
	if m.n < 2 || m.sum <= 0 {
		return 0
	}
	mean := m.mean()
	return max(m.squares-m.n*mean*mean, 0) / (m.n - 1) / (mean * mean)
}

// covariance are the sums of a regression of y on x.
type covariance struct{ n, x, y, xx, yy, xy float64 }

func (c *covariance) add(x, y float64) {
	c.n++
	c.x += x
	c.y += y
	c.xx += x * x
	c.yy += y * y
	c.xy += x * y
}

func (c *covariance) merge(o covariance) {
	c.n += o.n
	c.x += o.x
	c.y += o.y
	c.xx += o.xx
	c.yy += o.yy
	c.xy += o.xy
}
