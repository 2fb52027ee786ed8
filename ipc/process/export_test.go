package process

// HoldForks has every fork wait until release is called.
func HoldForks() (release func()) {
	children.forking.Lock()
	return children.forking.Unlock
}

// Clean, Cut, NewBucket and Take are the parts of the output that have no process.
var Clean = clean

func Cut(limit int, chunks ...string) (lines []string, cut []bool, lost uint64) {
	s := splitter{limit: limit, emit: func(line []byte, c bool) {
		lines, cut = append(lines, string(line)), append(cut, c)
	}}
	for _, c := range chunks {
		s.write([]byte(c))
	}
	s.flush()
	return lines, cut, s.lost
}

// CutEach is Cut without the copies.
func CutEach(limit int, b []byte, emit func(line []byte, cut bool)) {
	s := splitter{limit: limit, emit: emit}
	s.write(b)
	s.flush()
}

var (
	NewBucket = newBucket
	Take      = (*bucket).take
)
