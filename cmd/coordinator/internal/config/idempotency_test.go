package config_test

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/config"
	"commerce.example/coordinator/ipc/credential"
	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/idempotency"
)

func TestIdempotency(t *testing.T) {
	c := load(t, map[string]string{
		fb + "IDEMPOTENCY": "required", fb + "IDEMPOTENCY_BYTES": "8MiB", fb + "IDEMPOTENCY_MAX_AGE": "24h",
		fb + "IDEMPOTENCY_MAX_ANSWER": "64KiB", fb + "IDEMPOTENCY_PER_CREDENTIAL": "authorization, Cookie:sessionid",
	})
	want := supervisor.IdempotencyConfig{Mode: supervisor.IdempotencyRequired, Settings: idempotency.Settings{
		Bytes: 8 << 20, MaxAge: 24 * time.Hour, MaxAnswer: 64 << 10,
		Scope: []credential.Name{{Field: "Authorization"}, {Field: "Cookie", Cookie: "sessionid"}},
	}}
	if got := c.Supervisor.Bulkheads[0].Idempotency; !reflect.DeepEqual(got, want) || len(c.Warnings) > 0 {
		t.Errorf("%+v, want %+v; %v", got, want, c.Warnings)
	}
}

// What tells users apart stays out of what their requests share on a connection
// to the backend.
func TestDefaultCredentialsAreTheBackendClients(t *testing.T) {
	scope := load(t, nil).Supervisor.Bulkheads[0].Idempotency.Scope
	for _, c := range scope {
		if !credential.IsSecret(c.Field) {
			t.Errorf("%s is no secret", c.Field)
		}
	}
	if len(scope) == 0 {
		t.Error("no default")
	}
}

func TestIdempotencyMistakes(t *testing.T) {
	for want, set := range map[string]map[string]string{
		`IDEMPOTENCY="maybe": want one of off, optional, required`:                                        {fb + "IDEMPOTENCY": "maybe"},
		`IDEMPOTENCY="optional": needs the journal: BULKHEAD_ORDERS_JOURNAL=off forgets`:                  {fb + "IDEMPOTENCY": "optional", fb + "JOURNAL": "off"},
		`BULKHEAD_ORDERS_JOURNAL=failures forgets`:                                                        {fb + "IDEMPOTENCY": "required", fb + "JOURNAL": "failures"},
		`IDEMPOTENCY_MAX_ANSWER="2MiB": is above half of BULKHEAD_ORDERS_IDEMPOTENCY_BYTES=1MiB`:          {fb + "IDEMPOTENCY": "optional", fb + "IDEMPOTENCY_BYTES": "1MiB", fb + "IDEMPOTENCY_MAX_ANSWER": "2MiB"},
		`IDEMPOTENCY_MAX_AGE="169h": want a duration from 1s to 168h`:                                     {fb + "IDEMPOTENCY": "optional", fb + "IDEMPOTENCY_MAX_AGE": "169h"},
		`IDEMPOTENCY_PER_CREDENTIAL="X-Key:a": credential "X-Key:a": only Cookie has parts, as Cookie:NA`: {fb + "IDEMPOTENCY": "optional", fb + "IDEMPOTENCY_PER_CREDENTIAL": "X-Key:a"},
		`IDEMPOTENCY_PER_CREDENTIAL="none": without one, users would share`:                               {fb + "IDEMPOTENCY": "optional", fb + "IDEMPOTENCY_PER_CREDENTIAL": "none"},
	} {
		_, err := config.Load(environ(set), "")
		all, ok := errors.AsType[config.Errors](err)
		if !ok || len(all) != 1 || !strings.Contains(all.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestIdempotencyWarnings(t *testing.T) {
	state := t.TempDir()
	if err := os.Mkdir(supervisor.JournalDir(state), 0o700); err != nil {
		t.Fatal(err)
	}
	oldest := "journal-00000007-" + time.Now().UTC().Add(-time.Minute).Format("20060102T150405.000Z") + ".jsonl"
	if err := os.WriteFile(supervisor.JournalDir(state)+"/"+oldest, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const mine = "Authorization"
	for want, set := range map[string]map[string]string{
		`IDEMPOTENCY_BYTES="1MiB": has no effect: BULKHEAD_ORDERS_IDEMPOTENCY is off`: {fb + "IDEMPOTENCY_BYTES": "1MiB"},
		`name the session's, as Cookie:NAME`:                                          {fb + "IDEMPOTENCY": "optional"},
		`: a start would forget older keys`: {
			fb + "IDEMPOTENCY": "optional", fb + "IDEMPOTENCY_PER_CREDENTIAL": mine, "COORDINATOR_STATE_DIR": state,
		},
	} {
		c := load(t, set)
		if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].Error(), want) {
			t.Errorf("%v, want %s", c.Warnings, want)
		}
	}
	c := load(t, map[string]string{
		fb + "IDEMPOTENCY": "optional", fb + "IDEMPOTENCY_PER_CREDENTIAL": mine, fb + "IDEMPOTENCY_MAX_AGE": "30s", "COORDINATOR_STATE_DIR": state,
	})
	if len(c.Warnings) > 0 {
		t.Errorf("%v", c.Warnings)
	}
}
