package orders

// Read is what an adapter makes of an answer to a query: how many orders there are,
// and those of the page.
func Read(adapter, rawQuery string, body []byte) (count int, results any, err error) {
	q, err := parseQuery(rawQuery)
	if err != nil {
		return 0, nil, err
	}
	p, err := adapters[adapter].read(q, body)
	return p.count, p.orders, err
}
