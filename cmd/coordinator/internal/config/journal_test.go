package config_test

import (
	"strings"
	"testing"
)

func TestKeptRequests(t *testing.T) {
	const o = "BULKHEAD_ORDERS_"
	key := write(t, "journal.key", strings.Repeat("0123456789abcdef", 4), 0o600)
	with := func(more ...string) map[string]string {
		vars := map[string]string{"COORDINATOR_JOURNAL_KEY_FILE": key}
		for i := 0; i < len(more); i += 2 {
			vars[o+more[i]] = more[i+1]
		}
		return vars
	}
	c := load(t, with("JOURNAL_BODY", "64KiB", "BACKEND_IDEMPOTENT", "true"))
	b := c.Supervisor.Bulkheads[0]
	if len(c.Warnings) != 0 || b.Journal.BodyBytes != 64<<10 || !b.BackendIdempotent || c.Supervisor.JournalKeys == nil {
		t.Errorf("%v, %+v, keys %v", c.Warnings, b.Journal, c.Supervisor.JournalKeys)
	}
	if c := load(t, nil); c.Supervisor.Bulkheads[0].Journal.BodyBytes != 0 || c.Supervisor.Bulkheads[0].BackendIdempotent || c.Supervisor.JournalKeys != nil {
		t.Errorf("by default: %+v", c.Supervisor.Bulkheads[0])
	}
	for _, test := range []struct {
		vars           map[string]string
		variable, want string
	}{
		{with(), "COORDINATOR_JOURNAL_KEY_FILE", "seals nothing: no bulkhead has JOURNAL_BODY"},
		{with("JOURNAL_BODY", "1KiB", "JOURNAL", "off"), o + "JOURNAL_BODY", "has no effect: BULKHEAD_ORDERS_JOURNAL is off"},
		{with("JOURNAL_BODY", "1KiB", "JOURNAL", "failures"), o + "JOURNAL_BODY", "nothing is recorded before it is sent"},
		{with("JOURNAL_BODY", "2KiB", "MAX_BODY", "1KiB"), o + "JOURNAL_BODY", "is above BULKHEAD_ORDERS_MAX_BODY=1KiB, which comes first"},
		{map[string]string{o + "BACKEND_IDEMPOTENT": "true"}, o + "BACKEND_IDEMPOTENT", "nothing is kept that could be sent again"},
	} {
		c := load(t, test.vars)
		if len(c.Warnings) != 1 || c.Warnings[0].Variable != test.variable || !strings.Contains(c.Warnings[0].Message, test.want) {
			t.Errorf("%v: warnings %v, want one with %q", test.vars, c.Warnings, test.want)
		}
	}
}

// Two syncs write two files, which must not be all that there is room for.
func TestJournalRoom(t *testing.T) {
	for _, test := range []struct {
		total, sync, scope string
		warns              bool
	}{
		{"47MiB", "always", "unsafe", true},
		{"48MiB", "always", "unsafe", false},
		{"32MiB", "process", "unsafe", false}, // one of them alone
		{"32MiB", "always", "off", false},
	} {
		c := load(t, catalog, map[string]string{
			"COORDINATOR_JOURNAL_TOTAL": test.total, "BULKHEAD_ORDERS_JOURNAL_SYNC": test.sync, "BULKHEAD_ORDERS_JOURNAL": test.scope,
		})
		var warns bool
		for _, w := range c.Warnings {
			warns = warns || w.Variable == "COORDINATOR_JOURNAL_TOTAL" && strings.Contains(w.Message, "COORDINATOR_JOURNAL_SEGMENT=16MiB; want room for three")
		}
		if warns != test.warns {
			t.Errorf("%+v: warnings %v", test, c.Warnings)
		}
	}
}
