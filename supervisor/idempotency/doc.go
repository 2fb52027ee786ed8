// Package idempotency remembers the first answers of one bulkhead's backend to
// unsafe requests that carry an Idempotency-Key, so that a client may repeat such
// a request without its work being done twice
// (draft-ietf-httpapi-idempotency-key-header-07).
//
// # The promise
//
// A key that may have reached the backend is not sent again within MaxAge: not
// when its client left, not when the memory is full, not after a restart. All else
// gives way to that. What a repeat gets is, in this order of preference, the first
// answer unchanged, or the outcome that is known of it, or a refusal.
//
// # Whose key
//
// A key belongs to the credentials that it came with (Settings.Scope): the same
// key with others is another key. In memory, and in the journal, is an
// HMAC-SHA-256 of both, cut to 128 bits (RFC 2104 section 5), and neither in clear.
// Its secret comes from the caller, for it has to be the same after a restart.
// Requests without credentials share one space of keys, in which only the entropy
// of a key, and the fingerprint, keep strangers apart (section 5 of the draft).
//
// To scope keys to all of Cookie is safe for answers and unsafe for payments: a
// cookie of some statistics that changes between two attempts makes the second
// another client's. Name the cookie of the session, as Cookie:NAME. The same holds
// for a token that is renewed between two attempts: who wants these to meet has to
// scope by a field that stays.
//
// # The same request
//
// Method, host, target, Content-Type, Content-Encoding and the bytes of the body:
// the same, or it is a Mismatch. No body is ever buffered for that. The first
// request's is hashed while it goes to its worker; what is compared later is what
// went. A repeat is never sent, so its body is read only to be hashed, and only
// as far as the first one's went and a byte beyond. Where the backend answered
// before it had read all, what it had not read is not compared. A form that a
// browser encodes anew has a new boundary, and is a different request.
//
// While the first is in progress only the heads can be compared. Nor can the body
// be where the repeat itself may be sent (Settings.BackendIdempotent). After a
// restart there is nothing to compare with, and nothing to give either.
//
// # The answer
//
// Unchanged, with Set-Cookie, Date and trailers: it goes to whom it was for, who
// may never have seen it, and a session that it opens is the one that the client
// was promised. Errors as well: whether work was done is not to be read off a 500.
// Only statuses of Settings.Undone give the key back.
//
// # What the bulkhead does
//
//   - Begin before the breaker and the queue: a repeat needs no backend. For a
//     repeat it reads the body, which the caller bounds in size and time.
//   - First: give Claim.Body to the worker in the place of the request's body, put
//     Ruling.Digest into the journal's intent, and call Claim.Done at the end of the
//     call, always (deferred), with its outcome; as undelivered already when the
//     answer is whole, and then Delivered if that comes true. From Begin on the key is
//     taken.
//   - Claim.Record when the head of the answer has come, Write with each piece as
//     it comes, before it goes to the client.
//   - A client that leaves does not end an exchange whose request may have reached
//     the backend: as long as Claim.Wants, wait for the answer and read it to its end, with
//     the deadlines that it had, and hold the slot, since the backend is at work.
//     The outcome is then undelivered, and the repeat gets the answer. Who ends the
//     exchange instead has sent_unknown, and the repeat a 409: safe, and no help.
//   - Repeat: the answer, with the X-Request-Id of the repeat. InProgress and Known:
//     409 idempotency_conflict; with Known the outcome of the first in the problem.
//     Mismatch: 422. Malformed: 400. Full: 503 with Retry-After. Unread: what is
//     wrong with the body.
//   - At start, before the first request: Restore for each entry of the journal
//     that ended within MaxAge, and for each that is open, as sent_unknown and of
//     now, for it may have been sent after its intent. While an earlier generation
//     still drains, it must not begin any more. Where the journal cannot be read:
//     Blind.
//
// # Bounds
//
// Bytes bounds the answers, kept and being recorded, with their fields; Keys bounds
// how many keys are remembered, of about 220 bytes each. For answers without room
// the oldest go, and their keys stay, as Known. Keys do not give way: a new one for
// which there is no room is refused (Full), since one that is forgotten would be
// one that is paid twice. Keys has to be above the rate of requests with keys times
// MaxAge. Keys in progress are never evicted; there are as many as requests.
//
// Expired keys are freed by whoever calls next. There is no goroutine and nothing
// to close.
package idempotency
