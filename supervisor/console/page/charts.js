// Charts of a bulkhead's own page, drawn by uPlot (a global of uplot.js).

import {el, say} from "./dom.js";
import {colours} from "./spark.js";

const height = 150;
const charts = new Set();

export function redrawCharts() {
	for (const chart of charts) chart.redraw();
}

const widths = new ResizeObserver(entries => {
	for (const {target, contentRect} of entries) {
		for (const chart of charts) if (chart.host === target) chart.resize(contentRect.width);
	}
});

// A chart is a figure with a legend that has the figures under the pointer, else the
// last ones. lines are {label, colour, format, dash, fill, points, scale}: a dash tells
// them apart where colours do not.
class Chart {
	constructor(title, lines, options = {}) {
		this.values = lines.map(() => el("b"));
		this.lines = lines;
		this.host = el("div", {class: "plot", "aria-hidden": "true"});
		const legend = el("ul", {class: "legend"}, ...lines.map((line, i) =>
			el("li", {"data-dash": line.dash ? line.dash.join("-") : "solid", "data-colour": line.colour}, line.label + " ", this.values[i])));
		this.at = el("li", {class: "at"}); // what the pointer is over
		legend.append(this.at);
		this.root = el("figure", {}, el("figcaption", {}, title), legend, this.host);
		this.options = options;
		this.data = [[], ...lines.map(() => [])];
		charts.add(this);
		widths.observe(this.host);
	}

	end() {
		charts.delete(this);
		widths.unobserve(this.host);
		this.plot?.destroy();
	}

	resize(width) {
		if (width < 50) return;
		if (this.plot) return this.plot.setSize({width, height});
		const axis = {stroke: () => colours.muted, grid: {stroke: () => colours.line, width: 1}, ticks: {show: false}, font: "11px system-ui"};
		const clock = (_, times) => {
			const digits = times.length > 1 && times[1] - times[0] < 60 ? 8 : 5;
			return times.map(t => new Date(t * 1000).toTimeString().slice(0, digits));
		};
		this.plot = new uPlot({
			width, height, legend: {show: false}, padding: [8, 8, 0, 0],
			cursor: {y: false, drag: {x: false, y: false}, points: {size: 6}},
			scales: {x: {time: this.options.time ?? true}, y: {range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1]},
				right: {range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1]}},
			axes: [{...axis, space: 70, size: 26, ...(this.options.time === false ? {} : {values: clock})},
				{...axis, size: 58, values: (_, ticks) => ticks.map(t => t === 0 ? "0" : this.lines[0].format(t))}],
			series: [{}, ...this.lines.map(line => ({
				scale: line.scale ?? "y", stroke: () => colours[line.colour], width: 1.5, dash: line.dash,
				fill: line.fill ? () => colours[line.colour] + "2e" : undefined,
				points: {show: Boolean(line.points), size: 11, fill: () => colours[line.colour]},
			}))],
			hooks: {setCursor: [plot => this.tell(plot.cursor.idx)]},
		}, this.data, this.host);
	}

	set(data) {
		this.data = data;
		this.plot?.setData(data);
		this.tell(this.plot?.cursor.idx);
	}

	redraw() {
		this.plot?.redraw();
	}

	tell(at) {
		const x = at == null ? null : this.data[0][at];
		say(this.at, x == null ? "" : this.options.time === false ? "at " + x : "at " + new Date(x * 1000).toTimeString().slice(0, 8));
		this.lines.forEach((line, i) => {
			const column = this.data[i + 1], value = line.points ? column.find(v => v != null) : column[at ?? column.length - 1];
			say(this.values[i], value == null ? "–" : line.format(value));
		});
	}
}

export function chart(...args) {
	return new Chart(...args);
}
