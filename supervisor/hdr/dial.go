package hdr

import "time"

const (
	parts      = 4 // whole parts kept beside the present one
	partLength = time.Minute / parts
)

// A dial says which of parts+1 places of a ring is the present one. The zero dial
// starts with its first turn.
type dial struct {
	at    int
	start time.Time // of the present part
}

// turn moves on to the part that now is in, and has each place on the way
// emptied before it is used again. It reports whether it emptied all because the
// clock was set back by more than a minute.
func (d *dial) turn(now time.Time, empty func(at int)) (anew bool) {
	if d.start.IsZero() {
		d.start = now
	}
	elapsed := now.Sub(d.start)
	if elapsed < partLength && elapsed >= -time.Minute {
		return false
	}
	if elapsed < 0 {
		d.start = now
		for at := range parts + 1 {
			empty(at)
		}
		return true
	}
	steps := elapsed / partLength
	d.start = d.start.Add(steps * partLength)
	for range min(steps, parts+1) {
		d.at = (d.at + 1) % (parts + 1)
		empty(d.at)
	}
	return false
}
