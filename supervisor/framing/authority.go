package framing

import (
	"bytes"
	"strings"
)

// maxAuthority is how much of a target or of a Host is compared: a host has at
// most 255 bytes, and there are a scheme and a port beside it.
const maxAuthority = 512

// authority is what a request says twice when its target is in absolute form:
// there and in Host. net/http believes the target and forgets the other, which
// a backend or a proxy before us may have believed (RFC 9112 section 3.2.2).
type authority struct {
	target, host []byte // their beginning
	told         bool   // a Host came
}

// keep appends what there is room for of part.
func keep(to, part []byte) []byte {
	return append(to, part[:min(len(part), maxAuthority-len(to))]...)
}

// addHost takes the next part of the field's value, which begins with white
// space.
func (a *authority) addHost(part []byte) {
	if len(a.host) == 0 {
		part = bytes.TrimLeft(part, " \t")
	}
	a.host = keep(a.host, part)
}

// differ reports whether target and Host name different hosts. One that is cut
// off differs from all; a target without a scheme, as CONNECT has it, is not for
// comparing.
func (a *authority) differ() bool {
	scheme, rest, ok := bytes.Cut(a.target, []byte("://"))
	if !ok || !a.told {
		return false
	}
	end := bytes.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	if len(a.host) == maxAuthority || end == len(rest) && len(a.target) == maxAuthority {
		return true
	}
	port := ":80"
	if strings.EqualFold(string(scheme), "https") {
		port = ":443"
	}
	return canonical(rest[:end], port) != canonical(a.host, port)
}

// canonical is a host without the port of its scheme and the dot of the root.
func canonical(host []byte, port string) string {
	name := strings.ToLower(strings.TrimRight(string(host), " \t"))
	number := ""
	if i := strings.LastIndexByte(name, ':'); i >= 0 && !strings.HasSuffix(name, "]") {
		name, number = name[:i], name[i:]
	}
	if number == port || number == ":" {
		number = ""
	}
	return strings.TrimSuffix(name, ".") + number
}
