package orders

import (
	"net/url"
	"strconv"
	"strings"
)

// vendor is a bought service: GET /v3/purchases, a slice of a customer's purchases
// by offset in an envelope, amounts in the smallest unit of their currency, dates in
// the basic format of ISO 8601, other names for everything.
type vendor struct{}

func (vendor) ask(q query) (path, rawQuery string) {
	return "/v3/purchases", "customerId=" + url.QueryEscape(q.username) +
		"&offset=" + strconv.Itoa(q.offset()) + "&limit=" + strconv.Itoa(q.size)
}

// offset is how many orders come before the page.
func (q query) offset() int { return (q.page - 1) * q.size }

type vendorAnswer struct {
	Data *struct {
		Purchases *[]vendorPurchase `json:"purchases"`
	} `json:"data"`
	Slice *struct {
		Offset *int `json:"offset"`
		Total  *int `json:"total"`
	} `json:"slice"`
}

type vendorPurchase struct {
	Reference *string       `json:"reference"`
	PlacedAt  *string       `json:"placedAt"` // 20221102T140311Z
	Total     *vendorMoney  `json:"total"`
	Items     *[]vendorItem `json:"items"`
}

type vendorMoney struct {
	Minor    *int64  `json:"minor"`  // 14900
	Digits   *int    `json:"digits"` // 2: it means 149.00
	Currency *string `json:"currency"`
}

type vendorItem struct {
	Name    *string `json:"name"`
	Details *string `json:"details"`
	Units   *int    `json:"units"`
}

func (vendor) read(q query, body []byte) (page, error) {
	var in vendorAnswer
	if err := decode(body, &in); err != nil {
		return page{}, err
	}
	var s shape
	slice, data := need(&s, "slice", in.Slice), need(&s, "data", in.Data)
	p := page{count: s.tally("slice.total", slice.Total), previous: q.page > 1}
	if s.tally("slice.offset", slice.Offset) != q.offset() {
		s.wrong("slice.offset", "not the one that was asked for")
	}
	p.orders = list(&s, "data.purchases", data.Purchases, vendorOrderOf)
	upTo := q.offset() + len(p.orders)
	if upTo > p.count && len(p.orders) > 0 {
		s.wrong("slice.total", "less than there are purchases")
	}
	if s.err == nil && len(p.orders) == 0 && p.previous {
		return page{}, errNoPage
	}
	p.more = upTo < p.count
	return p, s.err
}

func vendorOrderOf(s *shape, o vendorPurchase) order {
	total := need(s, "total", o.Total)
	return order{
		Number:       s.name("reference", o.Reference),
		DatePlaced:   vendorDate(s, o.PlacedAt),
		Currency:     s.currency("total.currency", total.Currency),
		TotalExclTax: total.decimal(s),
		Lines: list(s, "items", o.Items, func(s *shape, item vendorItem) line {
			return line{
				Title:       need(s, "name", item.Name),
				Quantity:    s.tally("units", item.Units),
				Description: need(s, "details", item.Details),
			}
		}),
	}
}

// vendorDate is the contract's date for one such as 20221102T140311Z.
func vendorDate(s *shape, v *string) string {
	d := need(s, "placedAt", v)
	if len(d) < len("20221102T140311Z") || d[8] != 'T' {
		s.wrong("placedAt", "no date and time of ISO 8601 in its basic format")
		return ""
	}
	text := d[:4] + "-" + d[4:6] + "-" + d[6:11] + ":" + d[11:13] + ":" + d[13:]
	return s.date("placedAt", &text)
}

// decimal writes the amount in whole units of its currency: digits behind the point
// are as many as the vendor says, 0 for yen.
func (m vendorMoney) decimal(s *shape) string {
	minor, digits := need(s, "total.minor", m.Minor), need(s, "total.digits", m.Digits)
	if digits < 0 || digits > 4 { // ISO 4217 knows 0 to 4
		s.wrong("total.digits", "not 0 to 4")
		return ""
	}
	text, sign := strconv.FormatInt(minor, 10), ""
	if minor < 0 {
		text, sign = text[1:], "-"
	}
	if digits == 0 {
		return sign + text
	}
	if missing := digits + 1 - len(text); missing > 0 {
		text = strings.Repeat("0", missing) + text
	}
	point := len(text) - digits
	return sign + text[:point] + "." + text[point:]
}
