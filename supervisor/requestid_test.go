package supervisor_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"commerce.example/coordinator/supervisor"
)

func TestRequestIDKept(t *testing.T) {
	ids := supervisor.NewRequestIDs()
	for _, sent := range []string{
		"a", "0198b2c6-7a3e-7c55-9d6b-1f0a2b3c4d5e", "Root=1-67891233:abc/def+==", "user@host~1._-", strings.Repeat("x", 128),
	} {
		if got := ids.Of(http.Header{"X-Request-Id": {sent}}); got != sent {
			t.Errorf("%q became %q", sent, got)
		}
	}
}

func TestRequestIDReplaced(t *testing.T) {
	ids := supervisor.NewRequestIDs()
	for _, sent := range [][]string{
		nil, {}, {""}, {"a", "b"}, {strings.Repeat("x", 129)}, {"a b"}, {"a\"b"}, {"a,b"}, {"<script>"}, {"a\r\nX: y"}, {"é"}, {"${jndi:x}"}, {"%0a"},
	} {
		h := http.Header{"X-Request-Id": sent}
		got := ids.Of(h)
		id, err := uuid.Parse(got)
		if err != nil || id.Version() != 7 || id.Variant() != uuid.RFC4122 {
			t.Errorf("%q became %q", sent, got)
		}
		if values := h["X-Request-Id"]; len(values) != 1 || values[0] != got {
			t.Errorf("%q: the header has %q, not %q", sent, values, got)
		}
	}
}

func TestRequestIDsAreUniqueAndInOrder(t *testing.T) {
	ids := supervisor.NewRequestIDs()
	const each = 2000
	var lists [4][]string
	var wg sync.WaitGroup
	for i := range lists {
		wg.Go(func() {
			for range each {
				lists[i] = append(lists[i], ids.Of(make(http.Header)))
			}
		})
	}
	wg.Wait()
	seen := make(map[string]bool)
	for _, list := range lists {
		for i, id := range list {
			if i > 0 && id <= list[i-1] {
				t.Fatalf("%s after %s", id, list[i-1])
			}
			seen[id] = true
		}
	}
	if len(seen) != len(lists)*each {
		t.Errorf("%d ids of %d requests", len(seen), len(lists)*each)
	}
}

func BenchmarkRequestID(b *testing.B) {
	b.ReportAllocs()
	ids := supervisor.NewRequestIDs()
	h := make(http.Header)
	for b.Loop() {
		delete(h, "X-Request-Id")
		ids.Of(h)
	}
}
