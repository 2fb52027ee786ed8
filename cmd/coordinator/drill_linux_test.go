package main

import (
	"strings"
	"testing"
)

// On a terminal, the name of the bulkhead is the confirmation.
func TestDrillIsConfirmed(t *testing.T) {
	for typed, want := range map[string]struct {
		code int
		call string
	}{
		"orders\n":  {exitDone, "drill orders kill 10s"},
		"yes\n":     {exitFailed, ""},
		"catalog\n": {exitFailed, ""},
		"\x04":      {exitFailed, ""}, // the end of input
	} {
		f := &fakeSupervisor{status: threeBulkheads()}
		socket := f.listen(t)
		master, tty := openTerminals(t)
		if _, err := master.WriteString(typed); err != nil {
			t.Fatal(err)
		}
		var out, errs strings.Builder
		code := run([]string{"drill", "orders", "kill", "--socket", socket}, nil, tty, &out, &errs)
		if got := strings.Join(f.took(), " "); code != want.code || got != want.call {
			t.Errorf("%q: exit code %d, did %q; want %+v", typed, code, got, want)
		}
		for _, text := range []string{"This is real.", "SIGKILL", "Type its name"} {
			if !strings.Contains(strings.ReplaceAll(errs.String(), "\n", " "), text) {
				t.Errorf("%q: no %q in %q", typed, text, errs.String())
			}
		}
	}
}
