package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/fallback"
	"commerce.example/coordinator/supervisor/fallback/backup"
	"commerce.example/coordinator/supervisor/fallback/stale"
)

// fallback converts, and reads the prepared answers where they are asked for.
func (s *scope) fallback(b *bulkhead) supervisor.FallbackConfig {
	dir := s.backupDir(b)
	c := supervisor.FallbackConfig{
		Kinds:  b.Fallback,
		Always: b.FallbackMode == "always",
		Stale: stale.Settings{
			Bytes: int64(b.StaleBytes), MaxAge: time.Duration(b.StaleMaxAge), PerCredential: b.StalePerCredential.list,
		},
		StaleOn:      b.StaleOn,
		BackupDir:    dir,
		BackupMaxAge: time.Duration(b.BackupMaxAge),
		MaxShare:     float64(b.FallbackMaxShare),
		MaxFor:       time.Duration(b.FallbackMaxFor),
	}
	if slices.Contains(c.Kinds, fallback.Backup) && s.fine("BACKUP_DIR") {
		c.Backup = s.backup(dir)
	}
	return c
}

// backupDir is the folder of the prepared answers.
func (s *scope) backupDir(b *bulkhead) string {
	if b.BackupDir != "" {
		return absolute(b.BackupDir)
	}
	dir := filepath.Join(s.stateDir, "backup", s.bulkhead)
	s.derive("BACKUP_DIR", dir, "")
	return dir
}

// backup reads the folder. One that is not there is not a mistake: to make it
// with snapshot takes a coordinator that runs.
func (s *scope) backup(dir string) *backup.Set {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		s.warn("BACKUP_DIR", "is not there: no answer is prepared; coordinator snapshot %s makes it", s.bulkhead)
		return nil
	}
	set, err := backup.Load(dir, backup.Bounds{})
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			s.fail("BACKUP_DIR", "%s", line)
		}
	}
	return set
}

// checkFallback refuses contradictions, and warns of what would silently come to
// nothing.
func (s *scope) checkFallback(c supervisor.FallbackConfig) {
	if !s.fine("FALLBACK") {
		return
	}
	for _, f := range s.fields {
		kind := fallback.Kind(strings.ToLower(strings.SplitN(f.key, "_", 2)[0]))
		if slices.Contains(fallback.Kinds(), kind) && !slices.Contains(c.Kinds, kind) && f.key != "STALE_ON" && s.isSet(f.key) {
			s.warn(f.key, "has no effect: %sFALLBACK does not have %s", s.prefix, kind)
		}
	}
	for _, key := range []string{"STALE_ON", "FALLBACK_MAX_SHARE", "FALLBACK_MAX_FOR"} {
		if len(c.Kinds) == 0 && s.isSet(key) {
			s.warn(key, "has no effect: %sFALLBACK is none", s.prefix)
		}
	}
	s.checkAlways(c)
	if c.Backup == nil || c.BackupMaxAge == 0 || !s.fine("BACKUP_MAX_AGE") {
		return
	}
	if oldest := c.Backup.Oldest(); !oldest.IsZero() && time.Since(oldest) > c.BackupMaxAge {
		s.warn("BACKUP_MAX_AGE", "%s older than that: coordinator snapshot %s refreshes", oldAnswers(c), s.bulkhead)
	}
}

// oldAnswers names the first few.
func oldAnswers(c supervisor.FallbackConfig) string {
	const few = 3
	var names []string
	for _, e := range c.Backup.Entries() {
		if time.Since(e.Made) > c.BackupMaxAge {
			names = append(names, e.File)
		}
	}
	switch n := len(names); {
	case n == 1:
		return names[0] + " is"
	case n > few:
		return strings.Join(names[:few], ", ") + " and others are"
	default:
		return strings.Join(names, ", ") + " are"
	}
}

// checkAlways holds a bulkhead without backend to it.
func (s *scope) checkAlways(c supervisor.FallbackConfig) {
	if !c.Always || !s.fine("FALLBACK_MODE") {
		return
	}
	if !slices.Equal(c.Kinds, []fallback.Kind{fallback.Backup}) {
		s.fail("FALLBACK_MODE", "answers from backup data alone; want %sFALLBACK=backup with it", s.prefix)
		return
	}
	if s.effective("BACKEND").value != "" {
		s.fail("FALLBACK_MODE", "is for development without a backend, and %sBACKEND is set; want on-failure, or no backend", s.prefix)
	}
	for _, key := range []string{"WORKER", "WORKERS"} {
		if s.isSet(key) {
			s.warn(key, "has no effect: %sFALLBACK_MODE=always starts no worker", s.prefix)
		}
	}
	if c.Backup.Len() == 0 && s.fine("BACKUP_DIR") {
		s.fail("BACKUP_DIR", "has no answer, and %sFALLBACK_MODE=always has no others; want a folder with some", s.prefix)
	}
}
