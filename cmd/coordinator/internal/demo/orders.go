package demo

import (
	"encoding/json"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	ordersRoot = "/api/v2/orders/"
	orderCount = 3000
	orderUsers = 200
)

// Username is the name of user i of the orders service, 0 to 199. Each has some
// 15 orders.
func Username(i int) string { return fmt.Sprintf("test_learner_%d", i+1) }

// order and what it is made of are the legacy service's answer, member by member
// in its sequence.
type order struct {
	BillingAddress          *struct{}   `json:"billing_address"`
	Currency                string      `json:"currency"`
	DatePlaced              time.Time   `json:"date_placed"`
	Discount                string      `json:"discount"`
	EnableHoistOrderHistory bool        `json:"enable_hoist_order_history"`
	Lines                   []orderLine `json:"lines"`
	Number                  string      `json:"number"`
	PaymentProcessor        string      `json:"payment_processor"`
	Status                  string      `json:"status"`
	TotalExclTax            string      `json:"total_excl_tax"`
	User                    orderUser   `json:"user"`
	Vouchers                []struct{}  `json:"vouchers"` // null or empty
}

type orderUser struct {
	Email    string `json:"email"`
	Username string `json:"username"`
}

type orderLine struct {
	Title            string        `json:"title"`
	Quantity         int           `json:"quantity"`
	Description      string        `json:"description"`
	Status           string        `json:"status"`
	LinePriceExclTax string        `json:"line_price_excl_tax"`
	UnitPriceExclTax string        `json:"unit_price_excl_tax"`
	Product          *orderProduct `json:"product"` // null when it was retired
}

type orderProduct struct {
	ID               int               `json:"id"`
	URL              string            `json:"url"`
	Structure        string            `json:"structure"`
	ProductClass     string            `json:"product_class"`
	Title            string            `json:"title"`
	Price            string            `json:"price"`
	Expires          *time.Time        `json:"expires"`
	AttributeValues  []orderAttribute  `json:"attribute_values"`
	IsAvailableToBuy bool              `json:"is_available_to_buy"`
	StockRecords     []orderStockEntry `json:"stockrecords"`
}

type orderAttribute struct {
	Name  string `json:"name"`
	Code  string `json:"code"`
	Value any    `json:"value"` // string or bool
}

type orderStockEntry struct {
	ID            int    `json:"id"`
	Product       int    `json:"product"`
	Partner       int    `json:"partner"`
	PartnerSKU    string `json:"partner_sku"`
	PriceCurrency string `json:"price_currency"`
	PriceExclTax  string `json:"price_excl_tax"`
}

// orders is the order history service.
type orders struct {
	all    []json.RawMessage            // newest first
	byUser map[string][]json.RawMessage // newest first
	byNum  map[string]json.RawMessage
}

// orderHistory is all orders, newest first: the same every time.
func orderHistory() iter.Seq[order] {
	draw := rand.New(rand.NewPCG(2016, 4))
	placed := time.Date(2016, 4, 1, 9, 0, 0, 0, time.UTC)
	made := make([]order, orderCount)
	for i := range made {
		placed = placed.Add(time.Duration(draw.ExpFloat64() * float64(25*time.Hour))).Truncate(time.Second)
		made[orderCount-1-i] = newOrder(draw, i, placed)
	}
	return slices.Values(made)
}

func newOrders() *orders {
	s := &orders{
		all:    make([]json.RawMessage, 0, orderCount),
		byUser: make(map[string][]json.RawMessage, orderUsers),
		byNum:  make(map[string]json.RawMessage, orderCount),
	}
	for o := range orderHistory() {
		text := json.RawMessage(marshal(o))
		s.all = append(s.all, text)
		s.byUser[o.User.Username] = append(s.byUser[o.User.Username], text)
		s.byNum[o.Number] = text
	}
	return s
}

func (s *orders) answer(r *http.Request, _ []byte) reply {
	number, refused := route(r, ordersRoot, http.MethodGet, http.MethodHead)
	if refused.status != 0 {
		return refused
	}
	if number != "" {
		o, ok := s.byNum[number]
		if !ok {
			return notFound()
		}
		return ordersReply(jsonReply(http.StatusOK, o))
	}
	list := s.all
	if r.URL.Query().Has("username") {
		username := r.URL.Query().Get("username")
		if !mayRead(r, username) {
			return ordersReply(refusal(http.StatusForbidden, "You do not have permission to perform this action."))
		}
		list = s.byUser[username]
	}
	return ordersReply(pageReply(r, list, pageSizes{usual: 20, most: 100}))
}

func ordersReply(a reply) reply {
	a.header.Set("Allow", "GET, HEAD, OPTIONS")
	a.header.Set("Vary", "Accept, Cookie")
	return a
}

// courses are what is sold; every fifth has a title that needs UTF-8 or would
// suffer from HTML escapes.
var courses = []struct {
	key, title string
	cents      int
}{
	{"TestX+A101", "TEST Course A", 14900},
	{"TestX+B102", "TEST Course B", 9900},
	{"TestX+STAT1", "Statistics for Engineers", 19900},
	{"TestX+DB210", "Databases & Transactions", 17500},
	{"TestX+ECO11", "Économie publique", 4900},
	{"TestX+OS301", "Operating Systems", 24900},
	{"TestX+NET21", "Networks <from the Wire up>", 12900},
	{"TestX+LIN12", "Linear Algebra", 9900},
	{"TestX+QUE01", "Queueing in Practice", 29900},
	{"TestX+JPN01", "日本語入門", 7900},
}

var processors = []string{"cybersource", "paypal", "stripe"}

func newOrder(draw *rand.Rand, i int, placed time.Time) order {
	user := draw.IntN(orderUsers)
	o := order{
		Currency:                "USD",
		DatePlaced:              placed,
		Discount:                "0",
		EnableHoistOrderHistory: true,
		Number:                  fmt.Sprintf("TEST-%d", 100001+i),
		PaymentProcessor:        processors[draw.IntN(len(processors))],
		Status:                  "Complete",
		User:                    orderUser{Username: Username(user), Email: fmt.Sprintf("test-learner-%d@example.com", user+1)},
	}
	if draw.IntN(50) == 0 {
		o.Status = "Fulfillment Error"
	}
	total, discount := 0, 0
	for range 1 + min(draw.IntN(8)/6, 1)*(1+draw.IntN(2)) { // three in four have one line
		line, price, off := newLine(draw, placed, o.Status)
		o.Lines = append(o.Lines, line)
		total += price
		discount += off
	}
	o.TotalExclTax = money(total)
	if discount > 0 {
		o.Discount = money(discount)
	}
	if draw.IntN(2) == 0 {
		o.Vouchers = []struct{}{}
	}
	return o
}

// newLine returns a line, its price and the discount already taken off, in cents.
func newLine(draw *rand.Rand, placed time.Time, status string) (orderLine, int, int) {
	n := draw.IntN(len(courses))
	c := courses[n]
	quantity := 1
	if draw.IntN(20) == 0 {
		quantity = 2 + draw.IntN(9)
	}
	off := 0
	if draw.IntN(5) == 0 {
		off = c.cents * quantity / 5
	}
	price := c.cents*quantity - off
	verified := draw.IntN(3) > 0
	title := "Seat in " + c.title
	if verified {
		title += " with verified certificate"
	}
	line := orderLine{
		Title: title, Description: title, Quantity: quantity, Status: status,
		LinePriceExclTax: money(price), UnitPriceExclTax: money(c.cents),
	}
	if draw.IntN(4) > 0 {
		line.Product = newProduct(n, title, verified, placed)
	}
	return line, price, off
}

func newProduct(n int, title string, verified bool, placed time.Time) *orderProduct {
	id, kind := 7001+2*n, "audit"
	if verified {
		id, kind = id+1, "verified"
	}
	c := courses[n]
	p := &orderProduct{
		ID: id, URL: fmt.Sprintf("https://ecommerce.example/api/v2/products/%d/", id),
		Structure: "child", ProductClass: "Seat", Title: title, Price: money(c.cents),
		AttributeValues: []orderAttribute{
			{"certificate_type", "certificate_type", kind},
			{"course_key", "course_key", fmt.Sprintf("course-v1:%s+%d_T%d", c.key, placed.Year(), 1+int(placed.Month()-1)/4)},
			{"id_verification_required", "id_verification_required", verified},
		},
		StockRecords: []orderStockEntry{{
			ID: id - 4000, Product: id, Partner: 1, PartnerSKU: fmt.Sprintf("%07X", id*7919),
			PriceCurrency: "USD", PriceExclTax: money(c.cents),
		}},
	}
	// A course run is sold for half a year; the last ones still are.
	if placed.Year() < 2024 {
		expires := placed.AddDate(0, 6, 0)
		p.Expires = &expires
	}
	p.IsAvailableToBuy = p.Expires == nil
	return p
}

func money(cents int) string { return fmt.Sprintf("%d.%02d", cents/100, cents%100) }

// cents is the amount that money has written.
func cents(amount string) int {
	n, err := strconv.Atoi(strings.Replace(amount, ".", "", 1))
	if err != nil {
		panic(err) // of our own making
	}
	return n
}
