// Package journal keeps, on disk, what became of each request that matters: an
// intent before it leaves for a worker, a close when its outcome is known. From
// it the question "did it ever reach you" is answered after any crash.
//
// # What is on disk
//
// A folder of segments, journal-SEQ-START.jsonl, mode 0600. A segment is JSON
// lines; the last member of each is a CRC-32C of all bytes before it, so that jq
// and log shippers read them and no damaged line is taken for a record. Records
// of requests are of kind intent and close. A close repeats all that the intent
// said: one line is enough for the story, and the loss of one costs no other.
// The rest are marks of the coordinator itself: start and stop of a run, continue
// at the head of each further segment, alive when nothing else happened for ten
// seconds, dropped and unavailable for what is missing, scope for what is
// recorded at all. From the marks the reader knows when the journal is complete.
//
// Clients choose request ids, and repeat them. A record is therefore known by its
// entry, RUN.NUMBER, which no two requests share; a run is one Open.
//
// A request may be kept beside the journal, sealed, to be sent again (package kept):
// its record has the name of the file, for as long as it has to be. A replay is a
// request of its own, whose record names the first; its intent is the proof that the
// first was sent again.
//
// # Who writes
//
// A segment is written by the one Journal that made it, which holds its lock by a
// descriptor for as long as it writes, and until it has the lock of the next, and
// never by anyone after. So during an
// upgrade, when two processes write for a while, each has segments of its own; the
// reader merges them by entry; and a lock that is free is the proof that the
// writer is gone.
//
// Of several goroutines one has the pen. With Process it is a caller of Begin that
// finds nobody writing: it writes its own line, and with it all that waits, which
// spares both a change of goroutines and a write for each close. Who comes meanwhile
// waits for the next write, that of the same caller or of the journal's goroutine,
// which also turns segments, comes back after a failure, and writes closes that no
// intent takes along within 2 ms. With Always it does all writing: one write(2) and
// one fdatasync(2) serve all that came while the one before was under way (group
// commit). A disk that hangs keeps the one who writes, and all others only for
// Options.Patience.
//
// A Journal has one Sync. Who needs both opens two in one folder: each has segments
// of its own, as two processes have, and no fdatasync of the one holds up the other.
//
// # What a failed write means
//
// The kernel may mark pages clean that it failed to write, and report the next
// fsync as a success. So a segment whose write or fsync failed is abandoned: never
// written and never synced again. The next one begins with every intent that is
// still open, and its head says how many bytes of the abandoned one count; what
// stands beyond is repeated in the new one, and the reader passes over it. Only when
// the new one fails too is the journal unavailable: Begin refuses, and a new
// segment is tried after a while. Closes wait in memory, one an entry, so they are
// not lost.
//
// # After a crash
//
// Open closes what runs that are dead left open (by: recovery). An intent is
// written before the request leaves for the worker, so alone it proves that the
// request may have been sent, and nothing more: sent_unknown. What could prove
// never_sent is the stage board, on which a worker notes that it is about to send
// before it does. It is anonymous memory today and dies with the supervisor; kept
// in a file, named in the intent, and fenced by whoever recovers, it would be
// evidence, for which Options.Prove is the place. Recovery is idempotent, and only
// writes down what the reader concludes anyway.
//
// # Reading
//
// A Reader works on the folder alone, beside running writers or on a copy, with
// bounded memory, one segment after the other.
package journal
