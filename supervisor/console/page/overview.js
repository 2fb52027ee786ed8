import {el, mark, say} from "./dom.js";
import {follow, known} from "./feed.js";
import * as format from "./format.js";
import {judge, levels} from "./judge.js";
import {Spark} from "./spark.js";

// badges are words; their mark and colour only repeat them.
export function showBadges(list, verdict) {
	const key = verdict.badges.map(b => b.level + b.text).join();
	if (list.dataset.key === key) return;
	list.dataset.key = key;
	list.replaceChildren(...verdict.badges.map(b => el("li", {class: "badge", "data-level": levels[b.level]}, b.text)));
}

// bar is a share of something as a picture; its text stands beside it.
export function fill(bar, part, whole) {
	bar.style.setProperty("--share", whole ? Math.min(1, part / whole) : 0);
	mark(bar, "data-full", String(whole > 0 && part >= whole));
}

class Card {
	constructor(name) {
		this.name = name;
		const figure = (label, extra) => {
			const value = el("dd");
			return [el("div", {class: extra ?? ""}, el("dt", {}, label), value), value];
		};
		const bar = label => {
			const value = el("span"), picture = el("span", {class: "bar", "aria-hidden": "true"});
			return [el("div", {class: "wide"}, el("dt", {}, label), el("dd", {}, picture, value)), value, picture];
		};
		let p50, p99, flight, queue, breaker, workers, restarts, fallback, refused;
		[p50, this.p50] = figure("p50");
		[p99, this.p99] = figure("p99");
		[flight, this.flight, this.flightBar] = bar("In flight");
		[queue, this.queue, this.queueBar] = bar("Queue");
		[breaker, this.breaker] = figure("Breaker");
		[workers, this.workers] = figure("Workers");
		[restarts, this.restarts] = figure("Restarts");
		[fallback, this.fallback] = figure("Fallback");
		[refused, this.refused] = figure("Refused or failed, last minute", "wide reasons");
		this.title = el("a", {href: "#/bulkheads/" + encodeURIComponent(name)}, name);
		this.badges = el("ul", {class: "badges", "aria-label": "State"});
		this.rate = el("strong");
		this.peak = el("span", {class: "peak"});
		this.spark = new Spark();
		this.root = el("li", {class: "card"},
			el("h2", {}, this.title), this.badges,
			el("div", {class: "traffic"}, el("p", {}, this.rate, el("span", {class: "unseen"}, " requests, "), this.peak), this.spark.canvas),
			el("dl", {}, p50, p99, breaker, workers, restarts, fallback, flight, queue, refused));
	}

	show(b) {
		const {now, shown} = b, verdict = judge(b);
		this.level = verdict.level;
		this.busy = now.requests;
		mark(this.root, "data-level", levels[verdict.level]);
		showBadges(this.badges, verdict);
		say(this.rate, format.rate(now.requests));
		say(this.p50, format.milliseconds(shown.p50_ms));
		say(this.p99, format.milliseconds(shown.p99_ms));
		say(this.flight, `${shown.in_flight} of ${shown.limit}`);
		fill(this.flightBar, shown.in_flight, shown.limit);
		say(this.queue, `${shown.queue_depth} of ${shown.queue}`);
		fill(this.queueBar, shown.queue_depth, shown.queue);
		say(this.breaker, shown.breaker.replaceAll("_", " "));
		say(this.workers, `${shown.workers_ready} of ${shown.workers}`);
		say(this.restarts, String(shown.worker_restarts));
		say(this.fallback, now.fallback > 0 ? format.rate(now.fallback) : "none");
		say(this.refused, reasons(shown.refused) || "none");
	}

	draw() {
		const rows = known.history.get(this.name) ?? [];
		const peak = Math.max(0, ...rows.map(r => r[0]));
		say(this.peak, "peak " + format.rate(peak));
		this.spark.set(rows, peak, known.times.length);
	}
}

export function reasons(refused) {
	return Object.entries(refused ?? {}).sort((a, b) => b[1] - a[1]).map(([reason, n]) => `${reason} ${n.toLocaleString("en")}`).join(", ");
}

const orders = {
	trouble: (a, b) => b.level - a.level,
	busy: (a, b) => b.busy - a.busy,
	configured: () => 0,
};

// overview shows every bulkhead, and returns what ends that.
export function overview(main) {
	const cards = new Map();
	const summary = el("p", {id: "summary"});
	const filter = el("input", {type: "search", id: "filter", autocomplete: "off", spellcheck: "false"});
	const order = el("select", {id: "order"}, el("option", {value: "trouble"}, "trouble first"),
		el("option", {value: "configured"}, "as configured"), el("option", {value: "busy"}, "busiest first"));
	const list = el("ul", {id: "cards", "aria-label": "Bulkheads"});
	const none = el("p", {class: "note", hidden: true});
	main.replaceChildren(el("h1", {}, "Bulkheads"), summary,
		el("div", {class: "controls", role: "search"}, el("label", {}, "Name ", filter), el("label", {}, "Order ", order)), none, list);

	// arrange moves no card away from under a hand or a focus.
	function arrange(force) {
		if (!force && (list.matches(":hover") || list.contains(document.activeElement))) return;
		const word = filter.value.trim().toLowerCase();
		const wanted = known.order.map(name => cards.get(name)).filter(c => c && c.name.toLowerCase().includes(word));
		wanted.sort(orders[order.value]);
		none.hidden = wanted.length > 0;
		say(none, known.state === "waiting" ? "Waiting for the first figures." : word ? `No bulkhead has “${word}” in its name.` : "There are no bulkheads.");
		if (wanted.length === list.children.length && wanted.every((c, i) => list.children[i] === c.root)) return;
		list.replaceChildren(...wanted.map(c => c.root));
	}

	function update({names, order: all, sampled}) {
		if (all) for (const [name, card] of cards) if (!known.bulkheads.has(name)) cards.delete(name), card.spark.end();
		let level = false;
		for (const name of names) {
			const b = known.bulkheads.get(name);
			if (!b) continue;
			if (!cards.has(name)) cards.set(name, new Card(name)).get(name).draw();
			const card = cards.get(name), was = card.level;
			card.show(b);
			level ||= was !== card.level;
		}
		if (sampled) for (const card of cards.values()) card.draw();
		const rows = [...known.bulkheads.values()], sick = [...cards.values()].filter(c => c.level > 0).length;
		const total = rows.reduce((sum, b) => sum + b.now.requests, 0);
		say(summary, `${format.count(rows.length, "bulkhead")}, ${sick ? sick + (sick === 1 ? " needs" : " need") + " a look" : "all well"}, ${format.rate(total)} in all`);
		mark(summary, "data-level", sick ? "warn" : "ok");
		if (all || level || sampled) arrange(all);
	}

	filter.addEventListener("input", () => arrange(true));
	order.addEventListener("change", () => arrange(true));
	update({names: new Set(known.order), order: true, sampled: true});
	const end = follow(update);
	return () => {
		end();
		for (const card of cards.values()) card.spark.end();
	};
}
