package supervisor_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
)

// Over the wire, at the same time, with a backend that comes and goes: nobody
// ever gets an answer of somebody else.
func TestFallbackNeverCrosses(t *testing.T) {
	c, set := legacyOf(t, "a", func(c *supervisor.BulkheadConfig) { c.Limit, c.Queue, c.QueueTimeout = 16, 16, 5*time.Second })
	r := start(t, []supervisor.BulkheadConfig{c})
	stop := make(chan struct{})
	var flapping, users sync.WaitGroup
	flapping.Go(func() {
		tick := time.NewTicker(3 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-tick.C:
				set([]string{"", "backend_reset"}[n%2])
			}
		}
	})
	var standIns atomic.Int64
	for user := range 6 {
		users.Go(func() {
			auth := fmt.Sprintf("Bearer %d", user/2) // each twice; 0 has none
			if user < 2 {
				auth = ""
			}
			client := http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
			defer client.CloseIdleConnections()
			rnd := rand.New(rand.NewPCG(1, uint64(user)))
			for range 500 {
				req, _ := http.NewRequest("GET", fmt.Sprintf("http://%s/a/legacy/orders?page=%d", r.addr, rnd.IntN(3)), nil)
				if auth != "" {
					req.Header.Set("Authorization", auth)
				}
				resp, err := client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.Header.Get("Cache-Status") != "" {
					standIns.Add(1)
				}
				if resp.StatusCode == 200 && !strings.HasPrefix(string(body), fmt.Sprintf("/a/legacy/orders of %q at ", auth)) {
					t.Errorf("%q was given %q", auth, body)
				}
			}
		})
	}
	users.Wait()
	close(stop)
	flapping.Wait()
	if standIns.Load() < 100 {
		t.Errorf("only %d answers were fallbacks", standIns.Load())
	}
	t.Logf("%d fallbacks among 3000 answers", standIns.Load())
}
