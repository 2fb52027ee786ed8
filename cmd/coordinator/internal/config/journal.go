package config

import (
	"fmt"
	"strings"
	"time"

	"commerce.example/coordinator/supervisor"
	"commerce.example/coordinator/supervisor/journal"
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
		Query: b.JournalQuery == "on", Headers: b.JournalHeaders.list,
	}
}

// checkJournal warns of what comes to nothing, and of what may keep secrets.
func (s *scope) checkJournal(c supervisor.RecordConfig) {
	if !s.fine("JOURNAL", "JOURNAL_SYNC", "JOURNAL_HEADERS", "JOURNAL_QUERY") {
		return
	}
	for _, key := range []string{"JOURNAL_SYNC", "JOURNAL_HEADERS", "JOURNAL_QUERY"} {
		if c.Scope == supervisor.JournalOff && s.isSet(key) {
			s.warn(key, "has no effect: %sJOURNAL is off", s.prefix)
		}
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
	if s.fine("JOURNAL_SEGMENT") && !between(g.JournalSegment, leastSegment, 1<<30) {
		s.fail("JOURNAL_SEGMENT", "want 1MiB to 1GiB")
	}
	if s.fine("JOURNAL_SEGMENT_AGE") && !between(g.JournalSegmentAge, span(time.Minute), span(7*24*time.Hour)) {
		s.fail("JOURNAL_SEGMENT_AGE", "want a duration from 1m to 168h")
	}
	if s.fine("JOURNAL_SEGMENT", "JOURNAL_TOTAL") && g.JournalTotal < 2*g.JournalSegment {
		s.fail("JOURNAL_TOTAL", "has no room for two of COORDINATOR_JOURNAL_SEGMENT=%s; want at least that", s.effective("JOURNAL_SEGMENT").value)
	}
}
