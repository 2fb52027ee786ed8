package supervisor

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"commerce.example/coordinator/supervisor/framing"
)

// refusalWithin bounds the writing of a refusal, to a client that may not have
// read the answers before it.
const refusalWithin = time.Second

var refuseHead = &Refusal{ReasonBadRequest, http.StatusRequestHeaderFieldsTooLarge, "The head of the request is larger than the coordinator takes."}

// Write implements net.Conn. Before a request is accepted whatever is written is
// a refusal by the server itself.
func (c *guardedConn) Write(p []byte) (int, error) {
	if c.accepted.Load() || c.guard.Aside() {
		return c.Conn.Write(p)
	}
	status, plain := plainRefusal(p)
	if !plain {
		return c.Conn.Write(p)
	}
	fault, inBody := c.guard.Fault()
	if c.refused || inBody && c.handled == c.guard.Heads() {
		return len(p), nil // the request has its answer; this is about the rest of its body
	}
	problem := &Problem{Reason: ReasonBadRequest, Status: status}
	switch {
	case status == refuseHead.Status:
		problem.Detail = refuseHead.Detail
	case fault != 0 && !inBody && c.last():
		problem.Detail = fault.Error()
		if fault == framing.Expectation {
			problem.Status = http.StatusExpectationFailed
		}
	}
	if err := c.refuse(problem); err != nil {
		return 0, err
	}
	return len(p), nil
}

// ownFields are how net/http goes on behind the status line of a refusal. The
// answers of handlers have a Date before these fields.
const ownFields = "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"

// plainRefusal reports whether net/http refuses a request in its own words.
func plainRefusal(p []byte) (status int, ok bool) {
	const version = "HTTP/1.1 "
	line, _, _ := bytes.Cut(p, []byte("\r\n"))
	if !bytes.HasPrefix(line, []byte(version)) || len(line) < len(version)+3 || !bytes.HasPrefix(p[len(line):], []byte(ownFields)) {
		return 0, false
	}
	status, err := strconv.Atoi(string(line[len(version) : len(version)+3]))
	return status, err == nil && status >= 400
}

// last reports whether the request that the server is at is the one that the
// guard saw last: pipelined ones may have been read ahead.
func (c *guardedConn) last() bool {
	seen := c.guard.Heads()
	if fault, inBody := c.guard.Fault(); c.guard.InHead() || fault != 0 && !inBody {
		seen++
	}
	return seen == c.handled+1
}

// refuse answers in the server's place.
func (c *guardedConn) refuse(p *Problem) error {
	c.refused = true
	c.rude.Store(true)
	method := http.MethodGet
	if c.guard.HEAD() && c.last() {
		method = http.MethodHead
	}
	return c.guards.refuse(c.Conn, method, p)
}

// refuse writes a problem to a connection that no handler has, and counts it as
// other refusals are. The connection is to be closed then.
func (g *guards) refuse(nc net.Conn, method string, p *Problem) error {
	begun := time.Now()
	p.Outcome, p.RequestID = OutcomeRefused, g.ids.next()
	a := rawAnswer{header: http.Header{
		"Connection": connectionClose,
		"Date":       {begun.UTC().Format(http.TimeFormat)},
	}}
	p.ServeHTTP(&a, &http.Request{Method: method})
	_ = nc.SetWriteDeadline(begun.Add(refusalWithin))
	_, err := nc.Write(a.bytes.Bytes())

	m := g.stats.metrics
	m.request(a.status, OutcomeRefused).Inc()
	m.refused[reasonIndex[p.Reason]].Inc()
	m.duration.Observe(time.Since(begun).Seconds())
	g.tell(nc.RemoteAddr().String(), p.RequestID, a.status, p.Reason, begun)
	g.log.Debug("front", "error", "request refused: "+p.Detail, "reason", string(p.Reason), "status", a.status,
		"request_id", p.RequestID, "client", nc.RemoteAddr().String())
	return err
}

// rawAnswer is an http.ResponseWriter that makes the bytes of an HTTP/1.1 answer.
type rawAnswer struct {
	header http.Header
	status int
	bytes  bytes.Buffer
}

func (a *rawAnswer) Header() http.Header { return a.header }

func (a *rawAnswer) WriteHeader(status int) {
	a.status = status
	fmt.Fprintf(&a.bytes, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	_ = a.header.Write(&a.bytes) // a bytes.Buffer takes all
	a.bytes.WriteString("\r\n")
}

func (a *rawAnswer) Write(p []byte) (int, error) { return a.bytes.Write(p) }
