// Package kept keeps whole requests on disk, sealed, for as long as it may be
// right to send them again.
//
// # What is on disk
//
// A file a request, in a folder of mode 0700, of mode 0600 itself, whose name is 32
// random hexadecimal digits. The journal's record has the name; the file says
// nothing of whose it is. Files of their own, because most requests are done a
// moment later: then theirs is removed, which a line in a log could not be.
//
//	1 byte    version, 1
//	8 bytes   id of the key: HMAC-SHA-256 of a constant under it, cut
//	12 bytes  nonce, random
//	the rest  AES-256-GCM of the request, with its tag
//
// All of the request is sealed: target with query, header fields with credentials,
// trailer, body. Version, key id and request id are authenticated with it, so no
// file can be given out for another's. Each file has a key of its own, derived from
// the one of the key file and the random name (HKDF, RFC 5869): what NIST SP
// 800-38D section 8.3 allows of one key with random nonces, 2^32 messages, is used
// up by no file.
//
// # Keys
//
// The first key of the file seals, all of them open: to rotate, put a new one first,
// and take the old one out when nothing that it sealed is left.
//
// # Bounds
//
// The folder holds at most so many bytes as its Store was opened with, a file
// counted as whole blocks of 4 KiB. Near that the oldest go; at it nothing more is
// kept until there is room, which is the caller's to say of the request and no
// reason to refuse it. A file that is damaged or was cut by a crash does not open.
package kept
