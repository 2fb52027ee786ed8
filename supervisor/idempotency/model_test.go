package idempotency_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor/idempotency"
)

// world is a store between clients and a backend, in one thread, so that what may
// happen at once happens in every order: each step takes one request a bit further,
// loses a party, or restarts the coordinator.
type world struct {
	t        *testing.T
	rng      *rand.Rand
	now      time.Time
	settings idempotency.Settings
	store    *idempotency.Store
	flying   []*flight
	journal  []*intent
	backend  map[string][]time.Time // when a key's work was done, or may have been
	answers  map[string]string      // of each work of a key, the last
	works    int
	seen     map[idempotency.Verdict]int
}

// intent is what the journal has of a request that was about to leave.
type intent struct {
	digest, outcome string // "": open
	at              time.Time
}

// flight is a first request on its way.
type flight struct {
	key, client, body string
	claim             *idempotency.Claim
	intent            *intent
	sent              bool
	answer            string // what the backend said; "": nothing yet
	relayed           int    // bytes of it that came
}

const (
	modelMaxAge = time.Hour
	modelBytes  = 12 << 10 // at most
	modelKeys   = 24
)

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), now: start,
		backend: make(map[string][]time.Time), answers: make(map[string]string), seen: make(map[idempotency.Verdict]int),
	}
	w.settings = idempotency.Settings{Bytes: 8 << 10, MaxAnswer: 600, MaxAge: modelMaxAge, Keys: modelKeys}
	w.store = newStore(w.settings)
	return w
}

func (w *world) one(n int) bool { return w.rng.IntN(n) == 0 }

func (w *world) step() {
	w.now = w.now.Add(time.Duration(w.rng.IntN(20)) * time.Second)
	switch n := w.rng.IntN(1000); {
	case n < 2:
		w.restart()
	case n < 10:
		w.reload()
	case n < 400 || len(w.flying) == 0:
		w.arrive()
	default:
		i := w.rng.IntN(len(w.flying))
		if w.advance(w.flying[i]) {
			w.flying = append(w.flying[:i], w.flying[i+1:]...)
		}
	}
}

// arrive has a client send one of a few keys, mostly with the body that belongs to
// it.
func (w *world) arrive() {
	key := fmt.Sprint("k", w.rng.IntN(13))
	f := &flight{key: key, client: fmt.Sprint("c", w.rng.IntN(2)), body: "pay " + key}
	if w.one(8) {
		f.body = strings.Repeat("another ", w.rng.IntN(3))
	}
	r := post(key, f.body, "Authorization: "+f.client, "X-Tenant: "+f.client)
	ruling := w.store.Begin(r, w.now)
	w.seen[ruling.Verdict]++
	name := f.client + f.key
	switch ruling.Verdict {
	case idempotency.First:
		f.claim = ruling.Claim
		f.intent = &intent{digest: ruling.Digest, at: w.now}
		f.claim.Body(r.Body).Read(make([]byte, 64))
		w.flying = append(w.flying, f)
	case idempotency.Repeat:
		if got, want := string(ruling.Answer.Body), w.answers[name]; got != want || !strings.HasPrefix(got, f.body+" by "+f.client) {
			w.t.Fatalf("%s with %q got %q, its first answer was %q", name, f.body, got, want)
		}
	case idempotency.InProgress:
		if !w.isFlying(f) {
			w.t.Fatalf("%s is not in progress", name)
		}
	case idempotency.Known:
		if len(w.backend[name]) == 0 && ruling.Outcome != "sent_unknown" {
			w.t.Fatalf("%s is %s, and was never sent", name, ruling.Outcome)
		}
	case idempotency.Mismatch, idempotency.Full:
	default:
		w.t.Fatalf("%+v", ruling)
	}
}

func (w *world) isFlying(f *flight) bool {
	for _, other := range w.flying {
		if other.key == f.key && other.client == f.client {
			return true
		}
	}
	return false
}

// advance takes f one step further and reports its end.
func (w *world) advance(f *flight) bool {
	switch {
	case !f.sent && w.one(4): // the breaker, the queue, a worker that died
		if w.one(2) {
			w.record(f)
		}
		return w.done(f, "refused", "never_sent")
	case !f.sent:
		w.record(f)
		f.sent = true
		w.send(f)
	case f.answer == "" && w.one(6):
		return w.done(f, "sent_unknown")
	case f.answer == "":
		w.works++
		f.answer = fmt.Sprintf("%s by %s as %d %s", f.body, f.client, w.works, strings.Repeat("x", w.rng.IntN(800)))
		w.answers[f.client+f.key] = f.answer
		f.claim.Record(201, http.Header{"Content-Type": {"text/plain"}})
	case w.one(8):
		return w.done(f, "partial")
	case f.relayed < len(f.answer):
		n := min(1+w.rng.IntN(400), len(f.answer)-f.relayed)
		f.claim.Write([]byte(f.answer[f.relayed : f.relayed+n]))
		f.relayed += n
	default:
		return w.done(f, "undelivered", "done")
	}
	return false
}

// record is the intent, which is written before anything leaves.
func (w *world) record(f *flight) { w.journal = append(w.journal, f.intent) }

// send is the moment that counts: nobody may have sent the key within MaxAge.
func (w *world) send(f *flight) {
	name := f.client + f.key
	for _, at := range w.backend[name] {
		if w.now.Sub(at) < modelMaxAge {
			w.t.Fatalf("%s went to the backend twice, %v apart", name, w.now.Sub(at))
		}
	}
	w.backend[name] = append(w.backend[name], w.now)
}

func (w *world) done(f *flight, outcomes ...string) bool {
	f.intent.outcome, f.intent.at = outcomes[w.rng.IntN(len(outcomes))], w.now
	if f.sent { // it may have worked until now
		times := w.backend[f.client+f.key]
		times[len(times)-1] = w.now
	}
	f.claim.Done(f.intent.outcome, w.now)
	if st := w.store.Stats(); st.Bytes > w.settings.Bytes || st.Bytes+st.Recording > modelBytes || st.Keys > modelKeys {
		w.t.Fatalf("%+v", st)
	}
	return true
}

// restart leaves of all memory what the journal says. An intent that stands open
// may have been sent.
func (w *world) restart() {
	w.store, w.flying = newStore(w.settings), nil
	order := w.rng.Perm(len(w.journal))
	if w.one(2) { // as a journal is, nearly
		for i := range order {
			order[i] = i
		}
	}
	for _, i := range order {
		in := w.journal[i]
		outcome, at := in.outcome, in.at
		if outcome == "" { // it may have been sent until now
			outcome, at = "sent_unknown", w.now
		}
		// No room is no fault of the store's: it then refuses what it does not know.
		_ = w.store.Restore(in.digest, outcome, 0, at, w.now)
	}
}

func (w *world) reload() {
	w.settings.Bytes = min(modelBytes, int64(2+w.rng.IntN(11))<<10)
	w.settings.MaxAnswer = int64(100 + w.rng.IntN(1000))
	w.settings.Keys = modelKeys - w.rng.IntN(9)
	if err := w.store.Apply(w.settings, w.now); err != nil {
		w.t.Fatal(err)
	}
}

func TestNeverASecondSend(t *testing.T) {
	seen := make(map[idempotency.Verdict]int)
	works, worlds := 0, uint64(60)
	if testing.Short() {
		worlds = 12
	}
	for seed := range worlds {
		w := newWorld(t, seed)
		for range 5000 {
			w.step()
		}
		for v, n := range w.seen {
			seen[v] += n
		}
		works += w.works
	}
	t.Logf("%d works, %v", works, seen)
	for _, v := range []idempotency.Verdict{
		idempotency.First, idempotency.Repeat, idempotency.InProgress, idempotency.Known, idempotency.Mismatch, idempotency.Full,
	} {
		if seen[v] < 100 {
			t.Errorf("only %d of %s", seen[v], v)
		}
	}
}
