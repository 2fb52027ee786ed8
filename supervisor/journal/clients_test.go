package journal_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/journal"
)

func TestClientsAreForgotten(t *testing.T) {
	dir := t.TempDir()
	addr := netip.MustParseAddr("192.0.2.7")
	day := time.Date(2026, 11, 21, 23, 59, 59, 0, time.UTC)
	word := func(c *journal.Clients, a netip.Addr, at time.Time) string {
		t.Helper()
		w, err := c.Hash(a, at)
		if err != nil || len(w) != 16 {
			t.Fatalf("%q, %v", w, err)
		}
		return w
	}
	one, other := journal.NewClients(dir), journal.NewClients(dir)
	first := word(one, addr, day)
	if word(other, addr, day) != first || word(other, netip.MustParseAddr("::ffff:192.0.2.7"), day) != first {
		t.Error("one client has two words on one day")
	}
	if word(one, netip.MustParseAddr("192.0.2.8"), day) == first || word(one, addr, day.Add(time.Second)) == first {
		t.Error("two clients, or two days, share a word")
	}
	if word(one, addr, day) != first { // it began before midnight, and ends behind it
		t.Error("a word changes with the next day")
	}
	next := word(one, addr, day.Add(time.Second))
	last := word(one, addr, day.Add(25*time.Hour)) // and the clock is set back
	if word(one, addr, day.Add(2*time.Second)) != next || word(one, addr, day.Add(25*time.Hour)) != last {
		t.Error("a word changes with the clock")
	}
	keys, _ := filepath.Glob(filepath.Join(dir, "*"))
	for i := range keys {
		if info, err := os.Stat(keys[i]); err != nil || info.Mode().Perm() != 0o600 {
			t.Error(info.Mode(), err)
		}
		keys[i] = filepath.Base(keys[i])
	}
	if want := []string{"clients-2026-11-22.key", "clients-2026-11-23.key"}; !slices.Equal(keys, want) {
		t.Errorf("keys: %v, want %v", keys, want)
	}
	if _, err := journal.NewClients(filepath.Join(dir, "missing")).Hash(addr, day); err == nil {
		t.Error("a key that cannot be kept is not reported")
	}
}

// A disk that hangs costs words, and holds up nobody for long.
func TestClientsOnADiskThatHangs(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "clients-2026-11-21.key")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	c := journal.NewClients(dir)
	addr, day := netip.MustParseAddr("192.0.2.7"), time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	if word, err := c.Hash(addr, day); word != "" || err == nil {
		t.Errorf("%q, %v", word, err)
	}
	began := time.Now()
	for range 100 {
		if word, err := c.Hash(addr, day); word != "" || err != nil {
			t.Fatalf("%q, %v", word, err)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("a hundred more waited for %v", took)
	}
	if word, err := c.Hash(addr, day.AddDate(0, 0, 1)); len(word) != 16 || err != nil {
		t.Errorf("the next day: %q, %v", word, err)
	}
	c.Close(time.Millisecond)
	if err := os.WriteFile(path, make([]byte, 32), 0o600); err != nil { // it answers again
		t.Fatal(err)
	}
	c.Close(10 * time.Second)
	if word, err := c.Hash(addr, day); len(word) != 16 || err != nil {
		t.Errorf("%q, %v", word, err)
	}
}
