package orders

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// decode reads a whole JSON text into v. encoding/json would mend bytes that are no
// UTF-8, and its errors quote what they found: these do not.
func decode(body []byte, v any) error {
	if !utf8.Valid(body) {
		return errors.New("not UTF-8")
	}
	err := json.Unmarshal(body, v)
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		kind, _, _ := strings.Cut(e.Value, " ") // "number 12.5"
		return fmt.Errorf("%s: a %s is not what belongs there (byte %d)", e.Field, kind, e.Offset)
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("not JSON from byte %d on", e.Offset)
	}
	return errors.New("not JSON of that shape")
}

// shape takes members out of what was decoded, and remembers the first one that is
// wrong. Where a member is wrong the value is the zero value.
type shape struct{ err error }

func (s *shape) wrong(member, why string) {
	if s.err == nil {
		s.err = fmt.Errorf("%s: %s", member, why)
	}
}

// need is the value of a member that must be there and not null.
func need[T any](s *shape, member string, v *T) (value T) {
	if v == nil {
		s.wrong(member, "missing or null")
		return value
	}
	return *v
}

// list is what read makes of each entry of a list that must be there. An entry that
// is wrong is named by its place.
func list[In, Out any](s *shape, member string, in *[]In, read func(s *shape, entry In) Out) []Out {
	entries := need(s, member, in)
	out := make([]Out, len(entries))
	for i, entry := range entries {
		var within shape
		out[i] = read(&within, entry)
		if within.err != nil && s.err == nil {
			s.err = fmt.Errorf("%s[%d].%w", member, i, within.err)
		}
	}
	return out
}

// tally is a number of things.
func (s *shape) tally(member string, v *int) int {
	n := need(s, member, v)
	if n < 0 {
		s.wrong(member, "negative")
	}
	return n
}

// name is a text that is not empty.
func (s *shape) name(member string, v *string) string {
	text := need(s, member, v)
	if text == "" {
		s.wrong(member, "empty")
	}
	return text
}

// date is a date and time of RFC 3339, as it came.
func (s *shape) date(member string, v *string) string {
	text := need(s, member, v)
	if err := new(time.Time).UnmarshalText([]byte(text)); err != nil {
		s.wrong(member, "no date and time of RFC 3339")
	}
	return text
}

// currency is a code of ISO 4217.
func (s *shape) currency(member string, v *string) string {
	text := need(s, member, v)
	if len(text) != 3 || strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		s.wrong(member, "no currency code")
	}
	return text
}

// amount is a decimal number, as it came: digits, and maybe a point and more of
// them, behind a minus if need be.
func (s *shape) amount(member string, v *string) string {
	text := need(s, member, v)
	whole, fraction, point := strings.Cut(strings.TrimPrefix(text, "-"), ".")
	if !digits(whole) || point && !digits(fraction) {
		s.wrong(member, "no decimal number")
	}
	return text
}

func digits(text string) bool { return text != "" && strings.Trim(text, "0123456789") == "" }
