package accesslog

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Sampling says which requests get a line. The zero value is off. It is a
// [encoding.TextUnmarshaler], for configuration.
type Sampling struct {
	failures bool
	one      uint32 // line out of so many successful requests; 0: none
}

// MaxSample is the largest N of sample:N.
const MaxSample = 1_000_000

// ParseSampling reads off, failures, sample:N with N of 1 to 1000000, or all.
// With sample:N each failure gets a line, and of the successful requests one in N
// by chance.
func ParseSampling(s string) (Sampling, error) {
	switch s {
	case "off":
		return Sampling{}, nil
	case "failures":
		return Sampling{failures: true}, nil
	case "all":
		return Sampling{failures: true, one: 1}, nil
	}
	if digits, ok := strings.CutPrefix(s, "sample:"); ok {
		if n, err := strconv.ParseUint(digits, 10, 32); err == nil && n >= 1 && n <= MaxSample {
			return Sampling{failures: true, one: uint32(n)}, nil
		}
	}
	return Sampling{}, fmt.Errorf("want one of off, failures, sample:N with N from 1 to %d, all", MaxSample)
}

// UnmarshalText is ParseSampling.
func (s *Sampling) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSampling(string(text))
	return err
}

// String is what ParseSampling reads; sample:1 reads "all".
func (s Sampling) String() string {
	switch {
	case !s.failures:
		return "off"
	case s.one == 0:
		return "failures"
	case s.one == 1:
		return "all"
	}
	return "sample:" + strconv.FormatUint(uint64(s.one), 10)
}

// Off reports that no request gets a line.
func (s Sampling) Off() bool { return !s.failures }

// pick is how many requests the line of a request stands for; 0: it gets none.
// It is by chance, not by counting, so that no rhythm of the traffic meets that
// of the sample.
func (s Sampling) pick(failed bool) uint32 {
	switch {
	case failed && s.failures:
		return 1
	case s.one <= 1:
		return s.one
	case rand.Uint32N(s.one) == 0:
		return s.one
	}
	return 0
}
