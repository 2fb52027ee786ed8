package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/config"
	"commerce.example/coordinator/cmd/coordinator/internal/load"
)

// loadCommand is coordinator load.
type loadCommand struct {
	asJSON
	URL      string        `arg:"" name:"url" help:"What to ask for: http, on a loopback address. {n} is the number of the request."`
	Rate     float64       `help:"Requests per second, sent on time whatever the answers do; 0: each connection sends when it has its answer."`
	For      time.Duration `default:"10s" help:"How long requests fall due, up to 1h."`
	Count    int           `placeholder:"N" help:"At most N requests."`
	Conns    int           `default:"64" help:"Connections, up to 10000."`
	NewConns float64       `placeholder:"SHARE" help:"Share of requests, 0 to 1, that dial a connection of their own."`
	Poisson  bool          `help:"Gaps as independent users leave them, not equal ones."`
	Seed     uint64        `help:"Begins all that is random; the same seed gives the same gaps. By default 0."`
	Timeout  time.Duration `default:"10s" help:"How long a request waits for a connection, and again for its answer."`
	Method   string        `short:"X" default:"GET" help:"The method."`
	Header   []string      `short:"H" sep:"none" placeholder:"NAME:VALUE" help:"A field of the request; may be repeated."`
	Body     string        `xor:"body" placeholder:"TEXT" help:"The body."`
	BodySize config.Size   `xor:"body" placeholder:"SIZE" help:"A body of so many bytes, such as 16KiB, up to 64MiB."`
}

func (c *loadCommand) Help() string {
	return "Speaks HTTP/1.1 without TLS, to this machine alone. With --rate the loop is open: a request that has to wait for " +
		"a connection counts from the time it was due, so a stall shows in the percentiles. Without it the loop is closed: " +
		"that finds the highest rate, and its latencies say little about users. Exits with 1 when no answer came."
}

const (
	maxLoadBody = 64 << 20
	maxLoadCopy = 1 << 30 // each connection has its own copy of the request
)

// Validate is called by kong before Run.
func (c *loadCommand) Validate() error {
	size := max(int64(c.BodySize), int64(len(c.Body)))
	switch {
	case !(c.Rate >= 0 && c.Rate <= load.MaxRate): // so written that NaN fails
		return fmt.Errorf("--rate=%v: want 0 to %d requests per second", c.Rate, load.MaxRate)
	case c.For <= 0 || c.For > load.MaxFor:
		return fmt.Errorf("--for=%s: want a duration above 0 and up to 1h", c.For)
	case c.Count < 0 || c.Count > load.MaxCount:
		return fmt.Errorf("--count=%d: want a whole number up to %d, 0 for no limit", c.Count, load.MaxCount)
	case c.Conns < 1 || c.Conns > load.MaxConns:
		return fmt.Errorf("--conns=%d: want a whole number from 1 to %d", c.Conns, load.MaxConns)
	case !(c.NewConns >= 0 && c.NewConns <= 1):
		return fmt.Errorf("--new-conns=%v: want a share from 0 to 1, such as 0.1", c.NewConns)
	case c.Timeout <= 0 || c.Timeout > load.MaxFor:
		return fmt.Errorf("--timeout=%s: want a duration above 0 and up to 1h", c.Timeout)
	case size > maxLoadBody:
		return errors.New("--body-size: want at most 64MiB")
	case size*int64(c.Conns) > maxLoadCopy:
		return fmt.Errorf("--body-size: %d bytes on %d connections are over 1GiB; want fewer of either", size, c.Conns)
	}
	return nil
}

func (c *loadCommand) Run(t *terminal) error {
	options, err := c.options()
	if err != nil {
		return err
	}
	ctx, restore := interruptible()
	defer restore()
	result, err := load.Run(ctx, options)
	if err != nil {
		return usageError(strings.TrimPrefix(err.Error(), "load: "))
	}
	if c.JSON {
		err = writeJSON(t.stdout, newLoadReport(options, result))
	} else {
		_, err = fmt.Fprint(t.stdout, loadAccount(options, result, t.colour()))
	}
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return errors.New("interrupted: the figures are of the time until then")
	case result.Done == 0:
		return exitCode(exitFailed)
	}
	return nil
}

func (c *loadCommand) options() (load.Options, error) {
	header := http.Header{}
	for _, field := range c.Header {
		name, value, found := strings.Cut(field, ":")
		if !found {
			return load.Options{}, usageError("--header: want NAME:VALUE") // the text may be a secret
		}
		header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	body := []byte(c.Body)
	if c.BodySize > 0 {
		body = bytes.Repeat([]byte{'x'}, int(c.BodySize))
	}
	return load.Options{
		Target: load.Target{Method: cmp.Or(c.Method, http.MethodGet), URL: c.URL, Header: header, Body: body},
		Rate:   c.Rate, Poisson: c.Poisson, Seed: c.Seed, For: c.For, Count: c.Count, Conns: c.Conns,
		Timeout: c.Timeout, NewConnShare: c.NewConns,
	}, nil
}
