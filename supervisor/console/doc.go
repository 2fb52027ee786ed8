// Package console is the page on the admin listener that shows every bulkhead at a
// glance, and what feeds it.
//
// # The page
//
// Handler serves the files of the folder page, embedded: HTML, CSS and JavaScript
// modules as they are written, with nothing to build. The page asks nobody but the
// listener that it came from, and the policy it comes with (Content-Security-Policy)
// has the browser see to that: no other origin, no inline script or style, no frame
// around it. Text of bulkheads is text to it and never markup.
//
// page/uplot.js and page/uplot.css are uPlot 1.6.32 (github.com/leeoniya/uPlot, MIT,
// its license beside it): the charts of a bulkhead's own page. It draws thousands of
// points in a millisecond, needs nothing else, and sets styles through the object
// model alone, which the policy allows.
//
// # The feed
//
// A Feed reads the bulkheads every Tick. Run owns all of its state; listeners are
// told through channels. It keeps, for each bulkhead, a sample of every SampleEvery
// for the last Kept of them, 15 minutes in all: 8 figures of 4 bytes each, with the
// counters of the last 10 s some 7 KiB a bulkhead. What it reads are counters and
// gauges that are there anyway, so a request costs no more for it.
//
// A listener of Feed.Handler gets server-sent events (WHATWG HTML section 9.2):
//
//	hello      {"access": "token" | "free" | "none"}: what a change needs here
//	snapshot   {"supervisor", "bulkheads": [...], "columns", "every_s", "ages_s", "history": {NAME: [row, ...]}}
//	update     {"supervisor", "bulkheads": [...], "order": [NAME, ...]}, each only if it changed
//	sample     {"history": {NAME: row}}, also when there is nothing to tell, so that silence is a fault
//
// A bulkhead is {"name", "now", "shown"}: the rates of the last 10 s, and whatever
// its reader wants shown. Only bulkheads that differ from what was sent last are in
// an update. A row of history has the figures of columns: a second of the sample for
// counts, the highest in it for what is in flight and queued, milliseconds for
// percentiles, 0 where there was nothing to measure.
//
// There are at most MaxListeners. One that is Backlog events behind is dropped, and
// may come again for a new snapshot.
package console
