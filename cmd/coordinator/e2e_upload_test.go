//go:build linux

package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// pattern is an upload that nobody has to hold in memory.
type pattern struct{ left int64 }

func (p *pattern) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(b)), p.left)
	p.left -= n
	return int(n), nil
}

func TestE2EUploadStaysFlat(t *testing.T) {
	origin := httpbin(t)
	s := binSite(t, origin, "BULKHEAD_BIN_MAX_BODY=200MiB", "BULKHEAD_BIN_WORKERS=1")
	const size = 100 << 20
	pids := map[string]int{"supervisor": s.cmd.Process.Pid, "worker": s.pids("bin")[0]}
	before, most := map[string]int{}, map[string]int{}
	look := func(into map[string]int) {
		for name, pid := range pids {
			into[name] = max(into[name], proc(t, pid, "RssAnon"))
		}
	}
	if _, err := (probe{"POST", "/upload", nil, strings.Repeat("warm", 1<<18)}).ask(newClient(t), s.url); err != nil {
		t.Fatal(err)
	}
	look(before)
	done := make(chan error, 1)
	begun := time.Now()
	go func() {
		for _, chunked := range []bool{false, true} {
			req, err := http.NewRequest(http.MethodPost, s.url+"/upload", &pattern{size})
			if err == nil && !chunked {
				req.ContentLength = size
			}
			if err == nil {
				err = countsAll(req, size)
			}
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for running := true; running; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			running = false
		case <-time.After(20 * time.Millisecond):
			look(most)
		}
	}
	for name := range pids {
		grown := most[name] - before[name]
		t.Logf("2 uploads of %d MiB in %v: RssAnon of the %s grew by %d KiB, from %d", size>>20, time.Since(begun).Round(time.Millisecond), name, grown, before[name])
		if grown > 32<<10 {
			t.Errorf("RssAnon of the %s grew by %d KiB, want less than 32 MiB", name, grown)
		}
	}
}

func countsAll(req *http.Request, size int64) error {
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var told struct {
		Received int64 `json:"bytes_received"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&told); err != nil {
		return err
	}
	if told.Received != size {
		return errors.New(fmt.Sprint("the backend got ", told.Received, " bytes"))
	}
	return nil
}
