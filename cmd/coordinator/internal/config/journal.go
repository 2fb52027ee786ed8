package config

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/journal"
	"commerce.example/coordinator/supervisor/journal/kept"
)

// journalFields are the header fields that the journal keeps.
type journalFields struct{ list journal.AllowList }

func (f *journalFields) UnmarshalText(text []byte) error {
	var names []string
	err := each(text, func(word string) error {
		names = append(names, word)
		return checkFieldName(word)
	})
	if err == nil {
		f.list, err = journal.NewAllowList(names)
	}
	return err
}

// fieldNameBytes are those of a token: RFC 9110 section 5.6.2.
const fieldNameBytes = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

func checkFieldName(name string) error {
	if strings.Trim(name, fieldNameBytes) != "" {
		return fmt.Errorf("%q is no name of a header field; want names such as User-Agent", name)
	}
	return nil
}

func journalOf(b *bulkhead) supervisor.RecordConfig {
	return supervisor.RecordConfig{
		Scope: supervisor.JournalScope(b.Journal), Sync: journal.Sync(b.JournalSync),
		Query: b.JournalQuery == "on", Headers: b.JournalHeaders.list, BodyBytes: int64(b.JournalBody),
	}
}

// checkJournal warns of what comes to nothing, and of what may keep secrets.
func (s *scope) checkJournal(c supervisor.RecordConfig) {
	if !s.fine("JOURNAL", "JOURNAL_SYNC", "JOURNAL_HEADERS", "JOURNAL_QUERY", "JOURNAL_BODY") {
		return
	}
	for _, key := range []string{"JOURNAL_SYNC", "JOURNAL_HEADERS", "JOURNAL_QUERY", "JOURNAL_BODY"} {
		if c.Scope == supervisor.JournalOff && s.isSet(key) {
			s.warn(key, "has no effect: %sJOURNAL is off", s.prefix)
		}
	}
	if c.Scope == supervisor.JournalFailures && c.BodyBytes > 0 {
		s.warn("JOURNAL_BODY", "has no effect: with %sJOURNAL=failures nothing is recorded before it is sent", s.prefix)
	}
	if c.Scope == supervisor.JournalFailures && c.Sync == journal.Always {
		s.warn("JOURNAL_SYNC", "has no effect: with %sJOURNAL=failures nothing is recorded before it is sent", s.prefix)
	}
}

// The least segment has room for the longest record, with all that its head tells.
const leastSegment = 1 << 20

// checkJournalSize refuses what a journal cannot work with: it is made smaller by
// whole segments, so it needs two.
func (s *scope) checkJournalSize(g *global) {
	s.inRange("JOURNAL_SEGMENT", between(g.JournalSegment, leastSegment, 1<<30))
	s.inRange("JOURNAL_SEGMENT_AGE", between(g.JournalSegmentAge, span(time.Minute), span(7*24*time.Hour)))
	if s.fine("JOURNAL_SEGMENT", "JOURNAL_TOTAL") && g.JournalTotal < 2*g.JournalSegment {
		s.fail("JOURNAL_TOTAL", "has no room for two of COORDINATOR_JOURNAL_SEGMENT=%s; want at least that", s.effective("JOURNAL_SEGMENT").value)
	}
}

// checkJournalRoom warns of a journal that forgets each file once it is full: those
// that are being written may take all the room there is, and each sync writes one.
func (l *loader) checkJournalRoom(c supervisor.Config) {
	s := l.global()
	writes := func(sync journal.Sync) bool {
		return slices.ContainsFunc(c.Bulkheads, func(b supervisor.BulkheadConfig) bool { return b.Journal.Writer() == sync })
	}
	if s.fine("JOURNAL_SEGMENT", "JOURNAL_TOTAL") && c.Journal.TotalBytes < 3*c.Journal.SegmentBytes && writes(journal.Process) && writes(journal.Always) {
		s.warn("JOURNAL_TOTAL", "keeps no full file: of JOURNAL_SYNC process and always each writes one, which may be as large as COORDINATOR_JOURNAL_SEGMENT=%s; want room for three",
			s.effective("JOURNAL_SEGMENT").value)
	}
}

// readJournalKeys reads the key file, if there is one.
func (s *scope) readJournalKeys(g *global) *kept.Keys {
	const key = "JOURNAL_KEY_FILE"
	if g.JournalKeyFile == "" || !s.fine(key) {
		return nil
	}
	keys, err := kept.ReadKeys(g.JournalKeyFile)
	if _, ofFile := errors.AsType[*fs.PathError](err); ofFile {
		s.fail(key, "%s; want a file with a key of 32 bytes, of mode 0600, or 0640 for a group", cause(err))
	} else if err != nil {
		s.fail(key, "%s", err)
	}
	return keys
}

// checkKept refuses to keep requests that nothing could seal, and what memory and
// disk are not meant for: each request in flight may hold that much.
func (s *scope) checkKept(c *supervisor.BulkheadConfig) {
	const keyFile = "JOURNAL_KEY_FILE"
	size := c.Journal.BodyBytes
	s.inRange("JOURNAL_BODY", size <= kept.MaxBody)
	switch {
	case !s.fine("JOURNAL_BODY"):
		return
	case size > c.MaxBody && s.fine("MAX_BODY"):
		s.warn("JOURNAL_BODY", "is above %sMAX_BODY=%s, which comes first", s.prefix, s.effective("MAX_BODY").value)
	}
	if size > 0 && s.journalKeys == nil && !s.bad[globalPrefix+keyFile] {
		s.fail("JOURNAL_BODY", "what is kept is sealed; want %s%s with it", globalPrefix, keyFile)
	}
	if size == 0 && c.BackendIdempotent {
		s.warn("BACKEND_IDEMPOTENT", "has no effect: with %sJOURNAL_BODY=off nothing is kept that could be sent again", s.prefix)
	}
}

// checkKeyUsed warns of a key that nothing needs. What was kept before can still be
// opened with it.
func (l *loader) checkKeyUsed(bulkheads []supervisor.BulkheadConfig) {
	keeps := func(b supervisor.BulkheadConfig) bool { return b.Journal.BodyBytes > 0 }
	if l.journalKeys != nil && !slices.ContainsFunc(bulkheads, keeps) {
		l.global().warn("JOURNAL_KEY_FILE", "seals nothing: no bulkhead has JOURNAL_BODY")
	}
}
