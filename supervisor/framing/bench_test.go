package framing_test

import (
	"strings"
	"testing"

	"commerce.example/coordinator/supervisor/framing"
)

const small = "GET /api/orders/1 HTTP/1.1\r\nHost: shop.example\r\n\r\n"

// browser is what a page of a shop sends with each call.
var browser = strings.ReplaceAll(`GET /api/orders/order_history/?username=someone&page=1&page_size=20 HTTP/1.1
Host: shop.example
Connection: keep-alive
sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140"
sec-ch-ua-mobile: ?0
sec-ch-ua-platform: "Linux"
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36
Accept: application/json, text/plain, */*
Origin: https://orders.shop.example
Sec-Fetch-Site: same-site
Sec-Fetch-Mode: cors
Sec-Fetch-Dest: empty
Referer: https://orders.shop.example/history
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-GB,en;q=0.9,de;q=0.8
Cookie: sessionid=0123456789abcdef0123456789abcdef; csrftoken=0123456789abcdefghijklmnopqrstuvwxyz0123456789

`, "\n", "\r\n")

var (
	upload  = "POST /api/orders/ HTTP/1.1\r\nHost: shop.example\r\nContent-Type: application/json\r\nContent-Length: 1024\r\n\r\n" + strings.Repeat("x", 1024)
	chunked = "POST /api/orders/ HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n" + strings.Repeat("x", 1024) + "\r\n0\r\n\r\n"
)

func BenchmarkSmallHead(b *testing.B)   { benchmark(b, small) }
func BenchmarkBrowserHead(b *testing.B) { benchmark(b, browser) }
func BenchmarkUpload(b *testing.B)      { benchmark(b, upload) }
func BenchmarkChunked(b *testing.B)     { benchmark(b, chunked) }

func benchmark(b *testing.B, request string) {
	var g framing.Guard
	raw := []byte(request)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if n, err := g.Follow(raw); n != len(raw) || err != nil {
			b.Fatal(n, err)
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	var g framing.Guard
	raw := []byte(small + browser + upload + chunked)
	bad := []byte("GET / HTTP/3.0\r\n")
	if n := testing.AllocsPerRun(100, func() {
		for half := raw[:len(raw)/2]; len(half) > 0; half = half[min(len(half), 1000):] {
			g.Follow(half[:min(len(half), 1000)])
		}
		g.Follow(raw[len(raw)/2:])
		faulty := g
		faulty.Follow(bad)
	}); n != 0 || !g.Between() {
		t.Errorf("%v allocations", n)
	}
}
