package journal

import (
	"slices"
	"time"
)

// recoverDead closes what runs that are dead left open. It returns the closes and
// the runs that they settle: those that left nothing too, so that none is read
// again.
//
// It reads the last two segments of each: an intent that is open when a segment
// ends is carried into the next, unless its close or the crash came between. A run
// that cannot be read is left for another time; the reader concludes the same.
func (j *Journal) recoverDead(now time.Time) (lines []byte, runs []string) {
	segments, err := list(j.dir)
	if err != nil {
		j.o.Notify(Event{Kind: EventUnsettled, Err: err})
		return nil, nil
	}
	closed := 0
	for _, run := range unsettled(segments, j.run) {
		open, err := leftOpen(j.dir, run)
		if err != nil {
			j.o.Notify(Event{Kind: EventUnsettled, Segment: run[len(run)-1].name, Err: err})
			continue
		}
		for _, r := range open {
			lines = appendRecord(lines, KindClose, []byte(r.Entry), now, j.verdict(r))
		}
		closed += len(open)
		if runs = append(runs, run[0].run); len(runs) == maxSettledRuns {
			break
		}
	}
	if closed > 0 {
		j.o.Notify(Event{Kind: EventRecovered, Count: closed})
	}
	return lines, runs
}

// verdict turns an intent that nobody closed into its close.
func (j *Journal) verdict(intent *Record) *Record {
	r := *intent
	r.By, r.Outcome = ByRecovery, OutcomeSentUnknown
	if j.o.Prove(intent) == OutcomeNeverSent {
		r.Outcome, r.RetrySafe = OutcomeNeverSent, true
	}
	return &r
}

// unsettled is, for each run that is dead and that no head settles, its last
// segments, two at most, oldest run first.
func unsettled(segments []*segment, own string) [][]*segment {
	skip := map[string]bool{own: true, "": true}
	for _, s := range segments {
		if s.live {
			skip[s.run] = true
		}
		if s.head != nil {
			for _, run := range s.head.Settles {
				skip[run] = true
			}
		}
	}
	var found [][]*segment
	for _, s := range segments {
		if skip[s.run] {
			continue
		}
		i := slices.IndexFunc(found, func(run []*segment) bool { return run[0].run == s.run })
		if i < 0 {
			found = append(found, []*segment{s})
		} else if found[i] = append(found[i], s); len(found[i]) > 2 {
			found[i] = found[i][1:]
		}
	}
	return found
}

// leftOpen is the intents of a run that nothing closes, oldest first. Only those
// are decoded.
func leftOpen(dir string, run []*segment) (open []*Record, err error) {
	intents := make(map[string][]byte)
	var order []string
	for _, s := range run {
		err := s.scan(dir, func(_ int64, line []byte) error {
			kind, entry := peek(line)
			switch string(kind) {
			case KindIntent:
				if _, carried := intents[string(entry)]; !carried {
					intents[string(entry)] = slices.Clone(line)
					order = append(order, string(entry))
				}
			case KindClose:
				delete(intents, string(entry))
			}
			return nil
		}, nil)
		if err != nil {
			return nil, err
		}
	}
	for _, entry := range order {
		line, ok := intents[entry]
		if !ok {
			continue
		}
		delete(intents, entry)
		r, err := decodeRecord(line)
		if err != nil {
			return nil, err
		}
		open = append(open, r)
	}
	return open, nil
}
