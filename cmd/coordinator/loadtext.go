package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"commerce.example/coordinator/cmd/coordinator/internal/config"
	"commerce.example/coordinator/cmd/coordinator/internal/load"
	"commerce.example/coordinator/supervisor/hdr"
)

// A loadReport is what load --json prints.
type loadReport struct {
	URL            string         `json:"url"`
	Loop           string         `json:"loop"`           // open or closed
	Rate           float64        `json:"rate,omitempty"` // asked for, of an open loop
	Conns          int            `json:"conns"`
	Seconds        float64        `json:"seconds"`
	Due            int            `json:"due"`
	Sent           int            `json:"sent"`
	Done           int            `json:"done"`
	Dropped        int            `json:"dropped"`
	Canceled       int            `json:"canceled"`
	PerSecond      float64        `json:"per_second"`
	Bytes          int64          `json:"bytes"` // of the bodies of answers
	BytesPerSecond float64        `json:"bytes_per_second"`
	Status         map[int]int    `json:"status"`
	Reasons        map[string]int `json:"reasons"`
	Errors         map[string]int `json:"errors"`
	All            percentiles    `json:"all"`
	Success        percentiles    `json:"success"`
	Lag            percentiles    `json:"lag"`
}

// percentiles are of latencies, in milliseconds.
type percentiles struct {
	Count  int64   `json:"count"`
	P50MS  float64 `json:"p50_ms"`
	P90MS  float64 `json:"p90_ms"`
	P99MS  float64 `json:"p99_ms"`
	P999MS float64 `json:"p999_ms"`
	MaxMS  float64 `json:"max_ms"`
}

func percentilesOf(h *hdr.Histogram) percentiles {
	ms := func(q float64) float64 { return h.Quantile(q).Seconds() * 1e3 }
	return percentiles{h.Count(), ms(0.5), ms(0.9), ms(0.99), ms(0.999), h.Max().Seconds() * 1e3}
}

func newLoadReport(o load.Options, r *load.Result) loadReport {
	loop := "closed"
	if o.Rate > 0 {
		loop = "open"
	}
	return loadReport{
		URL: o.URL, Loop: loop, Rate: o.Rate, Conns: o.Conns, Seconds: (r.To - r.From).Seconds(),
		Due: r.Due, Sent: r.Sent, Done: r.Done, Dropped: r.Dropped, Canceled: r.Canceled,
		PerSecond: r.Throughput(), Bytes: r.Bytes, BytesPerSecond: bytesPerSecond(r),
		Status: r.Status, Reasons: r.Reasons, Errors: r.Errors,
		All: percentilesOf(r.All), Success: percentilesOf(r.Success), Lag: percentilesOf(r.Lag),
	}
}

func bytesPerSecond(r *load.Result) float64 {
	if r.To <= r.From {
		return 0
	}
	return float64(r.Bytes) / (r.To - r.From).Seconds()
}

var (
	loadColumns    = []column{{"REQUESTS", false}, {"COUNT", true}, {"PER SECOND", true}}
	latencyColumns = []column{{"LATENCY", false}, {"P50", true}, {"P90", true}, {"P99", true}, {"P99.9", true}, {"MAX", true}}
)

// loadAccount is what a run showed, for people.
func loadAccount(o load.Options, r *load.Result, colour bool) string {
	s := &sheet{colour: colour}
	loop := "closed loop"
	if o.Rate > 0 {
		loop = fmt.Sprintf("open loop, %g requests/s", o.Rate)
	}
	head := fmt.Sprintf("%s on %d connections, %s: %s %s", loop, o.Conns, latency((r.To - r.From).Seconds()), o.Method, o.URL)
	fmt.Fprintf(s, "%s\n\n", strings.Join(wrap(printable(head), config.Width), "\n"))

	counts := table{columns: loadColumns, rows: loadRows(r)}
	counts.write(s)
	s.WriteByte('\n')

	latencies := table{columns: latencyColumns}
	for _, h := range []struct {
		name string
		of   *hdr.Histogram
	}{{"all", r.All}, {"below 400", r.Success}, {"sent late", r.Lag}} {
		latencies.rows = append(latencies.rows, latencyRow(h.name, h.of))
	}
	latencies.write(s)
	fmt.Fprintf(s, "\nbodies of answers: %s, %s/s\n", memory(uint64(r.Bytes)), memory(uint64(bytesPerSecond(r))))
	return s.String()
}

// loadRows are the kinds of ends, and below each what it consists of.
func loadRows(r *load.Result) []row {
	var rows []row
	add := func(name string, n int, perSecond string, m mood) {
		if n == 0 {
			m = calm
		}
		rows = append(rows, row{cells: []cell{{name, m}, {strconv.Itoa(n), m}, {perSecond, calm}}})
	}
	add("due", r.Due, "", calm)
	add("answered", r.Done, rate(r.Throughput()), calm)
	for _, status := range slices.Sorted(maps.Keys(r.Status)) {
		add(fmt.Sprintf("  status %d", status), r.Status[status], "", watchIf(status >= 500))
	}
	for _, reason := range byCount(r.Reasons) {
		add("  reason "+printable(reason), r.Reasons[reason], "", watch)
	}
	add("failed", r.TransportErrors(), "", alarm)
	for _, kind := range byCount(r.Errors) {
		add("  "+kind, r.Errors[kind], "", alarm)
	}
	add("never sent", r.Dropped, "", alarm)
	if r.Canceled > 0 {
		add("cut by the end", r.Canceled, "", watch)
	}
	return rows
}

// byCount are the keys, those of the largest counts first.
func byCount(counts map[string]int) []string {
	return slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(counts[b]-counts[a], cmp.Compare(a, b))
	})
}

// latencyRow has a dash where there was nothing to measure.
func latencyRow(name string, h *hdr.Histogram) row {
	cells := []cell{{name, calm}}
	for _, q := range []float64{0.5, 0.9, 0.99, 0.999, 1} {
		text := "-"
		if h.Count() > 0 {
			text = latency(h.Quantile(q).Seconds())
		}
		cells = append(cells, cell{text, calm})
	}
	return row{cells: cells}
}
