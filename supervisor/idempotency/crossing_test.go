package idempotency_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"commerce.example/coordinator/ipc/credential"
	"commerce.example/coordinator/supervisor/idempotency"
)

// ledger is a backend that does what it is asked, however often it is.
type ledger struct {
	mu   sync.Mutex
	paid map[string][]string // by key
	n    int
}

func (l *ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text, _ := io.ReadAll(r.Body)
	l.mu.Lock()
	l.n++
	receipt := fmt.Sprintf("receipt %d for %s, %s", l.n, text, strings.Repeat("-", 2000))
	key := r.Header.Get("Idempotency-Key")
	l.paid[key] = append(l.paid[key], receipt)
	l.mu.Unlock()
	w.WriteHeader(http.StatusCreated)
	io.WriteString(w, receipt[:100])
	http.NewResponseController(w).Flush()
	io.WriteString(w, receipt[100:])
}

// shim does what the package says that a bulkhead does.
type shim struct {
	store   *idempotency.Store
	backend string
	client  *http.Client
	fails   atomic.Int64 // of requests, each fifth never gets to the backend
	replays atomic.Int64
}

func (s *shim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ruling := s.store.Begin(r, time.Now())
	switch ruling.Verdict {
	case idempotency.First:
		s.forward(w, r, ruling.Claim)
	case idempotency.Repeat:
		s.replays.Add(1)
		w.WriteHeader(ruling.Answer.Status)
		w.Write(ruling.Answer.Body)
	case idempotency.InProgress, idempotency.Known:
		http.Error(w, ruling.Outcome, http.StatusConflict)
	default:
		http.Error(w, string(ruling.Verdict), http.StatusTeapot)
	}
}

func (s *shim) forward(w http.ResponseWriter, r *http.Request, claim *idempotency.Claim) {
	outcome := "never_sent"
	defer func() { claim.Done(outcome, time.Now()) }()
	text, err := io.ReadAll(claim.Body(r.Body))
	if err != nil || s.fails.Add(1)%5 == 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	outcome = "sent_unknown"
	out, _ := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, s.backend, bytes.NewReader(text))
	out.GetBody = nil // nothing is sent behind the ledger's back
	out.Header = r.Header.Clone()
	resp, err := s.client.Do(out)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	outcome = "partial"
	claim.Record(resp.StatusCode, http.Header{"Content-Type": {"text/plain"}})
	w.WriteHeader(resp.StatusCode)
	delivered := true
	buf := make([]byte, 512)
	for delivered || claim.Wants() {
		n, err := resp.Body.Read(buf)
		claim.Write(buf[:n])
		if _, werr := w.Write(buf[:n]); werr != nil || http.NewResponseController(w).Flush() != nil {
			delivered = false
		}
		if err == io.EOF {
			outcome = "undelivered"
			if delivered {
				outcome = "done"
			}
			return
		}
		if err != nil {
			return
		}
	}
}

// A thousand payments whose answers are cut, each at another place, and that are
// then repeated, are a thousand payments.
func TestCutAnswersArePaidOnce(t *testing.T) {
	const payments, clients = 1000, 16
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	l := &ledger{paid: make(map[string][]string)}
	backend := httptest.NewServer(l)
	defer backend.Close()
	s := &shim{store: newStore(idempotency.Settings{}), backend: backend.URL, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}}
	defer s.client.CloseIdleConnections()
	front := httptest.NewServer(s)
	defer front.Close()

	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := c; i < payments; i += clients {
				key := fmt.Sprint("payment-", i)
				if err := cut(front.Listener.Addr().String(), key, i%4); err != nil {
					t.Errorf("%s: %v", key, err)
				}
				receipt, err := repeat(ctx, front, key)
				if err != nil {
					t.Errorf("%s: %v", key, err)
					continue
				}
				l.mu.Lock()
				if paid := l.paid[key]; len(paid) != 1 || paid[0] != receipt {
					t.Errorf("%s: paid %d times, or another receipt", key, len(paid))
				}
				l.mu.Unlock()
			}
		})
	}
	wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n != payments {
		t.Errorf("%d payments", l.n)
	}
	if n := s.replays.Load(); n < payments/2 {
		t.Errorf("only %d repeats got the first answer", n)
	}
}

// cut sends a payment and leaves: at once, in the middle of the upload, at the
// first byte of the answer, or in the middle of it.
func cut(addr, key string, where int) error {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	text := "POST /pay HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\nIdempotency-Key: " + key + "\r\nContent-Length: " + fmt.Sprint(len(key)) + "\r\n\r\n" + key
	if where == 1 {
		text = text[:len(text)-2]
	}
	if _, err := io.WriteString(nc, text); err != nil {
		return err
	}
	if where >= 2 {
		_, err = io.ReadFull(nc, make([]byte, []int{1, 600}[where-2]))
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			err = nil // a refusal is shorter
		}
	}
	if where != 0 {
		nc.(*net.TCPConn).SetLinger(0)
	}
	if where == 3 {
		return nil // after 600 bytes, whatever they were
	}
	return err
}

// repeat repeats a payment until it is answered.
func repeat(ctx context.Context, front *httptest.Server, key string) (string, error) {
	for ctx.Err() == nil {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, front.URL+"/pay", strings.NewReader(key))
		if err != nil {
			return "", err
		}
		r.Host, r.GetBody = "shop.example", nil
		r.Header.Set("Idempotency-Key", key)
		resp, err := front.Client().Do(r)
		if err != nil {
			return "", err
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		switch resp.StatusCode {
		case http.StatusCreated:
			return string(text), err
		case http.StatusConflict, http.StatusServiceUnavailable:
		default:
			return "", fmt.Errorf("%s %s", resp.Status, text)
		}
	}
	return "", ctx.Err()
}

// Many at once with few keys: one at a time has a key, and after it was answered
// nobody has.
func TestConcurrentRepeats(t *testing.T) {
	s := newStore(idempotency.Settings{Bytes: 16 << 10, MaxAnswer: 2 << 10})
	const keys = 8
	type state struct{ holders, sent atomic.Int32 }
	var rounds [50][keys]state
	stop := make(chan struct{})
	var meddler, wg sync.WaitGroup
	meddler.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			field := []string{"Authorization", "X-Tenant"}[i/50%2]
			err := s.Apply(idempotency.Settings{Bytes: int64(8+i%8) << 10, Scope: []credential.Name{{Field: field}}}, start)
			if st := s.Stats(); err != nil || st.Keys > len(rounds)*keys || st.InProgress > 8 {
				t.Errorf("%v %+v", err, st)
				return
			}
		}
	})
	for g := range uint64(8) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(g, 3))
			for round := range rounds {
				for range 40 {
					i := rng.IntN(keys)
					st := &rounds[round][i]
					name := fmt.Sprint(round, "-", i)
					ruling := s.Begin(post(name, "b", "Authorization: a", "X-Tenant: t"), start)
					switch ruling.Verdict {
					case idempotency.First:
						if st.holders.Add(1) != 1 {
							t.Errorf("%s is held twice", name)
						}
						outcome := []string{"never_sent", "sent_unknown", "done", "undelivered"}[rng.IntN(4)]
						if outcome != "never_sent" && st.sent.Add(1) != 1 {
							t.Errorf("%s was sent twice", name)
						}
						ruling.Claim.Record(200, nil)
						ruling.Claim.Write([]byte(name))
						ruling.Claim.Write(make([]byte, rng.IntN(1000)))
						st.holders.Add(-1)
						ruling.Claim.Done(outcome, start)
					case idempotency.Repeat:
						if !strings.HasPrefix(string(ruling.Answer.Body), name) {
							t.Errorf("%s got the answer of another", name)
						}
					case idempotency.InProgress, idempotency.Known:
					default:
						t.Errorf("%+v", ruling)
					}
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	meddler.Wait()
}
