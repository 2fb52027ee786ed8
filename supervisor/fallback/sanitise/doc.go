// Package sanitise takes out of an answer what is somebody's, before anything of it
// touches a disk, and refuses what still looks like it.
//
// # Rules
//
// Rules are one jq program. It is given the body, decoded, and the name of the file
// that the answer is for as $file, and has to give the body that is kept: exactly
// one value. It reads no file, no environment and no other input, and may compute
// for RunTime. The sure way is to build the answer from the members that are known
// to be harmless; to delete the others forgets the one that is added next year.
// Members are kept sorted by name, numbers as they were written.
//
// A program is jq as github.com/itchyny/gojq has it, in Go, with no process to
// start; this package is its one home. Lines that begin with #: speak to this
// package, and are comments to jq:
//
//	#:allow token .results[].partner_sku
//	#:text robots.answer
//
// The first lets stand what a detector takes for something else at that place. A
// place is a path of the body that is kept, where [] is any element and .* any
// member; file, pattern or field:NAME; or text for a body that is not JSON. The
// second lets that answer have such a body, which the program is given as one
// string. Without it only JSON is kept.
//
// # Detectors
//
// The detectors look at what the rules left: keys, values and numbers, header
// fields, the pattern and the name of the file. They look through percent encoding,
// HTML entities, \u escapes, base64, hexadecimal digits and look-alike characters,
// also one within another.
//
//   - email: an address, also as "name (at) host (dot) example"
//   - phone: an international or national number, grouped or not
//   - card: 13 to 19 digits that pass the Luhn check (ISO/IEC 7812-1, annex B)
//   - token: a key of a known kind, a scheme with credentials, a value under a name
//     such as password, and random looking words of 16 characters and more
//   - jwt: JSON Web Tokens (RFC 7519), and a header or payload of one
//   - request: what the request was made for or with: a user's name where the
//     pattern has {}, a credential
//
// They are a net under the rules and not a proof. A person's name, an address, a
// secret of less than 16 characters or one that is split over two members looks
// like nothing. A finding tells where and which detector, never the value: paths
// have "key 3" in place of a key that was found to be somebody's.
//
// Rules are safe for concurrent use.
package sanitise
