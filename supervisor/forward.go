package supervisor

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// TrustedProxies are the peers whose X-Forwarded fields are believed. IPv4
// prefixes are written as IPv4. The zero value trusts nobody. A peer on a unix
// socket counts as 127.0.0.1.
//
// No Via is added (RFC 9110 section 7.6.3 asks a gateway for one): common
// backends turn compression off when they see it, and the coordinator promises
// the answer that the backend gives without it. One that a client sent passes.
type TrustedProxies []netip.Prefix

// Contains reports whether addr is a trusted proxy.
func (p TrustedProxies) Contains(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, prefix := range p {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// Forward makes the fields of r that speak of the way it came the truth as far
// as it is known, and returns the client's address (the zero Addr if RemoteAddr
// is none): the rightmost address of the chain that is no trusted proxy.
//
//   - From any peer: Forwarded and X-Real-IP are replaced by ours. A trusted
//     proxy that sets X-Forwarded-For commonly hands on a Forwarded that its own
//     client made up, so X-Forwarded-For alone is believed.
//   - From a trusted proxy: X-Forwarded-For gets the peer appended, and -Proto,
//     -Host and -Port are kept where they are one sane value.
//   - From all others: every X-Forwarded field is dropped, and ours set.
//
// It works in place on r.Header, after CheckRequest.
func (p TrustedProxies) Forward(r *http.Request) netip.Addr {
	peer, peerText := peerOf(r.RemoteAddr)
	h := r.Header
	way := forwarded{client: peer, clientText: peerText, proto: scheme(r), host: r.Host}
	chain := peerText
	if peer.IsValid() && p.Contains(peer) {
		if sent := h["X-Forwarded-For"]; len(sent) > 0 {
			way.client = p.client(peer, sent)
			way.clientText = way.client.String()
			chain = strings.Join(append(slices.Clip(sent), peerText), ", ")
		}
		way.believe(h)
	} else {
		for name := range h {
			if strings.HasPrefix(name, "X-Forwarded-") {
				delete(h, name)
			}
		}
	}
	if way.port == "" {
		way.port = portOf(way.host, way.proto)
	}
	way.set(h, chain)
	return way.client
}

// client walks the chain from its right end, where the entries are that trusted
// proxies wrote. What is no address ends the walk: nothing left of it is known.
func (p TrustedProxies) client(peer netip.Addr, chain []string) netip.Addr {
	client := peer
	for _, rest := range slices.Backward(chain) {
		for more := true; more; {
			var hop string
			i := strings.LastIndexByte(rest, ',')
			hop, rest, more = rest[i+1:], rest[:max(i, 0)], i >= 0
			addr, ok := parseHop(trimSpace(hop))
			if !ok {
				return client
			}
			client = addr
			if !p.Contains(addr) {
				return client
			}
		}
	}
	return client
}

// parseHop reads an address with or without a port, as proxies write both.
func parseHop(hop string) (netip.Addr, bool) {
	if addr, err := netip.ParseAddr(hop); err == nil {
		return addr.Unmap().WithZone(""), true
	}
	if withPort, err := netip.ParseAddrPort(hop); err == nil {
		return withPort.Addr().Unmap().WithZone(""), true
	}
	return netip.Addr{}, false
}

// peerOf is the address of a peer and its text, which for most is a part of
// remote.
func peerOf(remote string) (netip.Addr, string) {
	if remote == "" || remote[0] == '@' || remote[0] == '/' { // a unix socket
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), "127.0.0.1"
	}
	withPort, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}, ""
	}
	addr := withPort.Addr()
	if addr.Is4In6() || addr.Zone() != "" {
		addr = addr.Unmap().WithZone("")
		return addr, addr.String()
	}
	return addr, strings.Trim(remote[:strings.LastIndexByte(remote, ':')], "[]")
}

// forwarded is how a request came to us, as the worker is told.
type forwarded struct {
	client     netip.Addr
	clientText string
	proto      string
	host       string
	port       string
}

// believe takes over what a trusted proxy says about its own front.
func (f *forwarded) believe(h http.Header) {
	if v := h["X-Forwarded-Proto"]; len(v) == 1 && (v[0] == "http" || v[0] == "https") {
		f.proto = v[0]
	}
	if v := h["X-Forwarded-Host"]; len(v) == 1 && v[0] != "" && validHost(v[0]) {
		f.host = v[0]
	}
	if v := h["X-Forwarded-Port"]; len(v) == 1 && 0 < len(v[0]) && len(v[0]) <= 5 && strings.Trim(v[0], "0123456789") == "" {
		f.port = v[0]
	}
}

// set writes all fields with one array behind them.
func (f *forwarded) set(h http.Header, chain string) {
	values := []string{chain, f.clientText, f.proto, f.host, f.port, f.element()}
	for i, name := range [...]string{
		"X-Forwarded-For", "X-Real-Ip", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "Forwarded",
	} {
		if values[i] == "" {
			delete(h, name)
			continue
		}
		h[name] = values[i : i+1 : i+1]
	}
}

// element is f as RFC 7239 section 4 writes it.
func (f *forwarded) element() string {
	var space [160]byte
	b := append(space[:0], "for="...)
	switch {
	case !f.client.IsValid():
		b = append(b, "unknown"...)
	case f.client.Is6():
		b = append(b, `"[`...)
		b = append(b, f.clientText...)
		b = append(b, `]"`...)
	default:
		b = append(b, f.clientText...)
	}
	if f.host != "" {
		b = append(b, `;host="`...) // of a valid host no byte needs a backslash
		b = append(b, f.host...)
		b = append(b, '"')
	}
	b = append(b, ";proto="...)
	b = append(b, f.proto...)
	return string(b)
}

// StripHopByHop removes from the head of a message what is the connection's
// alone: the Connection field, what it names, and the fields of RFC 9110 section
// 7.6.1. Two things come back, since they are meant for the next hop as well:
// an upgrade to WebSocket, and "TE: trailers".
func StripHopByHop(h http.Header) {
	te := hasToken(h["Te"], "trailers")
	websocket := hasToken(h["Upgrade"], "websocket") && hasToken(h["Connection"], "upgrade")
	for _, value := range h["Connection"] {
		for more := true; more; {
			var option string
			option, value, more = strings.Cut(value, ",")
			if option = trimSpace(option); !asciiEqualFold(option, "close") && !asciiEqualFold(option, "keep-alive") {
				h.Del(option)
			}
		}
	}
	for _, name := range [...]string{
		"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Transfer-Encoding", "Upgrade", "Http2-Settings",
	} {
		delete(h, name)
	}
	if te {
		h["Te"] = []string{"trailers"}
	}
	if websocket {
		h["Connection"] = []string{"Upgrade"}
		h["Upgrade"] = []string{"websocket"}
	}
}
