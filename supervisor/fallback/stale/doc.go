// Package stale remembers the last good answers of one bulkhead's backend, in
// memory, to be given when the backend cannot answer: stale-if-error of RFC 5861
// section 4. It is no cache: it is asked only after a failure, and whether an
// answer may stand in is the caller's decision.
//
// # What is kept
//
// Whole answers to GET without a body, of status 200, 203, 204, 300, 301, 308,
// 404 or 410, as RFC 9111 allows a shared cache. HEAD is served from GET's. Each
// answer that is not kept has a reason, Why, so that a backend whose fields make
// all this silently useless can be seen.
//
//   - no-store, in the request or the answer, and "Vary: *": never kept. With
//     must-understand beside it an answer's no-store is ignored, since every kept
//     status is understood (RFC 9111 section 5.2.2.3).
//   - no-cache: never kept, for it could never be given without the backend.
//   - must-revalidate, proxy-revalidate and s-maxage, which implies it (section
//     5.2.2.10): given while fresh and not a moment longer (section 4.2.4), also
//     where stale-if-error stands beside them.
//   - stale-if-error=N: not given when stale for more than N seconds. In a request
//     it limits what that request gets.
//   - no-cache="..." and private="...", and all that Connection names: the answer
//     is kept without these fields. Date, Age, Set-Cookie and the like, Clear-Site-Data,
//     X-Request-Id and what belongs to a connection or to one exchange are left
//     out always.
//   - A request's max-age, min-fresh, max-stale and no-cache ask that the backend
//     be asked first. It was, so they change nothing; a browser's reload sends
//     such, and is what shall be answered.
//   - 304 to a client that had the answer renews the one kept under the same
//     validator (section 4.3.4).
//
// Freshness is that of section 4.2.1, with a tenth of the time since
// Last-Modified where nothing is said (section 4.2.2). Age is that of section
// 4.2.3, without the response delay: it is not known here, and it counts only
// behind another cache. A backend whose Date is behind this machine's clock by
// more than MaxAge has nothing kept, and WhyTooOld says so.
//
// # Whose answers
//
// What is asked for is the target, the Host, and what a trusted proxy says about
// scheme, host, port and prefix of the URL that its client has.
//
// This is stricter than RFC 9111. A request that carries a credential (see
// Credential) has its answer kept only if Settings.PerCredential lists that
// field, whatever Cache-Control says (RFC 9111 section 3.5 would let public
// answers cross). Then the place of the answer holds an HMAC-SHA-256 of the
// listed fields under a random key that never leaves the Store; two requests meet
// only if all listed fields are equal byte for byte. A request without any never
// finds an answer of one that has some, nor the other way round. What is private
// and was asked for without credentials belongs to nobody who could be
// recognised, and is not kept.
//
// An answer with Set-Cookie, or with a field that gives out a token, to a request without credentials begins a session,
// and its body may belong to it (a form's token does). It is kept only if it says
// public, and without the cookie. To a request with listed credentials the cookie
// commonly renews the session that the request named: kept, without the cookie.
//
// Which cookies matter, PerCredential says: for a field that it lists, Vary adds
// nothing, since the digest distinguishes already. The rest of a Cookie field with a
// cookie that is listed is taken to be without effect on the answer, also under
// "Vary: Cookie"; in one without such a cookie all of it counts then.
//
// # What ends it
//
// An entry ends with MaxAge, with a successful unsafe request to its URL or to one
// that its answer names in Location or Content-Location (section 4.4), with a
// newer answer, kept or forbidden to be kept, and with one that says that the
// client has lost its access: 401, 403, 451, and redirects that are not permanent,
// which is how pages send to their login. Answers to what was sent before an unsafe
// request ended are not kept, as they may be from before. Failures (5xx,
// 429) end nothing.
//
// # Bounds
//
// Bytes bounds all that is kept and all that is being recorded, with fields, keys
// and a measured allowance for maps and structs; the garbage between two runs of
// the collector comes on top, as for any heap, and so does an answer that has ended
// for as long as somebody still reads it. What the backend gave longest ago
// goes first. That order is also that of age, so one list does for both, and
// nothing moves while a backend is down and only reads are left. A recording
// costs nothing as long as the answer is the one kept already, byte for byte.
//
// Expired entries are freed by whoever calls next. There is no goroutine and
// nothing to close.
package stale
