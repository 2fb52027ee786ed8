package config

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"commerce.example/coordinator/ipc/credential"
	"commerce.example/coordinator/supervisor/fallback"
)

// The types of values. Each UnmarshalText fails with what is accepted, and with
// nothing else: the variable and its value are named by the caller.
//
// Types that hold a slice of structs hide it in an unexported field: env/v11
// would take a bare one for a list of BULKHEAD_X_0_..., BULKHEAD_X_1_....

// A count is a whole number, at least 1.
type count int

func (c *count) UnmarshalText(text []byte) error {
	n, ok := number(string(text), 1)
	if !ok {
		return fmt.Errorf("want a whole number from 1 to %d", maxCount)
	}
	*c = count(n)
	return nil
}

// A countOrZero is a whole number, at least 0.
type countOrZero int

func (c *countOrZero) UnmarshalText(text []byte) error {
	n, ok := number(string(text), 0)
	if !ok {
		return fmt.Errorf("want a whole number from 0 to %d", maxCount)
	}
	*c = countOrZero(n)
	return nil
}

// A countOrOff is a whole number, at least 1, or 0 for "off".
type countOrOff int

func (c *countOrOff) UnmarshalText(text []byte) error {
	n, ok := number(string(text), 1)
	if !ok && string(text) != off {
		return fmt.Errorf("want off or a whole number from 1 to %d", maxCount)
	}
	*c = countOrOff(n)
	return nil
}

// A tallyOrOff is a whole number of what adds up over a long time, at least 1, or
// 0 for "off".
type tallyOrOff int64

func (c *tallyOrOff) UnmarshalText(text []byte) error {
	const most = 1_000_000_000_000
	n, err := strconv.ParseInt(string(text), 10, 64)
	if string(text) == off {
		n, err = 0, nil
	} else if n < 1 || n > most {
		err = strconv.ErrRange
	}
	if err != nil {
		return fmt.Errorf("want off or a whole number from 1 to %d", int64(most))
	}
	*c = tallyOrOff(n)
	return nil
}

// off is how a limit is written that there is to be none of.
const off = "off"

// maxCount is far above anything sensible and keeps sums of counts in an int.
const maxCount = 1_000_000

func number(text string, least int) (int, bool) {
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > maxCount {
		return 0, false
	}
	return n, true
}

// A span is a duration above 0.
type span time.Duration

func (s *span) UnmarshalText(text []byte) error {
	d, err := duration(string(text), "a duration above 0")
	if err == nil && d == 0 {
		err = errors.New("want a duration above 0, such as 1500ms")
	}
	*s = span(d)
	return err
}

// A spanOrZero is a duration, 0 included.
type spanOrZero time.Duration

func (s *spanOrZero) UnmarshalText(text []byte) error {
	d, err := duration(string(text), "0 or a duration")
	*s = spanOrZero(d)
	return err
}

// A spanOrOff is a duration above 0, or 0 for "off".
type spanOrOff time.Duration

func (s *spanOrOff) UnmarshalText(text []byte) error {
	*s = 0
	if string(text) == off {
		return nil
	}
	d, err := duration(string(text), "off or a duration above 0")
	if err == nil && d == 0 {
		err = errors.New("want off or a duration above 0, such as 1500ms")
	}
	*s = spanOrOff(d)
	return err
}

// duration reads Go's syntax of durations; what names the accepted.
func duration(text, what string) (time.Duration, error) {
	if n, err := strconv.ParseFloat(text, 64); err == nil && n != 0 {
		return 0, fmt.Errorf("a number without a unit; want %s, such as 1500ms, 2s or 5m", what)
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("want %s, such as 1500ms, 2s or 5m", what)
	}
	return d, nil
}

// A size is a number of bytes, at least 1.
type size int64

// Longer suffixes first: every one ends in B.
var sizeUnits = []struct {
	suffix string
	bytes  int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}, {"", 1},
}

func (s *size) UnmarshalText(text []byte) error {
	for _, unit := range sizeUnits {
		digits, ok := strings.CutSuffix(string(text), unit.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n < 1 || n > math.MaxInt64/unit.bytes {
			break
		}
		*s = size(n * unit.bytes)
		return nil
	}
	return errors.New("want a number of bytes above 0, such as 512, 64KiB, 10MB or 1GiB")
}

// Size is a number of bytes, at least 1, for flags that are written as variables
// are.
type Size = size

// A sizeOrOff is a number of bytes, at least 1, or 0 for "off".
type sizeOrOff int64

func (s *sizeOrOff) UnmarshalText(text []byte) error {
	*s = 0
	if string(text) == off {
		return nil
	}
	var bytes size
	if bytes.UnmarshalText(text) != nil {
		return errors.New("want off or a number of bytes above 0, such as 256MiB or 1GiB")
	}
	*s = sizeOrOff(bytes)
	return nil
}

// A ratio is above 0 and at most 1.
type ratio float64

func (r *ratio) UnmarshalText(text []byte) error {
	v, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !(v > 0 && v <= 1) { // so written that NaN fails
		return errors.New("want a ratio above 0 and at most 1, such as 0.5")
	}
	*r = ratio(v)
	return nil
}

// A budget is FAULTS/DURATION.
type budget struct {
	faults int
	per    time.Duration
}

func (b *budget) UnmarshalText(text []byte) error {
	faults, per, _ := strings.Cut(string(text), "/")
	n, ok := number(faults, 1)
	d, err := time.ParseDuration(per)
	if !ok || err != nil || d <= 0 {
		return errors.New("want FAULTS/DURATION, both above 0, such as 5/60s")
	}
	*b = budget{n, d}
	return nil
}

// each hands the comma-separated words of text to use, none empty, none twice;
// "none" is no words. It goes on after an error, and returns all of them joined.
func each(text []byte, use func(word string) error) error {
	if string(text) == none {
		return nil
	}
	var (
		seen []string
		errs []error
	)
	for word := range strings.SplitSeq(string(text), ",") {
		word = strings.TrimSpace(word)
		switch {
		case word == "":
			errs = append(errs, errors.New("an empty entry; want entries separated by single commas"))
		case slices.Contains(seen, word):
			errs = append(errs, fmt.Errorf("%q is there twice; want it once", word))
		default:
			seen = append(seen, word)
			errs = append(errs, use(word))
		}
	}
	return errors.Join(errs...)
}

// none is how an empty list can be written out.
const none = "none"

// names are those of bulkheads.
type names []string

func (n *names) UnmarshalText(text []byte) error {
	*n = nil
	return each(text, func(word string) error {
		if !isBulkheadName(word) {
			return fmt.Errorf("%q is no name; want at most %d lower-case letters, digits and single -, a letter first", word, maxName)
		}
		*n = append(*n, word)
		return nil
	})
}

// maxName keeps paths of sockets and lines of a table short, in bytes.
const maxName = 32

func isBulkheadName(name string) bool {
	for i, c := range name {
		switch {
		case 'a' <= c && c <= 'z':
		case i == 0:
			return false
		case '0' <= c && c <= '9':
		case c != '-', name[i-1] == '-', i == len(name)-1:
			return false
		}
	}
	return name != "" && len(name) <= maxName
}

// statuses are HTTP statuses of the server error class.
type statuses []int

func (s *statuses) UnmarshalText(text []byte) error {
	*s = nil
	return each(text, func(word string) error {
		status, err := strconv.Atoi(word)
		if err != nil || status < 500 || status > 599 {
			return fmt.Errorf("%q cannot be a failure of the backend; want statuses from 500 to 599", word)
		}
		*s = append(*s, status)
		return nil
	})
}

// networks are the addresses of trusted proxies.
type networks struct{ prefixes []netip.Prefix }

func (n *networks) UnmarshalText(text []byte) error {
	n.prefixes = nil
	return each(text, func(word string) error {
		prefix, err := network(word)
		if err == nil {
			n.prefixes = append(n.prefixes, prefix)
		}
		return err
	})
}

func network(word string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(word); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(word)
	if err != nil || prefix.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q is neither; want addresses or networks, such as 10.0.0.0/8,192.0.2.7", word)
	}
	if prefix.Masked() != prefix {
		return netip.Prefix{}, fmt.Errorf("%s has bits beyond its length; want %s or the one address", word, prefix.Masked())
	}
	return prefix, nil
}

// fallbackKinds are the answers given in the backend's place, in the order to try
// them.
type fallbackKinds []fallback.Kind

func (f *fallbackKinds) UnmarshalText(text []byte) error {
	*f = nil
	return each(text, func(word string) error {
		kind := fallback.Kind(word)
		if !slices.Contains(fallback.Kinds(), kind) {
			return fmt.Errorf("%q is none; want none, or stale, backup or both", word)
		}
		*f = append(*f, kind)
		return nil
	})
}

// credentials are what tells the users of a backend apart.
type credentials struct{ list []credential.Name }

func (c *credentials) UnmarshalText(text []byte) error {
	c.list = nil
	return each(text, func(word string) error {
		name, err := credential.Parse(word)
		c.list = append(c.list, name)
		return err
	})
}
