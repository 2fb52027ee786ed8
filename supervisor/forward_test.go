package supervisor_test

import (
	"crypto/tls"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"testing"

	"commerce.example/coordinator/supervisor"
)

var proxies = supervisor.TrustedProxies{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48"), netip.MustParsePrefix("127.0.0.0/8"),
}

func TestForward(t *testing.T) {
	forged := http.Header{
		"X-Forwarded-For": {"1.1.1.1"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"evil"}, "X-Forwarded-Port": {"1"},
		"X-Forwarded-Prefix": {"/admin"}, "X-Forwarded-Anything": {"x"}, "Forwarded": {"for=1.1.1.1"}, "X-Real-Ip": {"1.1.1.1"},
	}
	for _, c := range []struct {
		name, remote, host string
		tls                bool
		sent               http.Header
		client             string
		want               http.Header
	}{
		{
			name: "untrusted", remote: "192.0.2.7:50412", host: "shop.example", sent: forged, client: "192.0.2.7",
			want: ours("192.0.2.7", "192.0.2.7", "http", "shop.example", "80", `for=192.0.2.7;host="shop.example";proto=http`),
		},
		{
			name: "untrusted IPv6 over TLS", remote: "[2001:db8::7]:50412", host: "shop.example:8443", tls: true, sent: forged, client: "2001:db8::7",
			want: ours("2001:db8::7", "2001:db8::7", "https", "shop.example:8443", "8443", `for="[2001:db8::7]";host="shop.example:8443";proto=https`),
		},
		{
			name: "IPv4 on an IPv6 listener", remote: "[::ffff:192.0.2.7]:1", host: "h", sent: nil, client: "192.0.2.7",
			want: ours("192.0.2.7", "192.0.2.7", "http", "h", "80", `for=192.0.2.7;host="h";proto=http`),
		},
		{
			name: "trusted that says nothing", remote: "10.0.0.1:1", host: "h", sent: nil, client: "10.0.0.1",
			want: ours("10.0.0.1", "10.0.0.1", "http", "h", "80", `for=10.0.0.1;host="h";proto=http`),
		},
		{
			name: "trusted", remote: "10.0.0.1:1", host: "internal:8080", client: "192.0.2.7",
			sent: http.Header{
				"X-Forwarded-For": {"1.1.1.1, 192.0.2.7"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"shop.example"},
				"X-Forwarded-Prefix": {"/shop"}, "Forwarded": {"for=6.6.6.6"}, "X-Real-Ip": {"6.6.6.6"},
			},
			want: merge(ours("1.1.1.1, 192.0.2.7, 10.0.0.1", "192.0.2.7", "https", "shop.example", "443",
				`for=192.0.2.7;host="shop.example";proto=https`), http.Header{"X-Forwarded-Prefix": {"/shop"}}),
		},
		{
			name: "trusted chain over lines, with ports and IPv6", remote: "[2001:db8:1::1]:1", host: "h", client: "2001:db8::9",
			sent: http.Header{"X-Forwarded-For": {"evil, [2001:db8::9]:443", "10.1.1.1:80 ,10.2.2.2"}, "X-Forwarded-Port": {"8443"}},
			want: ours("evil, [2001:db8::9]:443, 10.1.1.1:80 ,10.2.2.2, 2001:db8:1::1", "2001:db8::9", "http", "h", "8443",
				`for="[2001:db8::9]";host="h";proto=http`),
		},
		{
			name: "all trusted: the leftmost", remote: "10.0.0.1:1", host: "h", client: "10.9.9.9",
			sent: http.Header{"X-Forwarded-For": {"10.9.9.9, 10.8.8.8"}},
			want: ours("10.9.9.9, 10.8.8.8, 10.0.0.1", "10.9.9.9", "http", "h", "80", `for=10.9.9.9;host="h";proto=http`),
		},
		{
			name: "garbage ends the walk", remote: "10.0.0.1:1", host: "h", client: "10.8.8.8",
			sent: http.Header{"X-Forwarded-For": {"192.0.2.7, unknown, 10.8.8.8"}},
			want: ours("192.0.2.7, unknown, 10.8.8.8, 10.0.0.1", "10.8.8.8", "http", "h", "80", `for=10.8.8.8;host="h";proto=http`),
		},
		{
			name: "insane values of a trusted proxy", remote: "10.0.0.1:1", host: "h", client: "10.0.0.1",
			sent: http.Header{"X-Forwarded-Proto": {"https,http"}, "X-Forwarded-Host": {`a"; for=evil`}, "X-Forwarded-Port": {"80 80"}},
			want: ours("10.0.0.1", "10.0.0.1", "http", "h", "80", `for=10.0.0.1;host="h";proto=http`),
		},
		{
			name: "unix socket", remote: "@", host: "h", client: "192.0.2.7",
			sent: http.Header{"X-Forwarded-For": {"192.0.2.7"}},
			want: ours("192.0.2.7, 127.0.0.1", "192.0.2.7", "http", "h", "80", `for=192.0.2.7;host="h";proto=http`),
		},
		{
			name: "no address", remote: "pipe", host: "", sent: forged, client: "invalid IP",
			want: http.Header{"X-Forwarded-Proto": {"http"}, "X-Forwarded-Port": {"80"}, "Forwarded": {"for=unknown;proto=http"}},
		},
	} {
		r := request("GET", "/")
		r.RemoteAddr, r.Host = c.remote, c.host
		if c.tls {
			r.TLS = &tls.ConnectionState{}
		}
		r.Header = merge(c.sent, http.Header{"Accept": {"x"}})
		client := proxies.Forward(r)
		if client.String() != c.client {
			t.Errorf("%s: client %s, want %s", c.name, client, c.client)
		}
		if want := merge(c.want, http.Header{"Accept": {"x"}}); !maps.EqualFunc(r.Header, want, slices.Equal) {
			t.Errorf("%s:\n%v, want\n%v", c.name, r.Header, want)
		}
	}
}

func ours(chain, client, proto, host, port, element string) http.Header {
	return http.Header{
		"X-Forwarded-For": {chain}, "X-Real-Ip": {client}, "X-Forwarded-Proto": {proto},
		"X-Forwarded-Host": {host}, "X-Forwarded-Port": {port}, "Forwarded": {element},
	}
}

func merge(a, b http.Header) http.Header {
	all := make(http.Header)
	maps.Copy(all, a.Clone())
	maps.Copy(all, b.Clone())
	return all
}

func TestNobodyIsTrustedByDefault(t *testing.T) {
	var none supervisor.TrustedProxies
	r := with(request("GET", "/"), "X-Forwarded-For", "192.0.2.7")
	r.RemoteAddr = "127.0.0.1:9"
	if client := none.Forward(r); client.String() != "127.0.0.1" || r.Header.Get("X-Forwarded-For") != "127.0.0.1" {
		t.Errorf("client %s, %v", client, r.Header)
	}
}

func TestStripHopByHop(t *testing.T) {
	for _, c := range []struct {
		name       string
		sent, want http.Header
	}{
		{
			"request",
			http.Header{
				"Connection": {"keep-alive, Upgrade", "HTTP2-Settings"}, "Keep-Alive": {"timeout=5"}, "Te": {"gzip, trailers"},
				"Proxy-Connection": {"x"}, "Proxy-Authorization": {"secret"}, "Upgrade": {"h2c"}, "Http2-Settings": {"x"},
				"Authorization": {"kept"}, "Transfer-Encoding": {"chunked"}, "Via": {"1.1 edge"},
			},
			http.Header{"Te": {"trailers"}, "Authorization": {"kept"}, "Via": {"1.1 edge"}},
		},
		{
			"handshake",
			http.Header{"Connection": {"keep-alive, UPGRADE"}, "Upgrade": {"websocket"}, "Sec-Websocket-Key": {"k"}},
			http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Key": {"k"}},
		},
		{
			"answer that names its own",
			http.Header{"Connection": {"close, x-internal"}, "X-Internal": {"1"}, "Close": {"stays"}, "Trailer": {"X-T"}, "Set-Cookie": {"a", "b"}},
			http.Header{"Close": {"stays"}, "Trailer": {"X-T"}, "Set-Cookie": {"a", "b"}},
		},
		{"gzip is between neighbours", http.Header{"Te": {"gzip"}}, http.Header{}},
	} {
		supervisor.StripHopByHop(c.sent)
		if !maps.EqualFunc(c.sent, c.want, slices.Equal) {
			t.Errorf("%s: %v, want %v", c.name, c.sent, c.want)
		}
	}
}

func FuzzForward(f *testing.F) {
	f.Add("10.0.0.1:1", "1.1.1.1, [::1]:80,, 10.0.0.2", "h:80")
	f.Add("@", ",", "")
	f.Fuzz(func(t *testing.T, remote, chain, host string) {
		r := request("GET", "/")
		r.RemoteAddr = remote
		r.Header["X-Forwarded-For"], r.Header["X-Forwarded-Host"] = []string{chain}, []string{host}
		client := proxies.Forward(r)
		if client.IsValid() != (r.Header.Get("X-Real-Ip") != "") {
			t.Fatalf("client %v, X-Real-IP %q", client, r.Header["X-Real-Ip"])
		}
		if client.IsValid() && r.Header.Get("X-Real-Ip") != client.String() {
			if again, err := netip.ParseAddr(r.Header.Get("X-Real-Ip")); err != nil || again != client {
				t.Fatalf("client %v, X-Real-IP %q", client, r.Header["X-Real-Ip"])
			}
		}
	})
}

func BenchmarkForward(b *testing.B) {
	b.ReportAllocs()
	r := browserRequest()
	for b.Loop() {
		proxies.Forward(r)
		supervisor.StripHopByHop(r.Header)
	}
}
