package sanitise

import (
	"regexp"
	"strings"
)

// What looks like a telephone number and is not: dates, times, IPv4 addresses,
// UUIDs.
var notPhones = regexp.MustCompile(`(?i)` +
	`\b(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?` +
	`|\b(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)\b` +
	`|\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b`)

var (
	phones = regexp.MustCompile(
		// International: a prefix and 7 to 15 digits (ITU-T E.164).
		`(?:\+|\b00)[ .()/-]{0,2}\d(?:[ .()/-]{0,3}\d){6,14}` +
			// National with a trunk prefix 0.
			`|\b0\)?\d(?:[ .()/-]{0,3}\d){7,12}\b` +
			// North American: neither area nor exchange begins with 0 or 1.
			`|(?:\b|\()(?:1[ .-]?)?\(?[2-9]\d\d\)?[ .-]{0,2}[2-9]\d\d[ .-]?\d{4}\b` +
			`|(?i:\btel:)[+\d]`)
	// An international number without its prefix. What begins with 1 is a
	// time in milliseconds far more often.
	bare    = regexp.MustCompile(`\b[2-9]\d{10,14}\b`)
	grouped = regexp.MustCompile(`\b\d{2,4}(?:[ .-]\d{2,4}){2,5}\b`)
)

func hasPhone(s string) bool {
	s = notPhones.ReplaceAllString(s, "|")
	if phones.MatchString(s) || bare.MatchString(s) {
		return true
	}
	for _, groups := range grouped.FindAllString(s, -1) {
		if n := len(digits(groups)); n >= 9 && n <= 15 {
			return true
		}
	}
	return false
}

// digits is those of s.
func digits(s string) string {
	return strings.Map(func(c rune) rune {
		if c < '0' || c > '9' {
			return -1
		}
		return c
	}, s)
}

// A run of digits as cards are written, in groups or not.
var digitRun = regexp.MustCompile(`\d(?:[ ._/-]{0,3}\d){11,}`)

func hasCard(s string) bool {
	for _, run := range digitRun.FindAllString(s, -1) {
		run = digits(run)
		if len(run) <= 19 && isCard(run, "23456") {
			return true
		}
		// The digits of an expiry date or of something else may stand next to it.
		for from := range run {
			for length := 13; length <= 19 && from+length <= len(run); length++ {
				if part := run[from : from+length]; issued(part) && isCard(part, "3456") {
					return true
				}
			}
		}
	}
	return false
}

// isCard reports whether number has the length, the first digit (a bank's, ISO/IEC
// 7812-1) and the check digit of a card.
func isCard(number, first string) bool {
	return len(number) >= 13 && len(number) <= 19 && strings.IndexByte(first, number[0]) >= 0 && luhn(number)
}

// issued narrows the parts of a longer run down to what the large networks issue,
// since of any digits one part in ten passes the Luhn check.
func issued(number string) bool {
	two := number[:2]
	switch len(number) {
	case 13, 19:
		return two[0] == '4'
	case 14:
		return two == "30" || two == "36" || two == "38"
	case 15:
		return two == "34" || two == "37"
	case 16:
		return two[0] == '4' || two >= "51" && two <= "55" || two == "60" || two == "62" || two == "65" || two == "35"
	}
	return false
}

// luhn is the check of ISO/IEC 7812-1, annex B.
func luhn(number string) bool {
	sum := 0
	for i := range len(number) {
		d := int(number[len(number)-1-i] - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}
