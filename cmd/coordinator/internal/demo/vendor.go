package demo

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

const (
	purchasesPath = "/v3/purchases"
	mostPurchases = 200 // of one slice
)

// purchase is an order as the vendor has it: the same facts in another shape.
type purchase struct {
	Reference string         `json:"reference"`
	State     string         `json:"state"`
	PlacedAt  string         `json:"placedAt"` // ISO 8601, basic format
	Buyer     buyer          `json:"buyer"`
	Total     vendorMoney    `json:"total"`
	Items     []purchaseItem `json:"items"`
}

type buyer struct {
	CustomerID string `json:"customerId"`
	Mail       string `json:"mail"`
}

type vendorMoney struct {
	Minor    int    `json:"minor"`
	Digits   int    `json:"digits"`
	Currency string `json:"currency"`
}

type purchaseItem struct {
	Name    string `json:"name"`
	Details string `json:"details"`
	Units   int    `json:"units"`
}

// purchases is a bought service that holds the same orders as the legacy one. It
// pages by offset, and only knows customers.
type purchases struct{ byCustomer map[string][]json.RawMessage }

func newPurchases() *purchases {
	s := &purchases{byCustomer: make(map[string][]json.RawMessage, orderUsers)}
	for o := range orderHistory() {
		p := purchase{
			Reference: o.Number, State: "SETTLED", PlacedAt: o.DatePlaced.UTC().Format("20060102T150405Z"),
			Buyer: buyer{o.User.Username, o.User.Email},
			Total: vendorMoney{Digits: 2, Currency: o.Currency, Minor: cents(o.TotalExclTax)},
		}
		for _, l := range o.Lines {
			p.Items = append(p.Items, purchaseItem{Name: l.Title, Details: l.Description, Units: l.Quantity})
		}
		s.byCustomer[o.User.Username] = append(s.byCustomer[o.User.Username], marshal(p))
	}
	return s
}

func (s *purchases) answer(r *http.Request, _ []byte) reply {
	query := r.URL.Query()
	customer := query.Get("customerId")
	offset, errOffset := countIn(query.Get("offset"), 0)
	limit, errLimit := countIn(query.Get("limit"), 50)
	switch {
	case r.URL.Path != purchasesPath:
		return vendorRefusal(http.StatusNotFound, "UNKNOWN_RESOURCE")
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return vendorRefusal(http.StatusMethodNotAllowed, "READ_ONLY")
	case customer == "" || errOffset != nil || errLimit != nil || limit > mostPurchases:
		return vendorRefusal(http.StatusUnprocessableEntity, "INVALID_PARAMETER")
	case !mayRead(r, customer):
		return vendorRefusal(http.StatusForbidden, "NOT_YOURS")
	}
	var body struct {
		Data struct {
			Purchases []json.RawMessage `json:"purchases"`
		} `json:"data"`
		Slice struct {
			Offset int `json:"offset"`
			Limit  int `json:"limit"`
			Total  int `json:"total"`
		} `json:"slice"`
	}
	all := s.byCustomer[customer]
	from := min(offset, len(all))
	body.Data.Purchases = append([]json.RawMessage{}, all[from:min(from+limit, len(all))]...)
	body.Slice.Offset, body.Slice.Limit, body.Slice.Total = offset, limit, len(all)
	a := jsonReply(http.StatusOK, body)
	a.header.Set("Vary", "Cookie")
	return a
}

func vendorRefusal(status int, code string) reply {
	return jsonReply(status, map[string]any{"error": map[string]string{"code": code, "at": time.Now().UTC().Format(time.RFC3339)}})
}

// countIn reads a number that is not negative.
func countIn(text string, otherwise int) (int, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	return int(n), err
}
