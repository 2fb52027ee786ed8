package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/config"
)

// supervised is the flags of every command that talks to a supervisor.
type supervised struct {
	envFile
	asJSON
	Socket string `placeholder:"PATH" help:"Talk to the supervisor at this unix socket."`
}

// A patience is how long to wait for a supervisor.
type patience time.Duration

func (p *patience) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if err != nil || d <= 0 || d > time.Hour {
		return fmt.Errorf("%q: want a duration above 0 and up to 1h, such as 1500ms, 30s or 5m", text)
	}
	*p = patience(d)
	return nil
}

// A usageError is a mistake in the command line that only a supervisor can see.
type usageError string

func (e usageError) Error() string { return string(e) }

// A client asks one supervisor.
type client struct {
	socket string
	http   *http.Client
}

func (s *supervised) connect(t *terminal) (*client, error) {
	socket := s.Socket
	if socket == "" {
		var err error
		if socket, err = config.AdminSocket(t.environ, string(s.EnvFile)); err != nil {
			return nil, err
		}
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	return &client{socket, &http.Client{
		Transport:     &http.Transport{DialContext: dial, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// A refusal is problem details: the supervisor did not begin.
type refusal struct {
	Type, Detail string
	Status       int
	Known        []string
}

func (r *refusal) Error() string { return "the supervisor refused: " + printable(r.Detail) }

// get asks for something that is there.
func (c *client) get(path string, wait time.Duration, into any) error {
	return c.ask(context.Background(), http.MethodGet, path, nil, wait, into)
}

// change asks for a change. The supervisor is told to give up after wait, and
// has a moment more to report how far it came.
func (c *client) change(path string, body any, wait time.Duration, into any) error {
	return c.ask(context.Background(), http.MethodPost, path, body, wait, into)
}

// ask sends one request and fills into from the answer. When ctx ends, it is left.
func (c *client) ask(ctx context.Context, method, path string, body any, wait time.Duration, into any) error {
	patient := wait
	if method == http.MethodPost {
		patient += 2 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	request, err := newRequest(ctx, method, path, body)
	if err != nil {
		return err
	}
	if method == http.MethodPost { // RFC 7240 section 4.3, whole seconds
		request.Header.Set("Prefer", "wait="+strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
	}
	response, err := c.http.Do(request)
	if err != nil {
		return c.explain(err, method, patient)
	}
	defer response.Body.Close()
	const most = 16 << 20
	text, err := io.ReadAll(io.LimitReader(response.Body, most))
	if err != nil {
		return c.explain(err, method, patient)
	}
	switch response.Header.Get("Content-Type") {
	case "application/json":
		if json.Unmarshal(text, into) == nil {
			return nil
		}
	case "application/problem+json":
		refused := new(refusal)
		if json.Unmarshal(text, refused) == nil {
			return refused
		}
	}
	return fmt.Errorf("what listens at %s does not answer as a coordinator: want its admin socket", c.socket)
}

func newRequest(ctx context.Context, method, path string, body any) (*http.Request, error) {
	var text io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		text = bytes.NewReader(b)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, text)
	if err != nil {
		return nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	return request, nil
}

// explain says what to do about a supervisor that gave no answer.
func (c *client) explain(err error, method string, patient time.Duration) error {
	failed, ok := errors.AsType[*net.OpError](err)
	connected := ok && failed.Op != "dial"
	switch {
	case errors.Is(err, context.DeadlineExceeded) && method == http.MethodPost:
		return fmt.Errorf("no answer from %s in %s: what was begun may still be done; coordinator status shows how far it is", c.socket, patient)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer from %s in %s: --timeout waits longer", c.socket, patient)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no supervisor listens at %s: is it running, and with the same --env-file or environment? --socket names another", c.socket)
	case errors.Is(err, syscall.ECONNREFUSED):
		if info, err := os.Stat(c.socket); err == nil && info.Mode().Type() != fs.ModeSocket {
			return fmt.Errorf("%s is no socket: want the admin socket of a supervisor", c.socket)
		}
		return fmt.Errorf("no supervisor listens at %s: the one that made this socket is gone, and the next one replaces it", c.socket)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: permission denied: be the user that the supervisor runs as", c.socket)
	case errors.Is(err, syscall.EINVAL):
		return fmt.Errorf("%s cannot be the path of a socket: want at most 100 bytes", c.socket)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), connected:
		return fmt.Errorf("the supervisor at %s closed the connection before it had answered: is it stopping?", c.socket)
	}
	return fmt.Errorf("the supervisor at %s: %w", c.socket, err)
}
