package sanitise

import (
	"encoding/json"
	"regexp"
	"strings"
	"unicode"
)

// A Detector is what looks for one kind of thing.
type Detector string

const (
	Email   Detector = "email"
	Phone   Detector = "phone"
	Card    Detector = "card"
	Token   Detector = "token"
	JWT     Detector = "jwt"
	Request Detector = "request"
)

// Detectors is all of them, in the order in which findings are told.
func Detectors() []Detector { return []Detector{Email, Phone, Card, Token, JWT, Request} }

// detect is what s holds, in any of its encodings. Private is in lower case.
func detect(s string, private []string) (found []Detector) {
	all := variants(s)
	holds := map[Detector]func(string) bool{
		Email: hasEmail, Phone: hasPhone, Card: hasCard, Token: hasToken, JWT: hasJWT,
		Request: func(text string) bool { return hasAny(text, private) },
	}
	for _, d := range Detectors() {
		for _, text := range all {
			if holds[d](text) {
				found = append(found, d)
				break
			}
		}
	}
	return found
}

// The local part has what RFC 5321 lets be there unquoted, and letters of any
// script (RFC 6531); a host of one label is one inside a company.
var (
	email   = regexp.MustCompile(`[\pL\pN!#$%&'*+/=?^_{|}~."\x60-]@(?:\[[0-9A-Fa-f:.]+\]|[\pL\pN][\pL\pN-]*(?:\.[\pL\pN-]+)*)`)
	spelled = regexp.MustCompile(`(?i)[\pL\pN._+-]+\s*[(\[{<]\s*at\s*[)\]}>]\s*[\pL\pN-]+`)
)

func hasEmail(s string) bool {
	return strings.Contains(s, "@") && email.MatchString(s) || spelled.MatchString(s)
}

// privates is what of texts can be looked for, in lower case.
func privates(texts []string) (all []string) {
	for _, text := range texts {
		text = strings.ToLower(strings.TrimSpace(text))
		letters := strings.ContainsFunc(text, unicode.IsLetter)
		if letters && len(text) >= 3 || len(text) >= 5 {
			all = append(all, text)
		}
	}
	return all
}

func hasAny(s string, private []string) bool {
	s = strings.ToLower(s)
	for _, text := range private {
		if strings.Contains(s, text) {
			return true
		}
	}
	return false
}

// A JWT is two or three parts in base64url, of which the first decodes to an
// object with alg (RFC 7515 section 4.1.1). A part alone comes here decoded.
var (
	jwt       = regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{2,}`)
	jwtMember = []string{"alg", "typ", "kid", "sub", "iss", "aud", "exp", "iat", "jti", "nbf"}
)

func hasJWT(s string) bool {
	if jwt.MatchString(s) {
		return true
	}
	const most = 20
	for range most {
		begin := strings.IndexByte(s, '{')
		if begin < 0 {
			return false
		}
		s = s[begin:]
		var members map[string]json.RawMessage
		if json.NewDecoder(strings.NewReader(s)).Decode(&members) == nil && isJOSE(members) {
			return true
		}
		s = s[1:]
	}
	return false
}

// isJOSE reports whether members are those of a header, or of a payload (RFC 7519
// section 4.1).
func isJOSE(members map[string]json.RawMessage) bool {
	known := 0
	for _, name := range jwtMember {
		if _, is := members[name]; is {
			known++
		}
	}
	_, header := members["alg"]
	return header || known >= 2
}
