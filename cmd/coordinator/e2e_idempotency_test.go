//go:build linux

package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"commerce.example/coordinator/cmd/coordinator/internal/demo"
)

const paymentsPath = "/api/payments/"

// keyedPayments is a bulkhead pay before the payment service of the demo.
func keyedPayments(t *testing.T, more ...string) (*demo.Service, []string) {
	t.Helper()
	service := fake(t, demo.Payments, demo.Options{Latency: 5 * time.Millisecond})
	return service, append([]string{
		"BULKHEAD_PAY_ROUTES=" + paymentsPath, "BULKHEAD_PAY_BACKEND=" + service.URL(),
		"BULKHEAD_PAY_IDEMPOTENCY=optional", "BULKHEAD_PAY_IDEMPOTENCY_PER_CREDENTIAL=Authorization",
		"BULKHEAD_PAY_LIMIT=64", "BULKHEAD_PAY_QUEUE=1024", "BULKHEAD_PAY_QUEUE_TIMEOUT=10s",
		"BULKHEAD_PAY_RESTART_BUDGET=1000/60s", "BULKHEAD_PAY_BREAKER_MODE=closed",
	}, more...)
}

// paymentText is a request over the wire; fields are whole lines.
func paymentText(key, order, fields string) string {
	body := `{"order":"` + order + `","amount":"12.50","currency":"EUR"}`
	return fmt.Sprintf("POST %s?key=%s HTTP/1.1\r\nHost: shop.example\r\nContent-Type: application/json\r\nIdempotency-Key: %s\r\n%sContent-Length: %d\r\n\r\n%s",
		paymentsPath, key, key, fields, len(body), body) // its own target: a worker's death with one makes no other suspect
}

// reply is what there is to know of an answer.
type reply struct {
	status   int // 0: none came
	payment  string
	replayed bool
	reason   string
	outcome  string
	safe     bool
}

// dialPay opens a connection that is reset when it is closed.
func dialPay(url string) (net.Conn, error) {
	nc, err := net.DialTimeout("tcp", strings.TrimPrefix(url, "http://"), 5*time.Second)
	if err == nil {
		_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	}
	return nc, err
}

// pay sends one payment and reads the answer.
func pay(nc net.Conn, br *bufio.Reader, text string) (r reply) {
	if _, err := io.WriteString(nc, text); err != nil {
		return r
	}
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		return r
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return r
	}
	var said struct {
		ID, Reason, Outcome string
		RetrySafe           bool `json:"retry_safe"`
	}
	_ = json.Unmarshal(body, &said)
	return reply{resp.StatusCode, said.ID, resp.Header.Get("Idempotency-Replayed") == "true", said.Reason, said.Outcome, said.RetrySafe}
}

func (s *site) pay(key, order, fields string) reply {
	nc, err := dialPay(s.url)
	if err != nil {
		return reply{}
	}
	defer nc.Close()
	return pay(nc, bufio.NewReader(nc), paymentText(key, order, fields))
}

// insist repeats until there is an answer that a client would believe: one that says
// no more than that a repeat is safe is none.
func (s *site) insist(key, order string) (r reply) {
	for begun := time.Now(); time.Since(begun) < 20*time.Second; time.Sleep(5 * time.Millisecond) {
		if r = s.pay(key, order, ""); r.status == 201 || r.status != 0 && !r.safe {
			return r
		}
	}
	return r
}

// paid is how many payments were made with each key.
func paid(t *testing.T, service *demo.Service) map[string]int {
	t.Helper()
	ledger, err := service.Ledger(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	times := make(map[string]int)
	for _, p := range ledger {
		times[p.IdempotencyKey]++
	}
	return times
}

// inCrowd has n things done by so many at a time.
func inCrowd(at, n int, do func(i int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range at {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	all.Wait()
}

// A thousand payments whose clients never see the answer, and repeat them, are a
// thousand payments.
func TestIdempotencyOfCutPayments(t *testing.T) {
	const n = 1000
	service, settings := keyedPayments(t)
	s := runSite(t, append(settings, "COORDINATOR_BULKHEADS=pay")...)
	inCrowd(32, n, func(i int) {
		nc, err := dialPay(s.url)
		if err != nil {
			t.Error(err)
			return
		}
		defer nc.Close()
		_, _ = io.WriteString(nc, paymentText(fmt.Sprint("cut-", i), fmt.Sprint(i), ""))
		switch tcp := nc.(*net.TCPConn); i % 4 {
		case 0: // leaves at once
		case 1: // and with a reset
			_ = tcp.SetLinger(0)
		case 2: // as the answer begins
			_, _ = io.ReadFull(nc, make([]byte, 1))
			_ = tcp.SetLinger(0)
		case 3: // while it is awaited
			_ = nc.SetReadDeadline(time.Now().Add(time.Duration(i%8) * time.Millisecond))
			_, _ = io.ReadFull(nc, make([]byte, 1))
		}
	})
	var replays, others atomic.Int64
	inCrowd(32, n, func(i int) {
		r := s.insist(fmt.Sprint("cut-", i), fmt.Sprint(i))
		if r.status != 201 || r.payment == "" {
			others.Add(1)
			t.Errorf("cut-%d: %+v", i, r)
		}
		if r.replayed {
			replays.Add(1)
		}
	})
	times := paid(t, service)
	for key, n := range times {
		if n != 1 {
			t.Errorf("%s was paid %d times", key, n)
		}
	}
	if len(times) != n {
		t.Errorf("%d payments of %d", len(times), n)
	}
	t.Logf("%d payments, %d first answers given again", len(times), replays.Load())
	if replays.Load() < n/4 { // those of which an answer had begun, at least
		t.Errorf("only %d first answers were given again", replays.Load())
	}
}

// What a repeat is told, over the whole way.
func TestIdempotencyAnswers(t *testing.T) {
	service, settings := keyedPayments(t, "BULKHEAD_PAY_JOURNAL_SYNC=always")
	s := runSite(t, append(settings, "COORDINATOR_BULKHEADS=pay")...)
	first := s.pay("k", "1", "")
	for i := range 2 {
		if again := s.pay("k", "1", ""); again.payment != first.payment || first.payment == "" || !again.replayed {
			t.Errorf("%+v, then %+v", first, again)
		}
		if i == 0 {
			s.must("reload")
		}
	}
	if r := s.pay("k", "2", ""); r.status != 422 || r.reason != "idempotency_mismatch" {
		t.Errorf("another body: %+v", r)
	}
	if r := s.pay("k", "1", "Authorization: Bearer other\r\n"); r.status != 201 || r.payment == first.payment {
		t.Errorf("another client: %+v", r)
	}
	fault(t, service, demo.Hang)
	var asked sync.WaitGroup
	asked.Go(func() { s.pay("slow", "1", "") })
	eventually(t, 5*time.Second, "it is in flight", func() bool { return s.bulkhead("pay").Idempotency.InProgress == 1 })
	inCrowd(4, 8, func(int) {
		if r := s.pay("slow", "1", ""); r.status != 409 || r.reason != "idempotency_conflict" || !r.safe {
			t.Errorf("while it is at work: %+v", r)
		}
	})
	fault(t, service, demo.Up)
	asked.Wait()
	if r := s.pay("slow", "1", ""); !r.replayed {
		t.Errorf("afterwards: %+v", r)
	}
	if times := paid(t, service); times["k"] != 2 || times["slow"] != 1 {
		t.Errorf("%v", times)
	}
	if out := s.must("status", "pay"); !strings.Contains(out, "3 of 262144") {
		t.Error("status does not show the keys")
	}
}

// The supervisor is killed among payments. Repeats are told what became of them, and
// none is sent again that may have been paid.
func TestIdempotencyAfterKills(t *testing.T) {
	service, settings := keyedPayments(t)
	s := newSite(t, append(settings, "COORDINATOR_BULKHEADS=pay")...)
	answers := map[string]reply{}
	kills := int(span(4, 40))
	for kill := range kills {
		s.start()
		var mu sync.Mutex
		var sent atomic.Int64
		killed := make(chan struct{})
		go func() {
			for sent.Load() < 20 {
				time.Sleep(time.Millisecond) // between two looks
			}
			_ = s.cmd.Process.Kill()
			<-s.exited
			close(killed)
		}()
		inCrowd(8, 64, func(i int) {
			key := fmt.Sprintf("k%d-%d", kill, i)
			r := s.pay(key, key, "")
			sent.Add(1)
			mu.Lock()
			answers[key] = r
			mu.Unlock()
		})
		<-killed
	}
	s.start()
	before := paid(t, service)
	conflicts, late := 0, 0
	for key, first := range answers {
		r := s.insist(key, key)
		switch {
		case r.status == 201 && first.status == 0 && before[key] == 0: // it provably never left
			late++
		case r.status == 409 && r.reason == "idempotency_conflict" && !r.safe && r.outcome != "":
			conflicts++
			if first.status == 201 && before[key] != 1 {
				t.Errorf("%s was answered %+v and paid %d times", key, first, before[key])
			}
		default:
			t.Errorf("%s: %+v, at first %+v, paid %d times before", key, r, first, before[key])
		}
	}
	for key, n := range paid(t, service) {
		if n != 1 {
			t.Errorf("%s was paid %d times", key, n)
		}
	}
	t.Logf("%d kills: %d keys known afterwards, %d had never been sent", kills, conflicts, late)
	if conflicts == 0 {
		t.Error("nothing was known")
	}
}

// Across upgrades, on connections that stay and on new ones, cut or not, while the
// old supervisor still drains: no key is paid twice, and a payment that was answered
// is one.
func TestIdempotencyAcrossUpgrades(t *testing.T) {
	service, settings := keyedPayments(t)
	s := upgradable(t, append(settings, "COORDINATOR_BULKHEADS=faulty,healthy,pay")...)
	s.start()
	stop := make(chan struct{})
	var clients sync.WaitGroup
	var done, known, refused atomic.Int64
	for client := range 8 {
		clients.Go(func() {
			var kept net.Conn // as long as the supervisor keeps it
			var br *bufio.Reader
			for n := 0; ; n++ {
				select {
				case <-stop:
					if kept != nil {
						kept.Close()
					}
					return
				default:
				}
				key := fmt.Sprintf("c%d-%d", client, n)
				if kept == nil {
					nc, err := dialPay(s.url)
					if err != nil {
						t.Error(err)
						return
					}
					kept, br = nc, bufio.NewReader(nc)
				}
				_ = kept.SetDeadline(time.Now().Add(20 * time.Second))
				if n%3 == 0 { // never sees the answer
					_, _ = io.WriteString(kept, paymentText(key, key, ""))
					kept.Close()
					kept = nil
				} else if r := pay(kept, br, paymentText(key, key, "")); r.status == 0 || r.status == 503 {
					if r.status == 503 {
						refused.Add(1)
					}
					kept.Close()
					kept = nil
				}
				switch r := s.insist(key, key); {
				case r.status == 201:
					done.Add(1)
				case r.status == 409 && !r.safe:
					known.Add(1)
				default:
					t.Errorf("%s: %+v", key, r)
				}
			}
		})
	}
	for range span(2, 5) {
		time.Sleep(300 * time.Millisecond) // of payments before and after
		old := s.serving()
		s.must("upgrade")
		s.replaced(old)
	}
	close(stop)
	clients.Wait()
	times := paid(t, service)
	for key, n := range times {
		if n != 1 {
			t.Errorf("%s was paid %d times", key, n)
		}
	}
	t.Logf("%d keys: %d answered, %d known by their outcome alone; %d refused by a supervisor that had a successor",
		done.Load()+known.Load(), done.Load(), known.Load(), refused.Load())
	if int64(len(times)) < done.Load() || done.Load() == 0 {
		t.Errorf("%d payments, %d answered", len(times), done.Load())
	}
}

// A worker that is killed takes nobody's payment a second time.
func TestIdempotencyAfterWorkersDie(t *testing.T) {
	service, settings := keyedPayments(t)
	s := runSite(t, append(settings, "COORDINATOR_BULKHEADS=pay")...)
	stop := make(chan struct{})
	var killer sync.WaitGroup
	killer.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(150 * time.Millisecond):
			}
			st, err := s.tryStatus()
			if err != nil {
				t.Error(err)
				return
			}
			for _, w := range st.Bulkheads[0].Workers {
				if w.Pid != 0 {
					_ = syscall.Kill(w.Pid, syscall.SIGKILL)
				}
			}
		}
	})
	var known atomic.Int64
	inCrowd(16, 200, func(i int) {
		key := fmt.Sprint("w-", i)
		if first := s.insist(key, key); first.status == 201 {
			return
		}
		if again := s.pay(key, key, ""); (again.status != 409 || again.safe) && again.reason != "poison_request" {
			t.Errorf("%s: %+v", key, again)
		}
		known.Add(1)
	})
	close(stop)
	killer.Wait()
	for key, n := range paid(t, service) {
		if n != 1 {
			t.Errorf("%s was paid %d times", key, n)
		}
	}
	t.Logf("%d of 200 are known by their outcome alone", known.Load())
}
