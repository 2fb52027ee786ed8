//go:build linux

package main_test

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/demo"
)

const consoleToken = "an-operators-secret"

// hostileOwner is markup, and a runbook that is a script.
const hostileOwner = `<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>`

// TestE2EConsole is the console of real supervisors in a real browser.
func TestE2EConsole(t *testing.T) {
	beside(t)
	b := openBrowser(t)
	t.Run("failure", func(t *testing.T) { testConsoleFailure(t, b) })
	t.Run("restart", func(t *testing.T) { testConsoleRestart(t, b) })
	t.Run("actions", func(t *testing.T) { testConsoleActions(t, b) })
	t.Run("narrow", func(t *testing.T) { testConsoleNarrow(t, b) })
	t.Run("hundred", func(t *testing.T) { testConsoleHundred(t, b) })
}

// glance is a tab with the console of a site.
type glance struct {
	*page
	origin string
}

// violations is what the browser refused the page, and what the page did wrong.
const violations = `window.wrong = [];
document.addEventListener("securitypolicyviolation", e => wrong.push(e.violatedDirective + " " + e.blockedURI));
window.addEventListener("error", e => wrong.push(e.message));
window.addEventListener("unhandledrejection", e => wrong.push(String(e.reason)));`

// console opens it at the root of the admin listener. When the test is over, the
// page must have asked nobody else and broken no policy.
func (b *browser) console(t *testing.T, s *site) glance {
	t.Helper()
	st, err := s.tryStatus()
	if err != nil || st.Console == "" {
		t.Fatalf("no console: %v", err)
	}
	g := glance{b.open(t, strings.TrimSuffix(st.Console, "/console/")), strings.TrimSuffix(st.Console, "/console/")}
	g.before(violations)
	g.reload()
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		var wrong, asked []string
		g.call(&wrong, "(() => window.wrong)")
		g.call(&asked, `(() => performance.getEntriesByType("resource").map(e => e.name))`)
		if len(wrong) > 0 {
			t.Errorf("the page: %q", wrong)
		}
		for _, url := range asked {
			if !strings.HasPrefix(url, g.origin+"/") {
				t.Errorf("the page asked for %s", url)
			}
		}
	})
	return g
}

// seen is what a person sees of the console.
type seen struct {
	Link    string
	Summary string
	Cards   map[string]string // what is said of each bulkhead, by name
	Order   []string
	Title   string
	Badges  string
	Dialog  string // what it says while it is open
	Focus   string // text, id or tag of what has it
	Wide    bool   // it has to be scrolled sideways
	Said    string // to a screen reader
	Outcome string // of an action that did not end well, as far as it can be seen
	Text    string
	Hacked  bool
}

const lookAtConsole = `(() => {
	const text = q => document.querySelector(q)?.innerText ?? "";
	const cards = [...document.querySelectorAll(".card")], name = c => c.querySelector("h2").textContent, f = document.activeElement;
	return {
		Link: document.getElementById("link")?.dataset.state ?? "", Summary: text("#summary"), Title: text("h1"), Badges: text(".title .badges"),
		Cards: Object.fromEntries(cards.map(c => [name(c), c.querySelector(".badges").textContent])), Order: cards.map(name),
		Dialog: document.querySelector("dialog")?.open ? text("dialog") : "", Focus: f?.id || f?.textContent.slice(0, 30) || f?.tagName || "",
		Wide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
		Said: document.getElementById("said")?.textContent ?? "", Outcome: text("#outcome"), Text: document.body.innerText, Hacked: Boolean(window.hacked),
	};
})`

// until waits until the console shows what is wanted.
func (g glance) until(what string, ok func(s seen) bool) (s seen) {
	g.t.Helper()
	deadline := time.Now().Add(pageTime)
	for {
		s = seen{}
		g.call(&s, lookAtConsole)
		if ok(s) {
			return s
		}
		if time.Now().After(deadline) {
			g.t.Fatalf("waited %v for: %s; there is %+v", pageTime, what, s)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// focus moves the focus by Tab until it is on what has that text or id.
func (g glance) focus(on string) {
	g.t.Helper()
	for range 40 {
		g.press("\t")
		var s seen
		if g.call(&s, lookAtConsole); s.Focus == on {
			return
		}
	}
	g.t.Fatalf("no Tab leads to %q", on)
}

// A backend that fails is on the page within a second, and its sibling is as it was.
func testConsoleFailure(t *testing.T, b *browser) {
	s, orders, _ := shop(t, "COORDINATOR_ADMIN_LISTEN=127.0.0.1:0",
		"BULKHEAD_ORDERS_OWNER="+hostileOwner, "BULKHEAD_ORDERS_RUNBOOK=javascript:window.hacked=1", "BULKHEAD_CATALOG_RUNBOOK=https://runbooks.example/catalog")
	s.generate(ordersPath, 50, time.Minute)
	s.generate(catalogPath, 50, time.Minute)
	g := b.console(t, s)
	g.until("both are ready and busy", func(v seen) bool {
		return v.Link == "live" && v.Cards["orders"] == "ready" && v.Cards["catalog"] == "ready" && strings.Contains(v.Text, "/s")
	})
	fault(t, orders, demo.Down)
	begun := time.Now()
	v := g.until("orders fails", func(v seen) bool { return v.Cards["orders"] != "ready" })
	took := time.Since(begun)
	t.Logf("shown after %v: %q", took, v.Cards["orders"])
	if took > time.Second {
		t.Errorf("the failure was shown after %v, want 1 s at most", took)
	}
	g.until("its breaker is open", func(v seen) bool {
		return strings.Contains(v.Cards["orders"], "breaker") && v.Cards["catalog"] == "ready" &&
			v.Order[0] == "orders" && strings.Contains(v.Said, "orders: breaker") && strings.Contains(v.Summary, "1 needs a look")
	})

	// What its configuration says of it is text.
	g.navigate(g.origin + "/console/#/bulkheads/orders")
	v = g.until("the page of orders", func(v seen) bool {
		return v.Title == "orders" && strings.Contains(v.Text, "breaker open") && strings.Contains(v.Text, "backend_refused") && strings.Contains(v.Text, "Slow log")
	})
	var links, images int
	g.call(&links, `(() => document.querySelectorAll(".people a").length)`)
	g.call(&images, `(() => document.querySelectorAll("main img, main script").length)`)
	if v.Hacked || links+images > 0 || !strings.Contains(v.Text, hostileOwner) {
		t.Errorf("hacked: %v, %d links, %d elements, in %s", v.Hacked, links, images, v.Text)
	}
	fault(t, orders, demo.Up)
	g.navigate(g.origin + "/console/#/bulkheads/catalog")
	g.until("the page of catalog", func(v seen) bool { return v.Title == "catalog" && strings.Contains(v.Text, "https://runbooks") })
	var rel string
	g.call(&rel, `(() => document.querySelector(".people a").rel)`)
	if !strings.Contains(rel, "noopener") {
		t.Errorf("the runbook is a link with rel %q", rel)
	}
	g.navigate(g.origin + "/console/")
	g.until("orders has recovered", func(v seen) bool {
		return !strings.Contains(v.Cards["orders"], "breaker") && v.Cards["catalog"] == "ready"
	})
}

// The page outlives the supervisor, and shows the next one by itself.
func testConsoleRestart(t *testing.T, b *browser) {
	s, _, _ := shop(t, "COORDINATOR_ADMIN_LISTEN="+reserved(t))
	g := b.console(t, s)
	pid := s.cmd.Process.Pid
	g.until("the first supervisor", func(v seen) bool { return v.Link == "live" && strings.Contains(v.Text, fmt.Sprint("pid ", pid)) })
	s.signal(syscall.SIGKILL)
	s.exit(10 * time.Second)
	g.until("nobody answers", func(v seen) bool {
		return v.Link == "lost" && strings.Contains(v.Text, "connection lost") && len(v.Cards) == 2
	})
	s.start()
	g.until("the second supervisor", func(v seen) bool {
		return v.Link == "live" && strings.Contains(v.Text, fmt.Sprint("pid ", s.cmd.Process.Pid)) && v.Cards["orders"] == "ready"
	})
}

// What is done there is what the commands do, by keyboard alone, and nothing is
// done without the token or a yes.
func testConsoleActions(t *testing.T, b *browser) {
	s, _, _ := shop(t, "COORDINATOR_ADMIN_LISTEN=127.0.0.1:0", "COORDINATOR_ADMIN_TOKEN="+consoleToken)
	g := b.console(t, s)
	g.until("both are ready", func(v seen) bool { return v.Cards["orders"] == "ready" && v.Cards["catalog"] == "ready" })
	g.focus("orders")
	g.press("\r")
	g.until("the page of orders", func(v seen) bool { return v.Title == "orders" && strings.Contains(v.Text, "Slots and queue") })

	before := s.pids("orders")
	g.focus("Restart")
	g.press("\r")
	g.until("a question", func(v seen) bool {
		return strings.Contains(v.Dialog, "Restart the workers of orders?") && strings.Contains(v.Dialog, "2 workers will be replaced") && v.Focus == "token"
	})
	g.press("\u001b")
	g.until("no question", func(v seen) bool { return v.Dialog == "" && v.Focus == "Restart" })
	g.press("\r")
	g.until("the question again", func(v seen) bool { return v.Focus == "token" })
	g.press("wrong\r")
	g.until("a refusal", func(v seen) bool { return strings.Contains(v.Dialog, "COORDINATOR_ADMIN_TOKEN.") && v.Focus == "token" })
	if now := s.pids("orders"); !slices.Equal(now, before) {
		t.Errorf("workers %v became %v without the token", before, now)
	}
	g.press("\u001b")
	g.until("what failed, seen and read out", func(v seen) bool {
		return v.Dialog == "" && strings.HasPrefix(v.Outcome, "restart of orders failed: ") && g.seenAndRead("outcome")
	})
	g.press("\r")
	g.until("the question once more", func(v seen) bool { return v.Focus == "token" && v.Outcome == "" })
	g.press(consoleToken + "\r")
	g.until("what was done", func(v seen) bool { return strings.Contains(v.Dialog, "replaced 2 workers.") && v.Focus == "Close" })
	g.press("\r")
	g.until("it is among the transitions", func(v seen) bool { return v.Dialog == "" && strings.Contains(v.Text, "restart: replaced 2 workers") })
	if now := s.pids("orders"); slices.Contains(now, before[0]) || slices.Contains(now, before[1]) {
		t.Errorf("workers %v became %v", before, now)
	}

	// The token is remembered for the tab.
	g.focus("Breaker")
	g.press("\r")
	g.until("a question about the breaker", func(v seen) bool { return strings.Contains(v.Dialog, "mode auto") && v.Focus == "Cancel" })
	g.call(nil, `(() => { const c = document.getElementById("choice"); c.value = "open"; c.dispatchEvent(new Event("change")); })`)
	g.until("what open means", func(v seen) bool { return strings.Contains(v.Dialog, "refused as breaker_open") })
	g.focus("Set")
	g.press("\r")
	g.until("the breaker is forced open", func(v seen) bool { return strings.Contains(v.Dialog, "closed -> forced_open") && v.Focus == "Close" })
	if got := s.bulkhead("orders").Breaker.State; got != "forced_open" {
		t.Errorf("the breaker is %s", got)
	}
	g.press("\r")
	g.until("it says so", func(v seen) bool { return strings.Contains(v.Badges, "breaker forced open") })
	s.must("breaker", "orders", "auto") // and sees what others do
	g.until("it is closed", func(v seen) bool { return v.Badges == "✓ ready" || v.Badges == "ready" })

	for _, step := range []struct{ button, says, badge string }{{"Drain", "drained, 0 requests", "draining"}, {"Resume", "takes requests again", "ready"}} {
		g.focus(step.button)
		g.press("\r")
		g.until("a question", func(v seen) bool { return v.Dialog != "" && v.Focus == "Cancel" })
		g.focus(step.button)
		g.press("\r")
		g.until(step.says, func(v seen) bool { return strings.Contains(v.Dialog, step.says) && v.Focus == "Close" })
		g.press("\r")
		g.until(step.badge, func(v seen) bool { return v.Dialog == "" && strings.Contains(v.Badges, step.badge) })
	}

	// A drill is played, and ends with its dialog.
	g.focus("Drill")
	g.press("\r")
	g.until("a question", func(v seen) bool { return strings.Contains(v.Dialog, "Cause a fault in orders?") })
	g.focus("Drill")
	g.press("\r")
	eventually(t, 15*time.Second, "the drill plays", func() bool { return s.bulkhead("orders").Drill != "" })
	g.press("\u001b")
	g.until("what was given up, seen and read out", func(v seen) bool {
		return v.Outcome == "No longer waiting for drill of orders: the fault ends." && g.seenAndRead("outcome")
	})
	eventually(t, 30*time.Second, "the drill is over", func() bool { return s.bulkhead("orders").Drill == "" })
	g.navigate(g.origin + "/console/")
	g.until("another page", func(v seen) bool { return v.Title == "Bulkheads" && v.Outcome == "" })
}

// seenAndRead reports whether an element is large enough to be read and is a live
// region.
func (g glance) seenAndRead(id string) (yes bool) {
	g.t.Helper()
	g.call(&yes, `(id => {
		const e = document.getElementById(id), box = e.getBoundingClientRect();
		return e.role === "status" && box.width > 100 && box.height > 10 && e.checkVisibility({visibilityProperty: true, opacityProperty: true});
	})`, id)
	return yes
}

// 320 pixels are enough for all of it, in either theme.
func testConsoleNarrow(t *testing.T, b *browser) {
	long := strings.Repeat("long", 8)
	s, _, _ := shop(t, "COORDINATOR_ADMIN_LISTEN=127.0.0.1:0", "BULKHEAD_ORDERS_OWNER="+long+long+long, "BULKHEAD_ORDERS_RUNBOOK=https://runbooks.example/"+long)
	s.generate(ordersPath, 20, time.Minute)
	g := b.console(t, s)
	g.resize(320, 640)
	for _, scheme := range []string{"light", "dark"} {
		g.prefer("prefers-color-scheme", scheme)
		for path, title := range map[string]string{"": "Bulkheads", "#/bulkheads/orders": "orders", "#/bulkheads/none": "none"} {
			g.navigate(g.origin + "/console/" + path)
			if v := g.until(title, func(v seen) bool { return v.Title == title && v.Link == "live" }); v.Wide {
				t.Errorf("%s, %s is wider than 320 pixels", scheme, title)
			}
		}
		for text, ratio := range contrasts(g) {
			if ratio < 4.5 { // WCAG 2.2, 1.4.3 (AA)
				t.Errorf("%s: %s has a contrast of %.2f", scheme, text, ratio)
			}
		}
	}
}

// contrasts are those of the colours of text on what they stand on.
func contrasts(g glance) (by map[string]float64) {
	g.t.Helper()
	g.call(&by, `(() => {
		const style = getComputedStyle(document.documentElement), channel = c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
		const light = name => {
			const hex = style.getPropertyValue("--" + name).trim(), part = i => channel(parseInt(hex.slice(i, i + 2), 16) / 255);
			return 0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5);
		};
		const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
		const pairs = [["ok", "ok-back"], ["warn", "warn-back"], ["bad", "bad-back"], ["surface", "accent"], ["surface", "bad"]];
		for (const on of ["surface", "back"]) for (const text of ["ink", "muted", "accent", "bad"]) pairs.push([text, on]);
		return Object.fromEntries(pairs.map(([a, b]) => [a + " on " + b, ratio(a, b)]));
	})`)
	if len(by) == 0 {
		g.t.Fatal("no colours")
	}
	return by
}

// smoothness is how the page's frames came while it was watched.
type smoothness struct {
	Frames        int
	P95, Max      float64 // ms between two
	Long, Longest float64 // ms in tasks of more than 50 ms, in all and the longest
}

const watchFrames = `(ms => new Promise(done => {
	const gaps = [];
	let long = 0, longest = 0, last = performance.now();
	const watch = new PerformanceObserver(list => list.getEntries().forEach(e => { long += e.duration; longest = Math.max(longest, e.duration); }));
	watch.observe({type: "longtask"});
	const end = last + ms;
	requestAnimationFrame(function frame(now) {
		gaps.push(now - last);
		last = now;
		if (now < end) return requestAnimationFrame(frame);
		watch.disconnect();
		gaps.sort((a, b) => a - b);
		done({Frames: gaps.length, P95: gaps[Math.floor(gaps.length * 0.95)], Max: gaps[gaps.length - 1], Long: long, Longest: longest});
	});
}))`

// A hundred bulkheads that all have traffic keep no frame waiting for long. They
// have no workers, which is what the requests fail of: the page's work is the same.
func testConsoleHundred(t *testing.T, b *browser) {
	const many = 100
	backup := t.TempDir()
	const answer = "GET /prepared\nmade 2026-11-21T05:20:00Z\nstatus 200\nContent-Type: text/plain\n\nprepared\n"
	if err := os.WriteFile(backup+"/prepared.answer", []byte(answer), 0o600); err != nil {
		t.Fatal(err)
	}
	var names []string
	settings := []string{"COORDINATOR_ADMIN_LISTEN=127.0.0.1:0", "COORDINATOR_LOG_LEVEL=warn"}
	for i := range many {
		name := fmt.Sprintf("b%02d", i)
		prefix := fmt.Sprintf("BULKHEAD_B%02d_", i)
		names = append(names, name)
		settings = append(settings, prefix+"ROUTES=/"+name+"/", prefix+"FALLBACK=backup", prefix+"FALLBACK_MODE=always", prefix+"BACKUP_DIR="+backup)
	}
	s := runSite(t, append(settings, "COORDINATOR_BULKHEADS="+strings.Join(names, ","))...)
	g := b.console(t, s)
	g.resize(1280, 800)
	g.until("all are there", func(v seen) bool { return len(v.Cards) == many })

	stop, stopped := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop); <-stopped })
	go func() {
		defer close(stopped)
		client := &http.Client{Timeout: 5 * time.Second}
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
			if answer, err := client.Get(fmt.Sprintf("%s/b%02d/", s.url, i%many)); err == nil {
				answer.Body.Close()
			}
		}
	}()
	g.until("all are busy", func(v seen) bool {
		return len(v.Cards) == many && !slices.Contains(slices.Collect(maps.Values(v.Cards)), "ready")
	})
	var f smoothness
	const watched = 6 * time.Second
	g.call(&f, watchFrames, watched.Milliseconds())
	t.Logf("%+v", f)
	if f.P95 > 100 || f.Longest > 300 || f.Long > float64(watched.Milliseconds())/5 {
		t.Errorf("with %d bulkheads: %+v", many, f)
	}
}
