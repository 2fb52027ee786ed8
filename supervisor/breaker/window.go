package breaker

import "time"

// buckets is how many whole parts of a window are kept beside the one that is
// being filled.
const buckets = 20

// A tally counts calls. A call is in it once, however many of its marks it has:
// neither failures nor slow ever exceeds calls.
type tally struct{ calls, failures, slow int }

func (t *tally) add(u tally) {
	t.calls += u.calls
	t.failures += u.failures
	t.slow += u.slow
}

func (t *tally) remove(u tally) {
	t.calls -= u.calls
	t.failures -= u.failures
	t.slow -= u.slow
}

// A bucket is the calls of one part of the window, and how many of its results
// belong to a run of failures or of slow calls.
type bucket struct {
	tally
	failRun, slowRun int
}

// A window is the calls of the last length of time, to a resolution of a
// twentieth: a call counts for at least length, and for less than length/20
// more. Adding a call costs a few additions, whatever the window holds.
//
// Buckets are numbered; the numbers only rise, also when the clock does not.
type window struct {
	length time.Duration
	width  time.Duration // of a bucket
	start  time.Time     // of the present bucket
	seq    int64         // number of the present bucket
	ring   [buckets + 1]bucket
	total  tally

	// Failures since the last success, and slow calls since the last that was
	// not, as far as the window holds them. A run was last broken in its From:
	// what buckets before that hold of it is void.
	failRun, slowRun         int
	failRunFrom, slowRunFrom int64
}

// newWindow is empty at now and gives its first bucket the number seq, which
// must be above 0.
func newWindow(length time.Duration, now time.Time, seq int64) window {
	return window{length: length, width: (length-1)/buckets + 1, start: now, seq: seq}
}

// advance drops what is too old at now. Calls that read the clock in one order
// and get here in another are usual, and count in the present bucket. But a
// clock set back by more than the window would stop it for that long, so then it
// starts anew.
func (w *window) advance(now time.Time) {
	elapsed := now.Sub(w.start)
	if elapsed < -w.length {
		*w = newWindow(w.length, now, w.next())
		return
	}
	if elapsed < w.width {
		return
	}
	steps := int64(elapsed / w.width)
	w.start = w.start.Add(time.Duration(steps) * w.width)
	if steps > buckets {
		*w = newWindow(w.length, w.start, w.seq+steps)
		return
	}
	for range steps {
		w.seq++
		w.expire(w.at(w.seq))
	}
}

// expire empties the oldest bucket, which becomes the present one.
func (w *window) expire(b *bucket) {
	number := w.seq - int64(len(w.ring))
	w.total.remove(b.tally)
	if number >= w.failRunFrom {
		w.failRun -= b.failRun
	}
	if number >= w.slowRunFrom {
		w.slowRun -= b.slowRun
	}
	*b = bucket{}
}

// clear forgets all calls; the bounds of the buckets stay.
func (w *window) clear() { *w = newWindow(w.length, w.start, w.next()) }

// next is a number so high that nothing before it is held any more.
func (w *window) next() int64 { return w.seq + int64(len(w.ring)) }

func (w *window) at(seq int64) *bucket { return &w.ring[seq%int64(len(w.ring))] }

// holds reports whether the bucket with that number is still in the window.
func (w *window) holds(seq int64) bool { return seq > w.seq-int64(len(w.ring)) }

// count adds marks to the bucket with that number, which the window holds.
func (w *window) count(seq int64, t tally) {
	w.at(seq).add(t)
	w.total.add(t)
}

func (w *window) extendFailRun() {
	w.failRun++
	w.at(w.seq).failRun++
}

func (w *window) extendSlowRun() {
	w.slowRun++
	w.at(w.seq).slowRun++
}

func (w *window) breakFailRun() {
	w.failRun, w.failRunFrom = 0, w.seq
	w.at(w.seq).failRun = 0
}

func (w *window) breakSlowRun() {
	w.slowRun, w.slowRunFrom = 0, w.seq
	w.at(w.seq).slowRun = 0
}
