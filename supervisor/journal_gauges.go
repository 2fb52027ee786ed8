package supervisor

import "github.com/prometheus/client_golang/prometheus"

// journalGauges reads the journal's figures when it is scraped. There are none
// while nothing is recorded.
type journalGauges struct {
	journal *journaling

	records, bytes, syncs                 *prometheus.Desc
	refused, dropped, abandoned           *prometheus.Desc
	unavailable, open, segments, occupied *prometheus.Desc
}

func newJournalGauges(j *journaling) *journalGauges {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &journalGauges{
		journal:     j,
		records:     desc("coordinator_journal_records_total", "Records of requests in the journal, by kind.", "kind"),
		bytes:       desc("coordinator_journal_bytes_total", "Bytes written to the journal."),
		syncs:       desc("coordinator_journal_syncs_total", "Writes to the journal that the disk confirmed."),
		refused:     desc("coordinator_journal_refused_total", "Requests that were refused because their intent could not be recorded."),
		dropped:     desc("coordinator_journal_dropped_total", "Records of requests without an intent that were lost."),
		abandoned:   desc("coordinator_journal_abandoned_segments_total", "Segments that were given up after a failed write or fdatasync."),
		unavailable: desc("coordinator_journal_unavailable", "1 while intents of a sync cannot be recorded."),
		open:        desc("coordinator_journal_open_entries", "Requests whose intent is recorded and whose end is not."),
		segments:    desc("coordinator_journal_segments", "Segments in the journal's folder, when the last one was begun."),
		occupied:    desc("coordinator_journal_stored_bytes", "Bytes of them."),
	}
}

// Describe implements prometheus.Collector.
func (g *journalGauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		g.records, g.bytes, g.syncs, g.refused, g.dropped, g.abandoned, g.unavailable, g.open, g.segments, g.occupied,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (g *journalGauges) Collect(ch chan<- prometheus.Metric) {
	s, _, known := g.journal.stats()
	if !known {
		return
	}
	emit := func(kind prometheus.ValueType, d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	emit(prometheus.CounterValue, g.records, float64(s.Intents), "intent")
	emit(prometheus.CounterValue, g.records, float64(s.Closes), "close")
	emit(prometheus.CounterValue, g.bytes, float64(s.Bytes))
	emit(prometheus.CounterValue, g.syncs, float64(s.Syncs))
	emit(prometheus.CounterValue, g.refused, float64(s.Refused))
	emit(prometheus.CounterValue, g.dropped, float64(s.Dropped))
	emit(prometheus.CounterValue, g.abandoned, float64(s.Abandoned))
	unavailable := 0.0
	if !s.Available {
		unavailable = 1
	}
	emit(prometheus.GaugeValue, g.unavailable, unavailable)
	emit(prometheus.GaugeValue, g.open, float64(s.Open))
	emit(prometheus.GaugeValue, g.segments, float64(s.Segments))
	emit(prometheus.GaugeValue, g.occupied, float64(s.Stored))
}
