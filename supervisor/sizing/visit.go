package sizing

import "time"

// Visit is one request at a bulkhead's limiter.
type Visit struct {
	At   time.Duration // its arrival, since the recording began
	Wait time.Duration // in the line
	Held time.Duration // its slot; 0 where it got none
	Fate Fate
}

// Fate is what became of a Visit.
type Fate uint8

const (
	Served       Fate = iota // it got a slot
	QueueFull                // refused at once
	QueueTimeout             // refused after the queue timeout
	Gone                     // the caller left the line
)

const fates = 4
