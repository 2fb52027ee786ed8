// Package backup holds answers that were prepared and reviewed: a folder for each
// bulkhead, one file an answer, plain enough to be read in a pull request.
//
// # The folder
//
// NAME.answer is an answer. requests and sanitise.jq belong to coordinator
// snapshot, which makes the answers; README, README.md and whatever begins with a
// dot are passed over (the mounts of Kubernetes have such). Anything else is a
// mistake: a name with a typing error must not mean an answer that is missing.
//
// # An answer
//
//	GET /api/v2/orders/?username={}&[page=1]&[page_size={}]
//	made 2026-11-21T05:20:00Z
//	status 200
//	Content-Type: application/json
//
//	{
//	  "count": 0,
//
// The head is the requests that it answers, when the backend gave it (RFC 3339),
// the status, and the fields; an empty line ends it. Lines end with LF alone. The
// body of a JSON answer (application/json, or a type that ends with +json) is
// indented on disk and served without white space; its numbers and strings are
// served as they are written. Any other body is UTF-8 text, served byte for byte.
//
// Not kept, and a mistake in a file, are the fields of one connection, of one
// moment or of one person: Connection and its like, Date, Age, Set-Cookie. So are
// those that describe bytes which sanitising has changed: Content-Length,
// Content-Encoding, ETag, Last-Modified and digests.
//
// # Patterns
//
// A path is compared segment by segment: {name} is one that is not empty,
// {name...} at the end is all the rest, also none. A name is for the reader and
// may be left out. Of the query
//
//   - name=value must be there, once, with that value;
//   - name={} must be there, once, with any value;
//   - [name=value] and [name={}] may also be absent;
//   - {...} lets the request have any other parameters, which it else must not.
//
// Patterns are percent-decoded after they are taken apart, requests as well, so
// %7B is a brace and not a wildcard. Names and values of a query are decoded as
// forms are, + being a space. The order of parameters does not matter.
//
// Of the answers that match a request the most specific is given: the one whose
// requests are all answered by the others too. Two patterns that share a request
// and of which neither is the more specific are a mistake, as in net/http.ServeMux.
//
// Only GET is written; HEAD is answered from it, and no other method is.
//
// # Who owns what
//
// A Set never changes and is safe for concurrent use; so are the answers that it
// gives. Reading it again is loading another. Write replaces one file in one step:
// who loads meanwhile reads the old or the new one.
package backup
