package pool

import (
	"testing"
	"time"
)

func TestSharesSpread(t *testing.T) {
	least, most := 2.0, 0.0
	for range 1000 {
		m := newMember(&slot{pool: &Pool{}}, nil)
		least, most = min(least, m.share), max(most, m.share)
	}
	if least < 0.75 || most > 1 || least > 0.77 || most < 0.98 {
		t.Errorf("1000 workers have from %v to %v of their limits", least, most)
	}
}

func TestLimitsReached(t *testing.T) {
	all := Limits{Memory: 100 << 20, Descriptors: 1000, Requests: 1000, Age: time.Hour}
	for name, test := range map[string]struct {
		limits Limits
		share  float64
		wear   wear
		want   Cause
	}{
		"new":                    {all, 0.8, wear{}, ""},
		"nearly":                 {all, 0.8, wear{80<<20 - 1, 799, 799, 48*time.Minute - 1}, ""},
		"memory":                 {all, 0.8, wear{memory: 80 << 20}, CauseMemory},
		"descriptors":            {all, 0.8, wear{descriptors: 800}, CauseDescriptors},
		"requests":               {all, 0.8, wear{requests: 800}, CauseRequests},
		"age":                    {all, 0.8, wear{age: 48 * time.Minute}, CauseAge},
		"what hurts first":       {all, 1, wear{1 << 40, 1 << 20, 1 << 40, time.Hour}, CauseMemory},
		"no limit":               {Limits{}, 0.75, wear{1 << 40, 1 << 20, 1 << 40, 1000 * time.Hour}, ""},
		"one request":            {Limits{Requests: 1}, 0.75, wear{requests: 1}, CauseRequests},
		"none yet of one":        {Limits{Requests: 1}, 0.75, wear{}, ""},
		"figures are not known":  {Limits{Memory: 1, Descriptors: 1}, 0.75, wear{}, ""},
		"lowered below the wear": {Limits{Age: time.Second}, 1, wear{age: time.Hour}, CauseAge},
	} {
		cause, why := test.limits.reached(test.share, test.wear)
		if cause != test.want || (why != nil) != (test.want != "") {
			t.Errorf("%s: %q, %v, want %q", name, cause, why, test.want)
		}
	}
}
