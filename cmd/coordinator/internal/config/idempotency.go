package config

import (
	"errors"
	"slices"
	"strings"
	"time"

	"commerce.example/coordinator/ipc/credential"
	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/idempotency"
	"commerce.example/coordinator/supervisor/journal"
)

// keyScope is credentials of which there must be one.
type keyScope struct{ credentials }

func (k *keyScope) UnmarshalText(text []byte) error {
	err := k.credentials.UnmarshalText(text)
	if err == nil && len(k.list) == 0 {
		err = errors.New("without one, users would share their keys and answers; want fields such as Authorization, or Cookie:NAME")
	}
	return err
}

func idempotencyOf(b *bulkhead) supervisor.IdempotencyConfig {
	return supervisor.IdempotencyConfig{
		Mode: supervisor.IdempotencyMode(b.Idempotency),
		Settings: idempotency.Settings{
			Bytes: int64(b.IdempotencyBytes), MaxAge: time.Duration(b.IdempotencyMaxAge),
			MaxAnswer: int64(b.IdempotencyMaxAnswer), Scope: b.IdempotencyPerCredential.list,
		},
	}
}

// idempotencyKeys is what there is to set besides IDEMPOTENCY itself.
var idempotencyKeys = []string{"IDEMPOTENCY_BYTES", "IDEMPOTENCY_MAX_AGE", "IDEMPOTENCY_MAX_ANSWER", "IDEMPOTENCY_PER_CREDENTIAL"}

// checkIdempotency refuses what would break the promise of a key, and warns of what
// may.
func (s *scope) checkIdempotency(c supervisor.BulkheadConfig) {
	keys := c.Idempotency
	if !s.fine("IDEMPOTENCY") {
		return
	}
	if keys.Mode == supervisor.IdempotencyOff {
		for _, key := range idempotencyKeys {
			if s.isSet(key) {
				s.warn(key, "has no effect: %sIDEMPOTENCY is off", s.prefix)
			}
		}
		return
	}
	if scope := c.Journal.Scope; s.fine("JOURNAL") && scope != supervisor.JournalUnsafe && scope != supervisor.JournalAll {
		s.fail("IDEMPOTENCY", "needs the journal: %sJOURNAL=%s forgets the keys when the coordinator starts anew; want %sJOURNAL=unsafe or all, or off here",
			s.prefix, scope, s.prefix)
	}
	if s.fine("IDEMPOTENCY_BYTES", "IDEMPOTENCY_MAX_ANSWER") && keys.MaxAnswer > keys.Bytes/2 {
		s.fail("IDEMPOTENCY_MAX_ANSWER", "is above half of %sIDEMPOTENCY_BYTES=%s; want at most that", s.prefix, s.effective("IDEMPOTENCY_BYTES").value)
	}
	s.inRange("IDEMPOTENCY_MAX_AGE", between(keys.MaxAge, time.Second, 7*24*time.Hour))
	if s.fine("IDEMPOTENCY_PER_CREDENTIAL") && slices.Contains(keys.Scope, credential.Name{Field: "Cookie"}) {
		s.warn("IDEMPOTENCY_PER_CREDENTIAL", "all of Cookie tells users apart: when any cookie changes between two attempts, the second is another user's and is sent; name the session's, as Cookie:NAME")
	}
	s.checkReach(keys)
}

// checkReach warns when the journal that is there does not go back as far as keys
// have to be remembered.
func (s *scope) checkReach(keys supervisor.IdempotencyConfig) {
	if !s.fine("IDEMPOTENCY_MAX_AGE") || s.stateDir == "" {
		return
	}
	since, trimmed, err := journal.NewReader(supervisor.JournalDir(s.stateDir)).Reach()
	if err != nil || !trimmed || time.Since(since) >= keys.MaxAge {
		return
	}
	s.warn("IDEMPOTENCY_MAX_AGE", "the journal goes back to %s only: a start would forget older keys; want more COORDINATOR_JOURNAL_TOTAL, or less here",
		strings.Replace(since.UTC().Format(time.DateTime), " ", "T", 1)+"Z")
}
