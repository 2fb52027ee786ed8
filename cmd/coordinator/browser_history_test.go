//go:build linux

package main_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/demo"
)

// TestE2EOrderHistoryPage is the page of the demo in a real browser: first before a
// front that says whatever the test has it say, then before the demo itself.
func TestE2EOrderHistoryPage(t *testing.T) {
	beside(t)
	b := openBrowser(t)
	t.Run("answers", func(t *testing.T) { testHistoryAnswers(t, b) })
	t.Run("fields", func(t *testing.T) { testHistoryFields(t, b) })
	t.Run("demo", func(t *testing.T) { testHistoryDemo(t, b) })
	t.Run("cold", func(t *testing.T) { testHistoryCold(t, b) })
}

// history is a tab with the page.
type history struct{ *page }

func (b *browser) history(t *testing.T, origin string) history {
	t.Helper()
	h := history{b.open(t, origin)}
	h.navigate(origin + demo.PagePath)
	return h
}

// shown is what a person sees of the page.
type shown struct {
	Busy     string   // "false" once it has settled
	Banner   string   // what is said of answers in the backend's place
	Kind     string   // of these
	Problem  string   // why there is nothing
	Progress string   // what is there
	Where    string   // which page of how many
	Orders   []string // their numbers
	Buttons  []string // that can be pressed
	Focus    string   // id of the element that has it
	Wide     bool     // it has to be scrolled sideways
	Text     string   // all of it
}

const look = `(() => {
	const text = id => document.getElementById(id)?.textContent ?? "";
	const visible = e => e.checkVisibility();
	return {
		Busy: document.getElementById("history")?.getAttribute("aria-busy") ?? "", Banner: text("banner"),
		Kind: document.querySelector("#banner p")?.dataset.kind ?? "", Problem: text("problem"), Progress: text("progress"),
		Where: [...document.querySelectorAll("#where")].filter(visible).map(e => e.textContent).join(""),
		Orders: [...document.querySelectorAll("#orders h3")].map(e => e.textContent.replace("Order ", "")),
		Buttons: [...document.querySelectorAll("button:enabled")].filter(visible).map(e => e.textContent),
		Focus: document.activeElement?.id ?? "",
		Wide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
		Text: document.body.innerText,
	};
})`

// until waits until the page shows what is wanted. It is never blank meanwhile.
func (h history) until(what string, ok func(s shown) bool) (s shown) {
	h.t.Helper()
	deadline := time.Now().Add(pageTime)
	for {
		s = shown{}
		h.call(&s, look)
		if strings.TrimSpace(s.Text) == "" {
			h.t.Fatalf("a blank page, waiting for: %s", what)
		}
		if s.Busy == "false" && ok(s) {
			return s
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("waited %v for: %s; there is %+v", pageTime, what, s)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// press has a button with that text pressed by the keyboard's Enter.
func (h history) press(text string) {
	h.t.Helper()
	const press = `(text => {
		const button = [...document.querySelectorAll("button:enabled")].find(b => b.textContent === text);
		button.focus();
		button.click();
		return document.activeElement === button || document.activeElement.id;
	})`
	h.call(nil, press, text)
}

func (h history) choose(id, value string) {
	h.t.Helper()
	h.call(nil, `((id, value) => {
		const choice = document.getElementById(id);
		choice.value = value;
		choice.dispatchEvent(new Event("change", {bubbles: true}));
	})`, id, value)
}

// scripted is a front with the page, whose order history is what the test says.
type scripted struct {
	srv *httptest.Server

	mu     sync.Mutex
	answer http.HandlerFunc
}

func (s *scripted) say(answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func serveScripted(t *testing.T) *scripted {
	s := &scripted{answer: http.NotFound}
	mux := http.NewServeMux()
	mux.Handle(demo.PagePath, http.StripPrefix(demo.PagePath, http.FileServerFS(os.DirFS("internal/demo/page"))))
	mux.HandleFunc("/orders/order_history/", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		answer := s.answer
		s.mu.Unlock()
		answer(w, r)
	})
	mux.HandleFunc("/{$}", func(http.ResponseWriter, *http.Request) {})
	s.srv = httptest.NewServer(mux)
	t.Cleanup(s.srv.Close)
	return s
}

const oneOrder = `{"number":"TEST-1","date_placed":"2022-11-02T14:03:11Z","currency":"EUR","total_excl_tax":"149.00",
	"lines":[{"title":"<b>Seat</b> & more","quantity":2,"description":"Two of them"}]}`

// gives answers with that status and body; fields are pairs of name and value.
func gives(status int, body string, fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i < len(fields); i += 2 {
			w.Header().Add(fields[i], fields[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// Whatever comes, the page says what it is.
func testHistoryAnswers(t *testing.T, b *browser) {
	front := serveScripted(t)
	const orders = `{"count":7,"next":null,"previous":null,"results":[` + oneOrder + `]}`
	front.say(gives(200, orders))
	h := b.history(t, front.srv.URL)
	type want struct {
		banner, kind, problem, progress string
		orders                          int
	}
	live := want{"", "", "", "Orders 1 to 1 of 7.", 1}
	none := func(problem string) want { return want{problem: problem} }
	stale := func(words string) want { return want{words, "stale", "", "Orders 1 to 1 of 7.", 1} }
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		want   want
	}{
		{"live", gives(200, orders), live},
		{"no orders", gives(200, `{"count":0,"next":null,"previous":null,"results":[]}`), want{"", "", "", "There are no orders yet.", 0}},
		{"live, of somebody's cache", gives(200, orders, "Cache-Status", `ExampleCache; hit; detail=stale`, "Age", "9"), live},
		{"live, of a field that is none", gives(200, orders, "Cache-Status", `coordinator; hit; detail=stale,`), live},
		{"stale", gives(200, orders, "Cache-Status", `coordinator; hit; ttl=-30; detail=stale`, "Age", "250"), stale("as they were 4 minutes ago")},
		{"stale after a failure", gives(200, orders, "Cache-Status", `coordinator; fwd=stale; fwd-status=502; detail=stale`, "Age", "1"), stale("as they were 1 second ago")},
		{"stale behind a cache", gives(200, orders, "Cache-Status", `"Example; ""x"`, "Cache-Status", `Edge; fwd=miss`), live},
		{"stale, next to others", gives(200, orders, "Cache-Status", `coordinator;hit;detail="stale" , Edge; fwd=miss; stored=?0`), stale("as they were some time ago")},
		{"backup", gives(200, orders, "Cache-Status", `coordinator; hit; detail=backup`, "Age", "200000"), want{"prepared data, 2 days old", "backup", "", "Orders 1 to 1 of 7.", 1}},
		{"none", gives(503, `{"type":"urn:coordinator:problem:breaker_open","reason":"breaker_open","detail":"x","retry_safe":true,"request_id":"r-77"}`,
			"Retry-After", "5"), none("cannot be shown right now. No orders are shown; nothing has happened to them.It may work again in about 5 seconds.Try againReason: breaker_open. Request: r-77.")},
		{"HTML from somewhere", gives(502, "<h1>Bad gateway</h1>"), none("cannot be shown right now")},
		{"not his", gives(403, `{"detail":"no"}`), none("not your orders to see")},
		{"no such page", gives(404, `{"detail":"Invalid page."}`), none("no such page of orders")},
		{"not JSON", gives(200, "<!doctype html>"), none("cannot be understood")},
		{"cut", gives(200, orders[:40]), none("cannot be understood")},
		{"null", gives(200, "null"), none("cannot be understood")},
		{"half an order", gives(200, strings.Replace(orders, `"currency":"EUR",`, "", 1)), none("cannot be understood")},
		{"a line of null", gives(200, strings.Replace(orders, `"lines":[`, `"lines":[null,`, 1)), none("cannot be understood")},
		{"nobody there", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, none("cannot be reached")},
		{"live again", gives(200, orders), live},
	} {
		front.say(tc.answer)
		h.reload()
		s := h.until(tc.name, func(shown) bool { return true })
		if !strings.Contains(s.Banner, tc.want.banner) || (s.Banner == "") != (tc.want.banner == "") || s.Kind != tc.want.kind ||
			!strings.Contains(s.Problem, tc.want.problem) || (s.Problem == "") != (tc.want.problem == "") ||
			s.Progress != tc.want.progress || len(s.Orders) != tc.want.orders {
			t.Errorf("%s: the page shows %+v", tc.name, s)
		}
		if again := slices.Contains(s.Buttons, "Try again"); again != (tc.want.banner+tc.want.problem != "") {
			t.Errorf("%s: buttons %q", tc.name, s.Buttons)
		}
	}
	s := h.until("text as text", func(s shown) bool { return len(s.Orders) == 1 })
	for _, words := range []string{"2 × <b>Seat</b> & more", "Two of them", "149.00", "2022", "Page 1 of 2"} {
		if !strings.Contains(s.Text, words) {
			t.Errorf("%q is not in %q", words, s.Text)
		}
	}
}

// The fields of the coordinator are read as RFC 9651 says.
func testHistoryFields(t *testing.T, b *browser) {
	h := b.history(t, serveScripted(t).srv.URL)
	const parse = `(async texts => {
		const {parseList} = await import("/order-history/cache-status.js");
		return texts.map(t => parseList(t).map(m => [m.item, ...m.params].map(v => JSON.stringify(v)).join(" ")));
	})`
	tests := map[string][]string{
		``:            {},
		`coordinator`: {`"coordinator"`},
		` a;b;c=?0;d="x\"\\y" ,` + "\t" + `b;e=-1.5  `: {`"a" ["b",true] ["c",false] ["d","x\"\\y"]`, `"b" ["e",-1.5]`},
		`a;b=:aGk=:;c=@17;*d=t/k:n`:                    {`"a" ["b",":aGk=:"] ["c","@17"] ["*d","t/k:n"]`},
		`"q, uoted";hit`:                               {`"q, uoted" ["hit",true]`},
		`a,`:                                           {}, `a;`: {}, `a;B`: {}, `"a`: {}, `a b`: {}, `a;b=`: {}, `,a`: {}, `a,,b`: {}, `a;b=1.`: {}, "a;b=\"\x7f\"": {}, `a;b=1234567890123456`: {},
	}
	for text, want := range tests {
		var got [][]string
		h.call(&got, parse, []string{text})
		if !reflect.DeepEqual(got[0], want) {
			t.Errorf("%q: %q, want %q", text, got[0], want)
		}
	}
}

// historyStack is the demo, as far as the page needs it.
func historyStack(t *testing.T) *demo.Stack {
	t.Helper()
	stack, err := demo.StartStack(t.Context(), demo.StackOptions{
		Exe: self(t), Listen: reserved(t), AdminListen: reserved(t), Kinds: []demo.Kind{demo.Orders, demo.OrdersVendor, demo.Page},
		Notable: func(line string) {
			if strings.Contains(line, "BACKUP") {
				t.Errorf("logged: %s", line)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stack.Stop(); err != nil {
			t.Error(err)
		}
	})
	return stack
}

// die ends a service as an accident does.
func die(t *testing.T, s *demo.Service) {
	t.Helper()
	if err := s.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.Exited()
}

// testHistoryCold has the legacy service dead before anybody has asked it: the page
// has what was prepared, and for what was not, says so.
func testHistoryCold(t *testing.T, b *browser) {
	stack := historyStack(t)
	die(t, stack.Services[demo.Orders])
	h := b.history(t, stack.URL())
	for _, user := range []string{demo.Username(0), demo.Username(1)} {
		h.choose("user", user)
		h.until("what was prepared, for "+user, func(s shown) bool { return s.prepared() })
	}
	h.navigate(stack.URL() + demo.PagePath + "?page=2")
	none := h.until("that a second page was not", func(s shown) bool { return s.Problem != "" })
	if len(none.Orders) > 0 || none.Banner != "" || !strings.Contains(none.Problem, "No orders are shown; nothing has happened to them.") ||
		!strings.Contains(none.Problem, "Reason: ") || !slices.Contains(none.Buttons, "Try again") {
		t.Errorf("%+v", none)
	}
	h.press("Newer orders")
	h.until("the first page, prepared", func(s shown) bool { return s.prepared() })
	ctx, stop := context.WithTimeout(t.Context(), pageTime)
	defer stop()
	if err := stack.Services[demo.Orders].Restart(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, pageTime, "live orders", func() bool {
		h.reload()
		s := h.until("settled", func(shown) bool { return true })
		return len(s.Orders) == 5 && s.Banner+s.Problem == ""
	})
}

// preparedBanner is what is said of it, with its age.
var preparedBanner = regexp.MustCompile(`This is prepared data, [0-9]+ (second|minute|hour|day)s? old: it may differ from your orders\.`)

// prepared reports whether the page shows the example that is nobody's order, and
// is honest about it.
func (s shown) prepared() bool {
	return s.Kind == "backup" && slices.Equal(s.Orders, []string{"EXAMPLE-1"}) && preparedBanner.MatchString(s.Banner) && s.Problem == "" &&
		strings.Contains(s.Text, "This is an example and not an order")
}

// testHistoryDemo uses the page of the demo as a person would, lets its legacy
// service die, and come back.
func testHistoryDemo(t *testing.T, b *browser) {
	stack := historyStack(t)
	h := b.history(t, stack.URL())

	first := h.until("orders", func(s shown) bool { return len(s.Orders) == 5 })
	if first.Banner+first.Problem != "" || first.Progress != "Orders 1 to 5 of 15." || first.Where != "Page 1 of 3" || !slices.Equal(first.Buttons, []string{"Older orders"}) {
		t.Errorf("%+v", first)
	}
	h.press("Older orders")
	second := h.until("the second page", func(s shown) bool { return s.Where == "Page 2 of 3" })
	if second.Progress != "Orders 6 to 10 of 15." || second.Focus != "heading" || slices.Equal(second.Orders, first.Orders) {
		t.Errorf("%+v", second)
	}
	h.reload()
	h.until("the same after a reload", func(s shown) bool { return s.Where == second.Where && slices.Equal(s.Orders, second.Orders) })
	h.back()
	h.until("the first page again", func(s shown) bool { return slices.Equal(s.Orders, first.Orders) })
	h.choose("source", "vendor")
	h.until("the vendor's, the same", func(s shown) bool { return slices.Equal(s.Orders, first.Orders) && s.Problem == "" })
	h.choose("source", "legacy")
	h.until("legacy orders", func(s shown) bool { return slices.Equal(s.Orders, first.Orders) })

	t.Run("320 pixels", func(t *testing.T) { h.narrow(t) })
	h.outage(t, stack, first)
}

// narrow looks at the page as on a small telephone, and at 400 % zoom.
func (h history) narrow(t *testing.T) {
	h.resize(320, 640)
	if s := h.until("320 pixels", func(s shown) bool { return len(s.Orders) > 0 }); s.Wide {
		t.Error("has to be scrolled sideways")
	}
	var names []string
	h.call(&names, `(() => [...document.querySelectorAll("button, select")].filter(e => e.checkVisibility())
		.filter(e => !(e.labels?.length || e.textContent.trim())).map(e => e.id))`)
	if len(names) > 0 {
		t.Errorf("without a name for a screen reader: %v", names)
	}
}

// reserved is a port of this machine that was free a moment ago.
func reserved(t *testing.T) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	defer srv.Close()
	return srv.Listener.Addr().String()
}

// outage has the legacy service die under the page and come back.
func (h history) outage(t *testing.T, stack *demo.Stack, first shown) {
	legacy := stack.Services[demo.Orders]
	die(t, legacy)
	h.reload()
	stale := h.until("the orders as they were", func(s shown) bool { return s.Kind == "stale" && slices.Equal(s.Orders, first.Orders) })
	if !strings.Contains(stale.Banner, "These are your orders as they were ") || stale.Problem != "" {
		t.Errorf("%+v", stale)
	}
	// A page that this user has not looked at before is neither remembered nor
	// prepared; another user gets what is for anybody.
	h.press("Older orders")
	h.until("the second page, seen before", func(s shown) bool { return s.Kind == "stale" && s.Where == "Page 2 of 3" })
	h.press("Older orders")
	h.until("that there is no third page", func(s shown) bool { return s.Problem != "" && len(s.Orders) == 0 && s.Banner == "" })
	h.choose("user", demo.Username(1))
	h.until("what was prepared, for another", func(s shown) bool { return s.prepared() })
	h.choose("user", demo.Username(0))
	h.until("the first user's again", func(s shown) bool { return s.Kind == "stale" && slices.Equal(s.Orders, first.Orders) })
	h.choose("source", "vendor")
	h.until("the vendor's, unhurt", func(s shown) bool { return slices.Equal(s.Orders, first.Orders) && s.Banner+s.Problem == "" })
	h.choose("source", "legacy")

	ctx, stop := context.WithTimeout(t.Context(), pageTime)
	defer stop()
	if err := legacy.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, pageTime, "live orders again", func() bool {
		h.reload()
		s := h.until("settled", func(shown) bool { return true })
		return slices.Equal(s.Orders, first.Orders) && s.Banner+s.Problem == ""
	})
}
