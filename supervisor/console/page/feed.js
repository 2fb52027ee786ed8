// The stream of /v1/events, and what is known from it.

const silence = 13_000; // ms: a sample comes every 5 s, whatever happens
const hiddenFor = 5_000; // then a page that nobody sees gives its connection back

export const known = {
	state: "waiting", // live, waiting or lost
	access: "token",
	supervisor: {},
	order: [],
	bulkheads: new Map(), // by name: {name, now, shown}
	times: [], // of the samples, in seconds since 1970
	history: new Map(), // by name: rows, the last as old as the last of times
};

const listeners = new Set();

// follow has heard called with what changed: {names: Set, order, sampled, link}.
// It returns what ends that.
export function follow(heard) {
	listeners.add(heard);
	return () => listeners.delete(heard);
}

let pending = null;

// changed waits for the next frame, so that what comes in one of them is drawn once.
function changed(what) {
	if (!pending) {
		pending = {names: new Set()};
		requestAnimationFrame(() => {
			const all = pending;
			pending = null;
			for (const heard of [...listeners]) heard(all);
		});
	}
	for (const name of what.names ?? []) pending.names.add(name);
	for (const key of ["order", "sampled", "link"]) pending[key] ||= what[key];
}

function take(bulkheads) {
	for (const b of bulkheads ?? []) known.bulkheads.set(b.name, b);
	return (bulkheads ?? []).map(b => b.name);
}

function reorder(order) {
	known.order = order;
	for (const map of [known.bulkheads, known.history]) {
		for (const name of [...map.keys()]) if (!order.includes(name)) map.delete(name);
	}
}

const events = {
	hello(e) {
		known.access = e.access;
	},
	snapshot(e) {
		known.supervisor = e.supervisor;
		const names = take(e.bulkheads);
		reorder(names);
		const now = Date.now() / 1000;
		known.times = e.ages_s.map(age => now - age);
		known.history = new Map(Object.entries(e.history));
		link("live");
		changed({names, order: true, sampled: true});
	},
	update(e) {
		if (e.supervisor) known.supervisor = e.supervisor;
		const names = take(e.bulkheads);
		if (e.order) reorder(e.order);
		changed({names, order: Boolean(e.order), link: Boolean(e.supervisor)});
	},
	sample(e) {
		known.times = [...known.times, Date.now() / 1000].slice(-180);
		for (const name of known.order) {
			const rows = known.history.get(name) ?? [];
			rows.push(e.history[name] ?? [0, 0, 0, 0, 0, 0, 0, 0]);
			known.history.set(name, rows.slice(-180));
		}
		changed({sampled: true});
	},
};

function link(state) {
	if (known.state === state) return;
	known.state = state;
	changed({link: true});
}

let source = null, retry = 0, watchdog = 0, hide = 0;

// connect begins a new stream. Whatever ends it, another one is begun, which starts
// with a snapshot.
export function connect() {
	disconnect();
	source = new EventSource("../v1/events");
	for (const [name, act] of Object.entries(events)) {
		source.addEventListener(name, e => {
			clearTimeout(watchdog);
			watchdog = setTimeout(again, silence);
			act(JSON.parse(e.data));
		});
	}
	source.onerror = again;
	watchdog = setTimeout(again, silence);
}

function disconnect() {
	source?.close();
	source = null;
	clearTimeout(retry);
	clearTimeout(watchdog);
}

function again() {
	disconnect();
	link("lost");
	retry = setTimeout(connect, 500 + 500 * Math.random());
}

document.addEventListener("visibilitychange", () => {
	clearTimeout(hide);
	if (document.hidden) hide = setTimeout(() => { disconnect(); link("waiting"); }, hiddenFor);
	else if (!source) connect();
});
