import {act} from "./actions.js";
import {chart} from "./charts.js";
import {el, mark, say, table} from "./dom.js";
import {follow, known} from "./feed.js";
import * as format from "./format.js";
import {judge, levels} from "./judge.js";
import {fill, showBadges} from "./overview.js";
import {sizing} from "./sizing.js";

const every = 2000; // ms between two looks at what the stream does not have

function charts() {
	const rate = format.rate, ms = format.milliseconds;
	const whole = x => String(Math.round(x));
	return [
		[chart("Requests a second", [
			{label: "all", colour: "traffic", format: rate, fill: true}, {label: "failed", colour: "failed", format: rate},
			{label: "refused", colour: "refused", format: rate, dash: [6, 4]}, {label: "fallback", colour: "fallback", format: rate, dash: [2, 3]},
		]), [0, 1, 2, 3]],
		[chart("Latency", [
			{label: "p50", colour: "traffic", format: ms, fill: true}, {label: "p99", colour: "failed", format: ms, dash: [6, 4]},
		]), [4, 5]],
		[chart("Slots and queue, the most in 5 s", [
			{label: "in flight", colour: "traffic", format: whole, fill: true}, {label: "queued", colour: "refused", format: whole, dash: [6, 4]},
		]), [6, 7]],
	];
}

// link is one only if it leads to the web: what a bulkhead says of its runbook may be
// anything.
function link(text) {
	return /^https?:\/\//i.test(text) ? el("a", {href: text, rel: "noopener noreferrer", target: "_blank"}, text) : text;
}

function workers(list) {
	return table("Workers", ["Slot", "State", "Pid", "In flight", "Requests", "Memory", "CPU", "For", "Last fault"], list.map(w => [
		String(w.slot), w.state, String(w.pid ?? "–"), String(w.in_flight), w.requests.toLocaleString("en"), format.bytes(w.memory_bytes),
		w.cpu_seconds ? w.cpu_seconds.toFixed(1) + " s" : "–", format.since(w.since), w.why || "none",
	]));
}

function slow(list) {
	if (!list.length) return el("p", {class: "note"}, "None. Requests older than SLOW_LOG are listed here, if it is set.");
	return table("Slow requests", ["Time", "Request", "Age", "Stage", "Slot", "Request id"], list.map(s => [
		format.clock(s.at), `${s.method} ${s.path}`, format.milliseconds(s.age_ms), s.stage.replaceAll("_", " "), String(s.slot ?? "–"), s.request_id,
	]));
}

function transitions(list) {
	if (!list.length) return el("p", {class: "note"}, "None since the supervisor started.");
	return el("ol", {class: "events"}, ...list.map(t => el("li", {"data-kind": t.kind},
		el("time", {datetime: t.at, title: t.at}, format.clock(t.at)), " ", el("b", {}, t.what), t.why ? ": " + t.why : "")));
}

function refusals(refused) {
	const list = Object.entries(refused ?? {}).sort((a, b) => b[1] - a[1]);
	if (!list.length) return el("p", {class: "note"}, "None.");
	const most = list[0][1];
	return el("ul", {class: "refusals"}, ...list.map(([reason, n]) => {
		const bar = el("span", {class: "bar", "aria-hidden": "true"});
		fill(bar, n, most);
		bar.dataset.full = "false";
		return el("li", {}, el("code", {}, reason), bar, el("span", {}, n.toLocaleString("en")));
	}));
}

function figures(b) {
	const {now, shown} = b;
	return [
		["Requests", format.rate(now.requests)], ["Failed", format.rate(now.failed)], ["Refused", format.rate(now.refused)], ["Fallback", format.rate(now.fallback)],
		["p50", format.milliseconds(shown.p50_ms)], ["p99", format.milliseconds(shown.p99_ms)],
		["In flight", `${shown.in_flight} of ${shown.limit}`], ["Queue", `${shown.queue_depth} of ${shown.queue}`],
		["Upgrades", `${shown.upgrades} of ${shown.upgrade_limit}`],
		["Workers", `${shown.workers_ready} of ${shown.workers}`], ["Restarts", String(shown.worker_restarts)], ["Breaker", shown.breaker.replaceAll("_", " ")],
	];
}

// detail shows one bulkhead, and returns what ends that.
export function detail(main, name) {
	const badges = el("ul", {class: "badges", "aria-label": "State"});
	const why = el("p", {class: "why"}), people = el("p", {class: "people"}), gone = el("p", {class: "note", hidden: true}, "There is no bulkhead of that name.");
	const buttons = ["restart", "drain", "breaker", "drill"].map(action => el("button", {type: "button", "data-action": action}));
	const [restart, drain, breaker, drill] = buttons;
	const labels = () => [[restart, "Restart"], [drain, known.bulkheads.get(name)?.shown.state === "draining" ? "Resume" : "Drain"], [breaker, "Breaker"], [drill, "Drill"]];
	for (const button of buttons) button.addEventListener("click", () => act(button.textContent.toLowerCase(), name));
	const glance = el("dl", {class: "figures"}), cells = new Map();
	const section = (title, ...content) => el("section", {"aria-label": title}, el("h2", {}, title), ...content);
	const drawn = charts(), advice = sizing(name);
	const scroll = label => el("div", {class: "scroll", tabindex: 0, role: "group", "aria-label": label});
	const places = {workers: el("div"), refusals: el("div"), transitions: scroll("List of transitions"), slow: scroll("List of slow requests")};
	const page = el("article", {class: "bulkhead"},
		el("div", {class: "actions", role: "group", "aria-label": "Actions"}, ...buttons), why, people, glance,
		section("Last 15 minutes", el("div", {class: "charts"}, ...drawn.map(([c]) => c.root))),
		el("div", {class: "columns"}, section("Refused or failed in the last minute", places.refusals), section("Transitions", places.transitions)),
		section("Workers", places.workers), section("Sizing", advice.root), section("Slow log", places.slow));
	main.replaceChildren(el("p", {class: "back"}, el("a", {href: "#/"}, "All bulkheads")),
		el("div", {class: "title"}, el("h1", {}, name), badges), gone, page);

	let noted = -1, asking = false, ended = false;
	async function look() {
		if (asking || document.hidden || !known.bulkheads.has(name)) return;
		asking = true;
		try {
			const answer = await fetch("../v1/bulkheads/" + encodeURIComponent(name), {cache: "no-store"});
			if (!answer.ok || ended) return;
			const all = await answer.json();
			replace(places.workers, all.bulkhead.workers ?? [], workers);
			replace(places.transitions, all.transitions, transitions);
			replace(places.slow, all.slow, slow);
		} catch {
			// the stream says that nobody answers
		} finally {
			asking = false;
		}
	}

	// replace leaves alone what says the same, so that a selection stays.
	function replace(place, data, show) {
		const key = JSON.stringify(data);
		if (place.dataset.key === key) return;
		place.dataset.key = key;
		place.replaceChildren(show(data));
	}

	function update({names, order, sampled}) {
		const b = known.bulkheads.get(name);
		gone.hidden = Boolean(b) || known.state === "waiting";
		page.hidden = !b;
		if (!b) return;
		if (names.has(name) || order) {
			const verdict = judge(b), {shown} = b;
			mark(page, "data-level", levels[verdict.level]);
			showBadges(badges, verdict);
			for (const [button, label] of labels()) say(button, label);
			say(why, [shown.why, shown.breaker === "closed" ? "" : shown.breaker_why].filter(Boolean).join("; "));
			replace(people, [shown.owner, shown.runbook], ([owner, runbook]) => el("span", {}, owner ? "Owner: " + owner : "", owner && runbook ? " · " : "", runbook ? "Runbook: " : "", runbook ? link(runbook) : ""));
			for (const [label, value] of figures(b)) {
				if (!cells.has(label)) {
					cells.set(label, el("dd"));
					glance.append(el("div", {}, el("dt", {}, label), cells.get(label)));
				}
				say(cells.get(label), value);
			}
			replace(places.refusals, shown.refused ?? {}, refusals);
			if (shown.noted !== noted) {
				noted = shown.noted;
				look();
			}
		}
		if (sampled || order) {
			const rows = known.history.get(name) ?? [], times = known.times.slice(known.times.length - rows.length);
			for (const [c, columns] of drawn) c.set([times, ...columns.map(i => rows.map(r => i === 4 || i === 5 ? r[i] || null : r[i]))]);
		}
	}

	update({names: new Set([name]), order: true, sampled: true});
	const end = follow(update), timer = setInterval(look, every);
	return () => {
		ended = true;
		end();
		clearInterval(timer);
		advice.end();
		for (const [c] of drawn) c.end();
	};
}
