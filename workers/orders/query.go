package orders

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

const (
	usualPageSize = 20
	mostPageSize  = 100
	lastPage      = 1_000_000 // so that an offset never overflows
)

// query is what a client asks for.
type query struct {
	username   string
	page, size int
	// raw are the parameters of the contract in the client's bytes and sequence.
	raw string
}

// parseQuery reads the query of the contract. Errors are for the client.
func parseQuery(raw string) (query, error) {
	q := query{page: 1, size: usualPageSize}
	seen := make(map[string]bool, 3)
	var known []string
	for part := range strings.SplitSeq(raw, "&") {
		name, value, err := unescape(part)
		if err != nil {
			return query{}, err
		}
		switch name {
		case "username":
			q.username = value
		case "page":
			q.page, err = number(name, value, lastPage)
		case "page_size":
			q.size, err = number(name, value, 0)
			q.size = min(q.size, mostPageSize)
		default:
			continue
		}
		if err == nil && seen[name] {
			err = fmt.Errorf("%s: given more than once", name)
		}
		if err != nil {
			return query{}, err
		}
		seen[name] = true
		known = append(known, part)
	}
	if q.username == "" {
		return query{}, errors.New("username: is required")
	}
	q.raw = strings.Join(known, "&")
	return q, nil
}

// unescape reads one parameter of a query.
func unescape(part string) (name, value string, err error) {
	name, value, _ = strings.Cut(part, "=")
	name, errName := url.QueryUnescape(name)
	value, errValue := url.QueryUnescape(value)
	switch {
	case strings.Contains(part, ";"):
		// Some services split there, and would read another query than we do.
		return "", "", errors.New("the query has a semicolon; write %3B")
	case errName != nil || errValue != nil:
		return "", "", errors.New("the query has a % that begins no escape")
	}
	return name, value, nil
}

// number reads a whole number from 1 to most; 0: to whatever an int holds.
func number(name, text string, most int) (int, error) {
	n, err := strconv.Atoi(text)
	switch {
	case err != nil || n < 1 || text[0] == '+':
		return 0, fmt.Errorf("%s: want a whole number from 1", name)
	case most > 0 && n > most:
		return 0, fmt.Errorf("%s: want a whole number up to %d", name, most)
	}
	return n, nil
}

// other is the query of another page of the same history.
func (q query) other(page int) string {
	link, replaced := "page="+strconv.Itoa(page), false
	parts := strings.Split(q.raw, "&")
	for i, part := range parts {
		if name, _, _ := unescape(part); name == "page" {
			parts[i], replaced = link, true
		}
	}
	if !replaced {
		parts = append(parts, link)
	}
	return strings.Join(parts, "&")
}
