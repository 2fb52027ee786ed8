package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/config"
	"commerce.example/coordinator/cmd/coordinator/internal/snapshot"
	"commerce.example/coordinator/supervisor"
)

// snapshotCommand is coordinator snapshot.
type snapshotCommand struct {
	supervised
	Bulkhead   string   `arg:"" help:"Its name."`
	Dir        string   `placeholder:"DIR" help:"The folder of its backup data; else where the configuration has it."`
	URL        string   `name:"url" placeholder:"URL" help:"Ask this service, such as http://127.0.0.1:8080, and not the coordinator that runs."`
	Header     []string `short:"H" sep:"none" placeholder:"NAME:VALUE" help:"A field of every request; may be repeated. Others on this machine can see it: see --header-file."`
	HeaderFile string   `placeholder:"FILE" help:"Fields of every request, one on each line: credentials."`
	DryRun     bool     `xor:"mode" help:"Write nothing."`
	Verify     bool     `xor:"mode" help:"Write nothing, and compare the shape of what is stored with what is answered now."`
	Timeout    patience `default:"30s" help:"How long one answer may take."`
}

func (c *snapshotCommand) Help() string {
	return "Makes or refreshes the answers that stand in for a backend. In the folder, the file requests says what to ask, and " +
		"sanitise.jq what to keep of an answer; what then still looks like an e-mail address, a telephone or card number or a token is " +
		"refused and not written. Exits with 1 when anything was refused, failed or, with --verify, has drifted."
}

func (c *snapshotCommand) Run(t *terminal) error {
	ctx, restore := interruptible()
	defer restore()
	options, err := c.options(t)
	if err != nil {
		return err
	}
	defer options.Client.CloseIdleConnections()
	rows, err := snapshot.Run(ctx, options)
	if err != nil {
		return err
	}
	if c.JSON {
		err = writeJSON(t.stdout, snapshotReport{c.Bulkhead, options.Dir, c.DryRun, c.Verify, rows})
	} else {
		err = writeSnapshot(t, options.Dir, c.DryRun || c.Verify, rows)
	}
	if err == nil && slices.ContainsFunc(rows, func(r snapshot.Row) bool { return !r.OK() }) {
		return exitCode(exitFailed)
	}
	return err
}

// options needs no configuration where the flags say all: data whose mistakes keep
// the configuration from being valid can be made anew.
func (c *snapshotCommand) options(t *terminal) (o snapshot.Options, err error) {
	o = snapshot.Options{Dir: c.Dir, Timeout: time.Duration(c.Timeout), DryRun: c.DryRun, Verify: c.Verify}
	if o.Header, err = c.fields(); err != nil {
		return o, err
	}
	var found supervisor.Config
	if c.Dir == "" || c.URL == "" {
		var b supervisor.BulkheadConfig
		if found, b, err = c.configured(t); err != nil {
			return o, err
		}
		o.Dir = cmp.Or(c.Dir, b.Fallback.BackupDir)
	}
	transport := &http.Transport{DisableCompression: true}
	o.Client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if c.URL != "" {
		o.Base, err = url.Parse(c.URL)
		if err != nil || o.Base.Scheme != "http" && o.Base.Scheme != "https" || o.Base.Host == "" || strings.Trim(o.Base.Path, "/") != "" || o.Base.User != nil {
			return o, usageError("--url: want http or https, a host and no path, such as http://127.0.0.1:8080")
		}
		return o, nil
	}
	o.Base, err = c.front(t, found, transport)
	return o, err
}

// configured is the configuration, and of it the bulkhead.
func (c *snapshotCommand) configured(t *terminal) (supervisor.Config, supervisor.BulkheadConfig, error) {
	found, err := config.Load(t.environ, string(c.EnvFile))
	if err != nil {
		return supervisor.Config{}, supervisor.BulkheadConfig{}, err
	}
	var known []string
	for _, b := range found.Supervisor.Bulkheads {
		if b.Name == c.Bulkhead {
			return found.Supervisor, b, nil
		}
		known = append(known, b.Name)
	}
	return supervisor.Config{}, supervisor.BulkheadConfig{}, unknownBulkhead(c.Bulkhead, known)
}

// front is the address of the coordinator that runs, which transport can reach.
func (c *snapshotCommand) front(t *terminal, found supervisor.Config, transport *http.Transport) (*url.URL, error) {
	asked, err := c.connect(t)
	if err != nil {
		return nil, err
	}
	var status supervisor.Status
	if err := asked.get("/v1/status", time.Duration(c.Timeout), &status); err != nil {
		return nil, err
	}
	if len(status.Listen) == 0 {
		return nil, errors.New("the supervisor listens nowhere: --url names what to ask")
	}
	base := &url.URL{Scheme: "http", Host: "localhost"}
	network, address := reachable(status.Listen[0])
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	if network == "tcp" {
		base.Host = address
	}
	if found.TLSCert != "" {
		base.Scheme = "https"
		transport.TLSClientConfig, err = trusting(found.TLSCert)
	}
	return base, err
}

// reachable is where a listener at addr can be dialled from this machine.
func reachable(addr string) (network, address string) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || strings.HasPrefix(addr, "/") || strings.HasPrefix(addr, "@") {
		return "unix", addr
	}
	if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		host = "localhost"
	}
	return "tcp", net.JoinHostPort(host, port)
}

// trusting takes exactly the certificate that the coordinator is configured with,
// whatever name it is for: it is asked on its own machine.
func trusting(path string) (*tls.Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: no certificate in it: --url names what to ask", path)
	}
	return &tls.Config{
		InsecureSkipVerify: true, // the name is not looked at; the certificate is, below
		VerifyConnection: func(state tls.ConnectionState) error {
			_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
			return err
		},
	}, nil
}

// fields is those of --header and --header-file.
func (c *snapshotCommand) fields() (http.Header, error) {
	header := http.Header{}
	for _, field := range c.Header {
		if !addField(header, field) {
			return nil, usageError("--header: want NAME:VALUE") // the text may be a secret
		}
	}
	if c.HeaderFile == "" {
		return header, nil
	}
	text, err := os.ReadFile(c.HeaderFile)
	if err != nil {
		return nil, usageError(fmt.Sprintf("--header-file=%s: %s; want a file with NAME:VALUE on each line", c.HeaderFile, fileCause(err)))
	}
	for i, line := range strings.Split(string(text), "\n") {
		if strings.TrimSpace(line) != "" && !addField(header, line) {
			return nil, usageError(fmt.Sprintf("--header-file=%s: line %d: want NAME:VALUE", c.HeaderFile, i+1))
		}
	}
	return header, nil
}

// addField reports whether field, as NAME:VALUE, could be added.
func addField(header http.Header, field string) bool {
	name, value, found := strings.Cut(field, ":")
	if name = strings.TrimSpace(name); !found || name == "" {
		return false
	}
	header.Add(name, strings.TrimSpace(value))
	return true
}

// A snapshotReport is what snapshot --json prints.
type snapshotReport struct {
	Bulkhead string         `json:"bulkhead"`
	Dir      string         `json:"dir"`
	DryRun   bool           `json:"dry_run"`
	Verify   bool           `json:"verify"`
	Answers  []snapshot.Row `json:"answers"`
}

var snapshotMoods = map[snapshot.Result]mood{
	snapshot.Refused: alarm, snapshot.Failed: alarm, snapshot.Drifted: alarm,
	snapshot.New: watch, snapshot.Changed: watch,
}

func writeSnapshot(t *terminal, dir string, dry bool, rows []snapshot.Row) error {
	s := &sheet{colour: t.colour()}
	all := table{columns: []column{{"ANSWER", false}, {"RESULT", false}, {"BYTES", true}}}
	bad := 0
	for _, r := range rows {
		if !r.OK() {
			bad++
		}
		line := row{cells: []cell{{printable(r.File), calm}, {string(r.Result), snapshotMoods[r.Result]}, {fmt.Sprint(r.Bytes), calm}}}
		line.notes = append(line.notes, note{label: "for", text: printable(r.Pattern), whole: true})
		for _, why := range r.Why {
			line.notes = append(line.notes, note{label: "why", text: printable(why), mood: snapshotMoods[r.Result]})
		}
		all.rows = append(all.rows, line)
	}
	all.write(s)
	s.WriteString(counted(int64(len(rows)), "answer"))
	if bad > 0 {
		fmt.Fprintf(s, ", %d of them not as they should be", bad)
	}
	if dry {
		s.WriteString("; nothing was written")
	}
	fmt.Fprintf(s, "; in %s\n", printable(dir))
	_, err := t.stdout.Write([]byte(s.String()))
	return err
}
