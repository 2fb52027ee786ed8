package supervisor_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"commerce.example/coordinator/supervisor"
)

// A body that crosses its limit while the answer to it begins has its connection
// closed, and ends nothing else. Run with the race detector.
func TestABodyOverItsLimitWhileItIsAnswered(t *testing.T) {
	const limit = 32 << 10
	r := start(t, []supervisor.BulkheadConfig{bulkhead("a", func(c *supervisor.BulkheadConfig) { c.MaxBody = limit })})
	request := fmt.Sprintf("POST /a/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n",
		limit+1, strings.Repeat("x", limit+1))
	answers := make(map[string]int)
	for range 50 {
		nc, br := r.raw(request)
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		switch {
		case resp.StatusCode == http.StatusRequestEntityTooLarge && err == nil && bytes.Contains(body, []byte(`"body_too_large"`)):
		case resp.StatusCode == http.StatusOK && err != nil && len(body) <= limit: // it had begun, and is cut
		default:
			t.Fatalf("%s, %d bytes, %v", resp.Status, len(body), err)
		}
		if !resp.Close && err == nil {
			t.Errorf("%s: the connection goes on", resp.Status)
		}
		if _, err := br.ReadByte(); err == nil {
			t.Error("something behind the answer")
		}
		answers[resp.Status]++
		nc.Close()
	}
	t.Log(answers)
}
