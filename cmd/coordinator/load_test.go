package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/load"
	"commerce.example/coordinator/supervisor/hdr"
)

func TestLoadSendsWhatItIsTold(t *testing.T) {
	var got, wrong atomic.Int64
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != "PUT" || r.Header.Get("X-Kind") != "a:b, c" || len(body) != 2048 || len(r.URL.Path) != len("/orders/")+16 {
			wrong.Add(1)
		}
		if got.Add(1) > 30 {
			w.Header().Set("Proxy-Status", `coordinator; details="queue_full"`)
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		w.Write([]byte("hello"))
	}))
	defer service.Close()
	code, stdout, stderr := coordinator(t, nil, "load", service.URL+"/orders/{n}", "--json", "--count", "40", "--conns", "4",
		"--rate", "400", "--poisson", "--new-conns", "0.5", "-X", "PUT", "-H", "X-Kind: a:b, c", "--body-size", "2KiB")
	var r loadReport
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || code != exitDone || stderr != "" {
		t.Fatalf("exit code %d, %v, stderr %q:\n%s", code, err, stderr, stdout)
	}
	if r.Loop != "open" || r.Rate != 400 || r.Due != 40 || r.Sent != 40 || r.Done != 40 || r.Bytes != 200 || r.BytesPerSecond <= 0 {
		t.Errorf("got %+v", r)
	}
	if r.Status[200] != 30 || r.Status[503] != 10 || r.Reasons["queue_full"] != 10 || len(r.Errors) != 0 {
		t.Errorf("status %v, reasons %v, errors %v", r.Status, r.Reasons, r.Errors)
	}
	if r.All.Count != 40 || r.Success.Count != 30 || r.All.P50MS <= 0 || r.All.P50MS > r.All.P99MS || r.All.P99MS > r.All.MaxMS {
		t.Errorf("latencies %+v, of successes %+v", r.All, r.Success)
	}
	if got.Load() != 40 || wrong.Load() != 0 {
		t.Errorf("%d requests arrived, %d of them wrong", got.Load(), wrong.Load())
	}
}

func TestLoadClosedLoop(t *testing.T) {
	service := httptest.NewServer(http.NotFoundHandler())
	defer service.Close()
	code, stdout, stderr := coordinator(t, nil, "load", service.URL, "--count", "25", "--conns", "2")
	if code != exitDone || stderr != "" || !strings.HasPrefix(stdout, "closed loop on 2 connections, ") || !strings.Contains(stdout, "\n  status 404     25\n") {
		t.Errorf("exit code %d, stderr %q:\n%s", code, stderr, stdout)
	}
}

func TestLoadOfNobody(t *testing.T) {
	service := httptest.NewServer(http.NotFoundHandler())
	service.Close()
	code, stdout, stderr := coordinator(t, nil, "load", service.URL, "--count", "3", "--conns", "1")
	if code != exitFailed || stderr != "" || !strings.Contains(stdout, "  refused       3\n") {
		t.Errorf("exit code %d, stderr %q:\n%s", code, stderr, stdout)
	}
}

func TestLoadUsage(t *testing.T) {
	for args, want := range map[string]string{
		"http://192.0.2.1/":                                         "not on a loopback address",
		"https://127.0.0.1/":                                        "only http is spoken",
		"http://127.0.0.1:99999/":                                   "want a port from 1 to 65535",
		"http://127.0.0.1/ --for 2h":                                "--for=2h0m0s: want a duration above 0 and up to 1h",
		"http://127.0.0.1/ --conns 10001":                           "--conns=10001: want a whole number from 1 to 10000",
		"http://127.0.0.1/ --rate=-1":                               "--rate=-1: want 0 to 1000000",
		"http://127.0.0.1/ --new-conns 1.5":                         "--new-conns=1.5: want a share from 0 to 1",
		"http://127.0.0.1/ --body-size much":                        "want a number of bytes",
		"http://127.0.0.1/ --body-size 65MiB":                       "at most 64MiB",
		"http://127.0.0.1/ --body-size 64MiB":                       "over 1GiB",
		"http://127.0.0.1/ --body-size 64MiB --conns 0":             "--conns=0: want",
		"http://127.0.0.1/ --body x --body-size 1KiB":               "can't be used together",
		"http://127.0.0.1/ --header nothing":                        "want NAME:VALUE",
		"http://127.0.0.1/ --header Transfer-Encoding:chunked":      "the body is sent whole",
		"http://127.0.0.1/ -X PATCH --timeout=-1s":                  "--timeout=-1s: want a duration",
		"http://127.0.0.1/ -X P\"T":                                 "is not a method",
		"http://127.0.0.1/ http://127.0.0.1/second --conns 1 --for": "",
	} {
		code, stdout, stderr := coordinator(t, nil, append([]string{"load"}, strings.Fields(args)...)...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q; want %q", args, code, stdout, stderr, want)
		}
	}
}

func TestLoadAccount(t *testing.T) {
	latencies := func(ms ...int) *hdr.Histogram {
		h := new(hdr.Histogram)
		for _, n := range ms {
			h.Record(time.Duration(n) * time.Millisecond)
		}
		return h
	}
	r := &load.Result{
		To: 10 * time.Second, Due: 5020, Sent: 5010, Done: 5000, Dropped: 10, Bytes: 5 << 20,
		Status: map[int]int{503: 280, 200: 4720}, Reasons: map[string]int{"queue_full": 200, "breaker_open": 80},
		Errors: map[string]int{load.Reset: 3, load.Timeout: 7},
		All:    latencies(1, 2, 3, 4, 100), Success: latencies(1, 2), Lag: new(hdr.Histogram),
	}
	o := load.Options{Rate: 502, Conns: 64, Target: load.Target{Method: "GET", URL: "http://127.0.0.1:8080/api/orders/"}}
	const want = `open loop, 502 requests/s on 64 connections, 10.0s: GET
http://127.0.0.1:8080/api/orders/

REQUESTS               COUNT  PER SECOND
due                     5020
answered                5000         500
  status 200            4720
  status 503             280
  reason queue_full      200
  reason breaker_open     80
failed                    10
  timeout                  7
  reset                    3
never sent                10

LATENCY      P50    P90    P99  P99.9    MAX
all        3.0ms  100ms  100ms  100ms  100ms
below 400  1.0ms  2.0ms  2.0ms  2.0ms  2.0ms
sent late      -      -      -      -      -

bodies of answers: 5.0MiB, 0.5MiB/s
`
	if got := loadAccount(o, r, false); got != want {
		t.Errorf("got:\n%s", got)
	}
}
