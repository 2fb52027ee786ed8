//go:build linux

package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	devtools "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// What a page on another origin can see is for a browser to say: the rules of
// fetch are its rules. TestE2EBrowser asks a real one, Chromium, over its
// DevTools protocol. github.com/chromedp/chromedp has its one home in this file.
func TestE2EBrowser(t *testing.T) {
	b := openBrowser(t)
	t.Run("cors", func(t *testing.T) { testBrowserCORS(t, b) })
	t.Run("http", func(t *testing.T) { testBrowserStreams(t, b, "http") })
	t.Run("https", func(t *testing.T) { testBrowserStreams(t, b, "https") })
}

// pageTime bounds whatever a page is asked to do.
const pageTime = 10 * time.Second

// chromium is the path of a browser. A developer may do without one, CI not.
func chromium(t *testing.T) string {
	t.Helper()
	names := []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	say := t.Skipf
	if os.Getenv("CI") == "true" {
		say = t.Fatalf
	}
	say("no browser in PATH: none of %s (Debian: apt-get install chromium)", strings.Join(names, ", "))
	return ""
}

// browser is a headless Chromium that knows nobody but 127.0.0.1, keeps what it
// writes in a directory of the test, and ends with it, all its processes.
type browser struct{ ctx context.Context }

func openBrowser(t *testing.T) *browser {
	t.Helper()
	path := chromium(t)
	home, err := os.MkdirTemp("", "browser")
	if err != nil {
		t.Fatal(err)
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.UserDataDir(filepath.Join(home, "profile")),
		chromedp.NoInheritEnv, chromedp.Env("PATH="+os.Getenv("PATH"), "HOME="+home, "TMPDIR="+home),
		chromedp.Headless, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.IgnoreCertErrors, // certificates are of the test's own making
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
	}
	for _, flag := range []string{
		"no-proxy-server", "disable-background-networking", "disable-component-update", "disable-sync", "disable-default-apps",
		"disable-extensions", "disable-breakpad", "disable-crash-reporter", "disable-dev-shm-usage", "metrics-recording-only",
		"disable-background-timer-throttling", "disable-renderer-backgrounding",
	} {
		options = append(options, chromedp.Flag(flag, true))
	}
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox) // it refuses to run otherwise
	}
	var process *exec.Cmd
	options = append(options, chromedp.ModifyCmdFunc(func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		cmd.WaitDelay = pageTime
		process = cmd
	}))
	parent, stop := context.WithTimeout(context.Background(), 2*time.Minute)
	allocator, end := chromedp.NewExecAllocator(parent, options...)
	ctx, leave := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		stop() // kills
		leave()
		end() // waits for the process
		if process != nil && process.Process != nil {
			eventually(t, pageTime, "no process of the browser is left", func() bool { return groupGone(process.Process.Pid) })
		}
		_ = os.RemoveAll(home)
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("%s did not start: %v", path, err)
	}
	return &browser{ctx}
}

// groupGone reports whether no process of a group runs; a zombie does not.
func groupGone(group int) bool {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	return !slices.ContainsFunc(stats, func(name string) bool {
		text, err := os.ReadFile(name)
		if err != nil {
			return false
		}
		var state string
		var parent, of int
		_, _ = fmt.Sscan(string(text[strings.LastIndexByte(string(text), ')')+1:]), &state, &parent, &of)
		return of == group && state != "Z" && state != "X"
	})
}

// document is what a page has: the ways to ask that pages have, and what it can
// tell of the answer.
const document = `<!doctype html><title>page</title><link rel="icon" href="data:,"><script>
async function ask(url, options) {
	const seen = {};
	try {
		const answer = await fetch(url, options);
		seen.status = answer.status;
		seen.header = Object.fromEntries(answer.headers);
		seen.body = await answer.text();
	} catch (e) {
		seen.error = e.name;
	}
	return seen;
}

function upload(url, size) {
	return ask(url, {method: "POST", credentials: "include", body: "b".repeat(size)});
}

let pending, stop;
function begin(url) {
	stop = new AbortController();
	pending = ask(url, {signal: stop.signal, credentials: "include"});
}
function abort() { stop.abort(); return pending; }

const arrived = [], awaited = [];
function arrive(what) { awaited.length ? awaited.shift()(what) : arrived.push(what); }
function next() { return arrived.length ? arrived.shift() : new Promise(resolve => awaited.push(resolve)); }

function listen(url) {
	const events = new EventSource(url, {withCredentials: true});
	events.onmessage = e => arrive(e.data);
	events.onerror = () => { events.close(); arrive("end"); };
}

let socket;
function converse(url) {
	socket = new WebSocket(url);
	socket.onopen = () => arrive("open");
	socket.onmessage = e => arrive(e.data);
	socket.onclose = e => arrive("closed " + e.code);
}
function say(word) { socket.send(word); }

function protocol(url) { return performance.getEntriesByName(url)[0].nextHopProtocol; }
</script>`

// serveDocument serves pages of one more origin.
func serveDocument(t *testing.T, scheme string) (origin string) {
	t.Helper()
	start := httptest.NewServer
	if scheme == "https" {
		start = httptest.NewTLSServer
	}
	srv := start(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, document)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// page is a tab of a browser, with a document of an origin.
type page struct {
	t   *testing.T
	ctx context.Context

	mu    sync.Mutex
	heads []arrival
}

// arrival is an answer as the browser had it from the network, whatever the page
// may see of it.
type arrival struct {
	url       string
	preflight bool
	status    int
	header    http.Header
	protocol  string
	conn      float64 // number of its connection
}

func (b *browser) open(t *testing.T, origin string) *page {
	t.Helper()
	ctx, end := chromedp.NewContext(b.ctx)
	t.Cleanup(end)
	p := &page{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, p.note); err != nil { // makes the tab, which lasts as long as ctx
		t.Fatal(err)
	}
	within, stop := context.WithTimeout(ctx, pageTime)
	defer stop()
	if _, err := chromedp.Call(within, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(within, chromedp.Navigate(origin+"/")); err != nil {
		t.Fatal(err)
	}
	return p
}

// do has the browser do something with the tab.
func (p *page) do(a chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, stop := context.WithTimeout(p.ctx, pageTime)
	defer stop()
	if err := chromedp.Do(ctx, a); err != nil {
		p.t.Fatal(err)
	}
}

func (p *page) navigate(url string) { p.t.Helper(); p.do(chromedp.Navigate(url)) }
func (p *page) reload()             { p.t.Helper(); p.do(chromedp.Reload()) }
func (p *page) back()               { p.t.Helper(); p.do(chromedp.NavigateBack()) }

// resize gives the tab another size, in pixels of CSS.
func (p *page) resize(width, height int64) {
	p.t.Helper()
	ctx, stop := context.WithTimeout(p.ctx, pageTime)
	defer stop()
	size := emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1}
	if _, err := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, size); err != nil {
		p.t.Fatal(err)
	}
}

// press sends keys as a keyboard does.
func (p *page) press(keys string) { p.t.Helper(); p.do(chromedp.KeyEvent(keys)) }

// prefer has the tab tell its pages of another preference of its user, such as
// prefers-color-scheme: dark.
func (p *page) prefer(feature, value string) {
	p.t.Helper()
	ctx, stop := context.WithTimeout(p.ctx, pageTime)
	defer stop()
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: feature, Value: value}}}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, media); err != nil {
		p.t.Fatal(err)
	}
}

// before has a script run in every document of the tab, before its own.
func (p *page) before(script string) {
	p.t.Helper()
	ctx, stop := context.WithTimeout(p.ctx, pageTime)
	defer stop()
	if _, err := chromedp.Call(ctx, devtools.AddScriptToEvaluateOnNewDocument, devtools.AddScriptToEvaluateOnNewDocumentParams{Source: script}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *page) note(event any) {
	e, ok := event.(*network.EventResponseReceived)
	if !ok {
		return
	}
	a := arrival{
		url: e.Response.URL, preflight: e.Type == network.ResourceTypePreflight, status: int(e.Response.Status),
		header: make(http.Header), protocol: e.Response.Protocol, conn: e.Response.ConnectionID,
	}
	for name, value := range e.Response.Headers {
		a.header.Set(name, fmt.Sprint(value))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heads = append(p.heads, a)
}

// arrived waits for the answer to a request of the page, or to the preflight of
// one.
func (p *page) arrived(url string, preflight bool) (a arrival) {
	p.t.Helper()
	eventually(p.t, pageTime, fmt.Sprintf("an answer from %s, preflight: %v", url, preflight), func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		i := slices.IndexFunc(p.heads, func(a arrival) bool { return a.url == url && a.preflight == preflight })
		if i >= 0 {
			a = p.heads[i]
		}
		return i >= 0
	})
	return a
}

// call has a function of the document called, and waits for what it promises.
func (p *page) call(result any, function string, arguments ...any) {
	p.t.Helper()
	text, err := json.Marshal(append([]any{}, arguments...)) // none: [], not null
	if err != nil {
		p.t.Fatal(err)
	}
	call := fmt.Sprintf("%s(...%s)", function, text)
	ctx, stop := context.WithTimeout(p.ctx, pageTime)
	defer stop()
	text, err = chromedp.Run(ctx, chromedp.Evaluate[[]byte](call, chromedp.EvalAwaitPromise))
	if err == nil && result != nil {
		err = json.Unmarshal(text, result)
	}
	if err != nil {
		p.t.Fatalf("%.200s: %v", call, err)
	}
}

// sight is what a page could see of an answer.
type sight struct {
	Status int
	Header map[string]string
	Body   string
	Error  string // name of what was thrown; "TypeError" is fetch's word for any network failure
}

// blank is what a page sees that may see nothing.
func (s sight) blank() bool {
	return s.Status == 0 && s.Header == nil && s.Body == "" && s.Error == "TypeError"
}

// get is a request that needs no permission.
func (p *page) get(url string) (s sight) {
	p.t.Helper()
	p.call(&s, "ask", url, map[string]any{"credentials": "include"})
	return s
}

// put is a request that a preflight has to ask permission for.
func (p *page) put(url, body string) (s sight) {
	p.t.Helper()
	p.call(&s, "ask", url, map[string]any{
		"method": "PUT", "credentials": "include", "body": body,
		"headers": map[string]string{"Content-Type": "application/json", "X-Csrftoken": "token"},
	})
	return s
}

// next waits for what arrives at the page: an event, a message, their end.
func (p *page) next() (what string) {
	p.t.Helper()
	p.call(&what, "next")
	return what
}
