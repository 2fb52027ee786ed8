// Package accesslog writes one line of JSON for a request, for the log pipeline
// that operators have. It tells what happened in the words of the journal, and it
// is no journal: nothing waits for it, and what its sink cannot take is dropped
// and counted.
//
// # A line
//
// A line is one object of at most [MaxLineBytes], newline included. Its members
// come in this order, and what is empty or zero is left out, except status,
// bytes_in, bytes_out and duration_ms:
//
//	time         when the request came, RFC 3339 in UTC
//	request_id   X-Request-Id
//	trace_id     of its trace, 32 hexadecimal digits
//	client       a word for the client, as the journal has it; never its address; none of what journal replay sent
//	method       as it was sent
//	host         without user and password
//	path         of the URL, without the query
//	proto        HTTP/1.1, HTTP/2.0
//	bulkhead     that it was routed to
//	slot         of the last worker that had it; left out when attempts is 0
//	attempts     how many workers were given it
//	status       what the client was told; 499: nothing, it had left
//	reason       why it was refused or failed
//	outcome      how far the work got
//	fallback     what answered in the backend's place: stale, backup; replay: the first answer to its key
//	bytes_in     of the body that was read
//	bytes_out    of the body that was written; problem details are not counted
//	duration_ms  from its routing to its record
//	queue_ms     of that: waiting for a slot
//	backend_ms   of that: from the hand-over to its last worker to the head of the answer
//	sample       this line stands for so many requests like it; left out when 1
//
// There is no member for header fields or queries: no cookie, credential or token
// that they hold has a way into the log. What a text cannot hold (a longer path, a byte that is not UTF-8)
// is cut with an ellipsis or replaced; a line is valid JSON whatever was sent.
//
// # Who owns what
//
// [Log.Add] encodes into a pooled buffer and copies the line to what is pending,
// of at most [PendingBytes]. One goroutine writes that: [FlushEvery] after the
// first line, or when half of the place is used. It alone touches the sink, so
// a sink that blocks delays nobody. After [Log.Close] lines are dropped and
// counted.
//
// Two processes may append to one file, as during an upgrade: lines are written
// whole, in one write each block; to anything but a regular file in blocks that
// a pipe takes in one piece (pipe(7): PIPE_BUF).
package accesslog
