import {chart} from "./charts.js";
import {el, say} from "./dom.js";
import * as format from "./format.js";

const every = 30_000; // ms

// sentences are the advice in words.
function sentences(size) {
	const {predicted, measured, recommended, setting} = size;
	const of = p => `${format.percent(p.refused_share)} refused, p99 of the wait ${format.milliseconds(p.wait_p99_ms)}`;
	const workers = recommended.workers ? `, workers ${recommended.workers}` : "";
	return [
		`Now: limit ${setting.limit}, queue ${setting.queue}. ${size.arrivals_per_s.toFixed(1)} requests a second hold ${size.offered_load.toFixed(1)} slots on average, ${format.percent(size.utilisation)} of the limit.`,
		`Measured: ${of(measured)}. Predicted (${predicted.model}): ${of(predicted)}.`,
		recommended.limit ? `Recommended: limit ${recommended.limit}, queue ${recommended.queue}${workers}.` : "",
		...(size.notes ?? []).map(n => n.text),
	].filter(Boolean).map(text => el("li", {}, text));
}

// sizing draws what share of requests each limit would refuse, and where the present
// one is.
export function sizing(name) {
	const text = el("p", {class: "note"}, "Asking for the advice.");
	const curve = chart("Refused at each limit, over the last 10 minutes", [
		{label: "refused", colour: "traffic", format: format.percent, fill: true},
		{label: "now", colour: "refused", format: format.percent, points: true},
		{label: "p99 of the wait", colour: "fallback", format: format.milliseconds, dash: [6, 4], scale: "right"},
	], {time: false});
	curve.root.hidden = true;
	const words = el("ul", {class: "advice"});
	const root = el("div", {class: "sizing"}, text, words, curve.root);
	let ended = false;

	async function ask() {
		if (document.hidden || ended) return;
		try {
			const answer = await fetch(`../v1/bulkheads/${encodeURIComponent(name)}/size?window=10m`, {cache: "no-store"});
			const size = await answer.json();
			if (ended) return;
			if (answer.ok) return show(size);
			say(text, answer.status === 404 ? "This supervisor gives no sizing advice." : size.detail);
			text.hidden = false;
		} catch {
			say(text, "There is no advice now.");
			text.hidden = false;
		}
	}

	function show(size) {
		const {curve: points, present} = size;
		text.hidden = true;
		words.replaceChildren(...sentences(size));
		curve.root.hidden = points.length < 2;
		curve.set([points.map(p => p.limit), points.map(p => p.refused_share),
			points.map(p => p.limit === present.limit ? p.refused_share : null), points.map(p => p.wait_p99_ms)]);
	}

	ask();
	const timer = setInterval(ask, every);
	return {root, end() {
		ended = true;
		clearInterval(timer);
		curve.end();
	}};
}
