package metronome_test

import (
	"testing"
	"testing/synctest"
	"time"

	"commerce.example/coordinator/supervisor/hdr"
	"commerce.example/coordinator/supervisor/metronome"
)

// The clock of a bubble waits for everybody, so no beat is late there.
func TestPhases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := metronome.Start()
		time.Sleep(time.Second)
		m.Cut("fault")
		time.Sleep(time.Second + time.Millisecond) // between two beats
		m.Cut("after")
		m.Stop()
		for phase, beats := range map[string]bool{"": true, "fault": true, "after": false, "no such": false} {
			if late := m.Late(phase, metronome.Excuse); late > hdr.Lowest || late > 0 != beats {
				t.Errorf("%q: %v late", phase, late)
			}
		}
	})
}
