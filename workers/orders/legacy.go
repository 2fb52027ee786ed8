package orders

import (
	"encoding/json"
	"net/url"
	"strconv"
)

// legacy is the order service of old: GET /api/v2/orders/ with the contract's own
// query, pages by number, amounts as decimal texts. It says far more of an order
// than is read here.
type legacy struct{}

func (legacy) ask(q query) (path, rawQuery string) { return "/api/v2/orders/", q.raw }

type legacyPage struct {
	Count    *int            `json:"count"`
	Next     json.RawMessage `json:"next"`
	Previous json.RawMessage `json:"previous"`
	Results  *[]legacyOrder  `json:"results"`
}

type legacyOrder struct {
	Number       *string       `json:"number"`
	DatePlaced   *string       `json:"date_placed"`
	Currency     *string       `json:"currency"`
	TotalExclTax *string       `json:"total_excl_tax"`
	Lines        *[]legacyLine `json:"lines"`
}

type legacyLine struct {
	Title       *string `json:"title"`
	Quantity    *int    `json:"quantity"`
	Description *string `json:"description"`
}

func (legacy) read(q query, body []byte) (page, error) {
	var in legacyPage
	if err := decode(body, &in); err != nil {
		return page{}, err
	}
	var s shape
	p := page{
		count:    s.tally("count", in.Count),
		more:     legacyLink(&s, "next", in.Next, q.page+1),
		previous: legacyLink(&s, "previous", in.Previous, q.page-1),
		orders:   list(&s, "results", in.Results, legacyOrderOf),
	}
	if len(p.orders) > p.count {
		s.wrong("count", "less than there are results")
	}
	return p, s.err
}

// legacyLink reports whether there is that page: a link to it, or null. The first
// page goes without a number.
func legacyLink(s *shape, member string, raw json.RawMessage, number int) bool {
	if raw == nil {
		s.wrong(member, "missing")
		return false
	}
	var link *string
	if json.Unmarshal(raw, &link) != nil {
		s.wrong(member, "neither a link nor null")
		return false
	}
	if link == nil {
		return false
	}
	u, err := url.Parse(*link)
	if err != nil {
		s.wrong(member, "no URL")
		return false
	}
	to := 1
	if text := u.Query().Get("page"); text != "" {
		to, err = strconv.Atoi(text)
	}
	if err != nil || to != number {
		s.wrong(member, "leads to a page that is not next to this one")
		return false
	}
	return true
}

func legacyOrderOf(s *shape, o legacyOrder) order {
	return order{
		Number:       s.name("number", o.Number),
		DatePlaced:   s.date("date_placed", o.DatePlaced),
		Currency:     s.currency("currency", o.Currency),
		TotalExclTax: s.amount("total_excl_tax", o.TotalExclTax),
		Lines: list(s, "lines", o.Lines, func(s *shape, l legacyLine) line {
			return line{
				Title:       need(s, "title", l.Title),
				Quantity:    s.tally("quantity", l.Quantity),
				Description: need(s, "description", l.Description),
			}
		}),
	}
}
