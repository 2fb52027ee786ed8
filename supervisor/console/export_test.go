package console

import (
	"time"
	"unsafe"
)

// SizeOfTrack is what a Feed keeps of a bulkhead, in bytes.
const SizeOfTrack = unsafe.Sizeof(track{})

// Ticks is the tick of a Feed that does not run, listened to by nobody or by one who
// reads at once.
func Ticks(read func(time.Time, Want) Reading, listening bool) (tick func(time.Time)) {
	f := NewFeed(read)
	if !listening {
		return f.tick
	}
	l := &listener{events: make(chan []byte, Backlog)}
	f.admit(l, time.Now())
	return func(now time.Time) {
		f.tick(now)
		for len(l.events) > 0 {
			<-l.events
		}
	}
}
