package kept_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/journal/kept"
)

// keys are those of some seeds, the first of which seals.
func keys(t testing.TB, seeds ...byte) *kept.Keys {
	t.Helper()
	var text bytes.Buffer
	for _, seed := range seeds {
		fmt.Fprintf(&text, "%x\n", secret(seed))
	}
	k, err := kept.ParseKeys(text.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func secret(seed byte) []byte {
	b := make([]byte, 32)
	for i := range b {
		b[i] = seed + byte(i)
	}
	return b
}

func open(t testing.TB, dir string, bound int64, k *kept.Keys) *kept.Store {
	t.Helper()
	s, err := kept.Open(dir, bound, k)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

func payment() *kept.Request {
	return &kept.Request{
		Method: "POST", Host: "shop.example", Target: "/pay?token=canary-query", RemoteAddr: "192.0.2.7:1234",
		Header: http.Header{
			"Authorization": {"Bearer canary-credential"}, "Accept": {"a/b", "c/d"}, "X-Odd": {"caf\xe9 \x80\xff", ""},
		},
		Trailer: http.Header{"Digest": {"canary-trailer"}},
		Body:    []byte("amount=canary-body"),
	}
}

func keep(t testing.TB, s *kept.Store, id string, r *kept.Request) string {
	t.Helper()
	name, err := s.Keep(id, r, false)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func files(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
