package demo

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	paymentsRoot = "/api/payments/"
	maxLedger    = 1_000_000
	maxKey       = 200 // characters of what a payment keeps of its request
)

// Payment is one payment that was really made.
type Payment struct {
	ID             string    `json:"id"`
	Order          string    `json:"order"`
	Amount         string    `json:"amount"`
	Currency       string    `json:"currency"`
	RequestID      string    `json:"request_id"`      // X-Request-Id
	IdempotencyKey string    `json:"idempotency_key"` // Idempotency-Key
	Created        time.Time `json:"created"`
}

// payments is the payment service. Like many of its age it ignores
// Idempotency-Key: a request that reaches it twice is paid twice, and the ledger
// shows it. That it does not is the coordinator's part. The ledger lives as long as the process.
type payments struct {
	mu   sync.Mutex
	made []Payment
}

func newPayments() *payments { return &payments{} }

func (s *payments) answer(r *http.Request, body []byte) reply {
	id, refused := route(r, paymentsRoot, http.MethodGet, http.MethodHead, http.MethodPost)
	switch {
	case refused.status != 0:
		return refused
	case r.Method != http.MethodPost && id == "":
		return pageReply(r, s.ledger(), pageSizes{usual: 100, most: 1000})
	case r.Method != http.MethodPost:
		return s.find(id)
	case id != "":
		return refusal(http.StatusMethodNotAllowed, `Method "POST" not allowed.`)
	}
	return s.pay(r, body)
}

// ledger is all payments made so far, oldest first.
func (s *payments) ledger() []Payment {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Payments are only ever appended, so the present part can be shared.
	return slices.Clip(s.made)
}

func (s *payments) find(id string) reply {
	made := s.ledger()
	n, err := strconv.Atoi(strings.TrimPrefix(id, "pay_"))
	if err != nil || n < 1 || n > len(made) || made[n-1].ID != id {
		return notFound()
	}
	return jsonReply(http.StatusOK, made[n-1])
}

func (s *payments) pay(r *http.Request, body []byte) reply {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != jsonType {
		return refusal(http.StatusUnsupportedMediaType, fmt.Sprintf("Unsupported media type %q in request.", r.Header.Get("Content-Type")))
	}
	p, wrong := paymentOf(body)
	p.RequestID, p.IdempotencyKey = r.Header.Get("X-Request-Id"), r.Header.Get("Idempotency-Key")
	if len(p.RequestID) > maxKey || len(p.IdempotencyKey) > maxKey {
		wrong = fmt.Sprintf("A key is longer than %d characters.", maxKey)
	}
	if wrong != "" {
		return refusal(http.StatusBadRequest, wrong)
	}
	s.mu.Lock()
	if len(s.made) == maxLedger {
		s.mu.Unlock()
		return refusal(http.StatusServiceUnavailable, "The ledger is full.")
	}
	p.ID = fmt.Sprintf("pay_%08d", len(s.made)+1)
	p.Created = time.Now().UTC()
	s.made = append(s.made, p)
	s.mu.Unlock()
	a := jsonReply(http.StatusCreated, p)
	a.header.Set("Location", paymentsRoot+p.ID)
	a.header.Set("Cache-Control", "no-store")
	return a
}

var (
	amountForm   = regexp.MustCompile(`^[0-9]{1,9}(\.[0-9]{1,2})?$`)
	currencyForm = regexp.MustCompile(`^[A-Z]{3}$`)
)

// paymentOf reads what a request wants paid; wrong says why that cannot be.
func paymentOf(body []byte) (p Payment, wrong string) {
	var in struct {
		Order    string
		Amount   json.RawMessage // "12.50" or 12.50
		Currency string
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return p, "JSON parse error."
	}
	amount := strings.Trim(string(in.Amount), `"`)
	switch {
	case in.Order == "" || len(in.Order) > maxKey:
		return p, "order: this field is required."
	case !amountForm.MatchString(amount) || strings.Trim(amount, "0.") == "":
		return p, "amount: a positive amount with at most two decimal places is required."
	case !currencyForm.MatchString(in.Currency):
		return p, "currency: a currency code is required."
	}
	return Payment{Order: in.Order, Amount: amount, Currency: in.Currency}, ""
}
