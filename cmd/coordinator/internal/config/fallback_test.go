package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/config"
	"commerce.example/coordinator/ipc/credential"
	"commerce.example/coordinator/supervisor/fallback"
	"commerce.example/coordinator/supervisor/fallback/stale"
)

const fb = "BULKHEAD_ORDERS_"

// prepared is a folder with one answer, made then.
func prepared(t *testing.T, name, made string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	text := "GET /api/orders/\nmade " + made + "\nstatus 200\nContent-Type: text/plain\n\nnone"
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestFallback(t *testing.T) {
	dir := prepared(t, "orders.answer", time.Now().UTC().Format(time.RFC3339))
	c := load(t, map[string]string{
		fb + "FALLBACK": "backup, stale", fb + "FALLBACK_MAX_SHARE": "0.2", fb + "FALLBACK_MAX_FOR": "1h",
		fb + "STALE_BYTES": "1MiB", fb + "STALE_MAX_AGE": "1m", fb + "STALE_ON": "503",
		fb + "STALE_PER_CREDENTIAL": "authorization, Cookie:sessionid", fb + "BACKUP_DIR": dir, fb + "BACKUP_MAX_AGE": "off",
	})
	got := c.Supervisor.Bulkheads[0].Fallback
	if got.Backup.Len() != 1 {
		t.Fatalf("%d answers", got.Backup.Len())
	}
	got.Backup = nil
	want := got
	want.Kinds = []fallback.Kind{fallback.Backup, fallback.Stale}
	want.Stale = stale.Settings{Bytes: 1 << 20, MaxAge: time.Minute, PerCredential: []credential.Name{
		{Field: "Authorization"}, {Field: "Cookie", Cookie: "sessionid"},
	}}
	want.StaleOn, want.BackupDir, want.BackupMaxAge = []int{503}, dir, 0
	want.MaxShare, want.MaxFor, want.Always = 0.2, time.Hour, false
	if !reflect.DeepEqual(got, want) || len(c.Warnings) != 0 {
		t.Errorf("%+v, want %+v; %v", got, want, c.Warnings)
	}

	c = load(t, map[string]string{fb + "BACKEND": "-", fb + "FALLBACK": "backup", fb + "FALLBACK_MODE": "always", fb + "BACKUP_DIR": dir})
	if b := c.Supervisor.Bulkheads[0]; !b.Fallback.Always || b.Workers != 0 {
		t.Errorf("always: %+v", b)
	}
	c = load(t)
	if f := c.Supervisor.Bulkheads[0].Fallback; len(f.Kinds) != 0 || f.Backup != nil {
		t.Errorf("none: %+v", f)
	}
}

func TestFallbackMistakes(t *testing.T) {
	torn := prepared(t, "a.answer", "yesterday")
	if err := os.WriteFile(filepath.Join(torn, "b.answer"), []byte("GET x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		set  map[string]string
		want []string // each in one line
	}{
		"every mistake of the data": {
			map[string]string{fb + "FALLBACK": "backup", fb + "BACKUP_DIR": torn},
			[]string{"a.answer:2", "b.answer:1"},
		},
		"always and a backend": {
			map[string]string{fb + "FALLBACK": "backup", fb + "FALLBACK_MODE": "always", fb + "BACKUP_DIR": prepared(t, "a.answer", "2026-01-01T00:00:00Z")},
			[]string{"FALLBACK_MODE", "BULKHEAD_ORDERS_BACKEND is set; want on-failure, or no backend"},
		},
		"always and stale": {
			map[string]string{fb + "BACKEND": "-", fb + "FALLBACK": "stale,backup", fb + "FALLBACK_MODE": "always", fb + "BACKUP_DIR": prepared(t, "a.answer", "2026-01-01T00:00:00Z")},
			[]string{"want BULKHEAD_ORDERS_FALLBACK=backup with it"},
		},
		"always and nothing": {
			map[string]string{fb + "BACKEND": "-", fb + "FALLBACK": "backup", fb + "FALLBACK_MODE": "always", fb + "BACKUP_DIR": t.TempDir()},
			[]string{"BACKUP_DIR", "want a folder with some"},
		},
	} {
		_, err := config.Load(environ(test.set), "")
		all, ok := errors.AsType[config.Errors](err)
		if !ok {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(all.Error(), want) {
				t.Errorf("%s: nothing about %q in:\n%v", name, want, all)
			}
		}
	}
}

func TestFallbackWarnings(t *testing.T) {
	for want, set := range map[string]map[string]string{
		`BULKHEAD_ORDERS_BACKUP_DIR="/nowhere/at/all": is not there`:                                             {fb + "FALLBACK": "backup", fb + "BACKUP_DIR": "/nowhere/at/all"},
		`BULKHEAD_ORDERS_BACKUP_MAX_AGE="720h": orders.answer is older than that: coordinator snapshot orders r`: {fb + "FALLBACK": "backup", fb + "BACKUP_DIR": prepared(t, "orders.answer", "2020-01-01T00:00:00Z")},
		`BULKHEAD_ORDERS_STALE_BYTES="1MiB": has no effect: BULKHEAD_ORDERS_FALLBACK does not`:                   {fb + "STALE_BYTES": "1MiB"},
		`BULKHEAD_ORDERS_STALE_ON="503": has no effect: BULKHEAD_ORDERS_FALLBACK is none`:                        {fb + "STALE_ON": "503"},
	} {
		c := load(t, set)
		if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].Error(), want) {
			t.Errorf("%v, want %s", c.Warnings, want)
		}
	}
}
