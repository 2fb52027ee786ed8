import {redrawCharts} from "./charts.js";
import {mark, say} from "./dom.js";
import {detail} from "./detail.js";
import {connect, follow, known} from "./feed.js";
import * as format from "./format.js";
import {judge} from "./judge.js";
import {overview} from "./overview.js";
import {readColours, redrawSparks} from "./spark.js";

const main = document.getElementById("main");
let end = () => {}, first = true;

// route shows what the address names. After a change of it the focus is on what is
// new, as after the load of a page.
function route() {
	const [, name] = location.hash.match(/^#\/bulkheads\/([^/]+)$/) ?? [];
	end();
	say(document.getElementById("outcome"), "");
	document.getElementById("dialog").close(); // it was about another page
	const wanted = name && decode(name);
	document.title = wanted ? wanted + " – Coordinator" : "Coordinator";
	end = wanted ? detail(main, wanted) : overview(main);
	if (!first) {
		window.scrollTo(0, 0);
		main.focus({preventScroll: true});
	}
	first = false;
}

function decode(text) {
	try {
		return decodeURIComponent(text);
	} catch {
		return text;
	}
}

// showLink tells of the connection and of who is at its other end.
const links = {live: "live", waiting: "connecting", lost: "connection lost, trying again; figures are old"};
let version; // that this page came from
function showLink() {
	const link = document.getElementById("link"), {supervisor} = known;
	mark(link, "data-state", known.state);
	version ||= supervisor.version;
	const other = known.state === "live" && supervisor.version !== version;
	say(link, other ? "another version answers: reload this page" : links[known.state]);
	mark(document.body, "data-link", known.state);
	if (supervisor.since) say(document.getElementById("supervisor"), `${supervisor.version}, ${supervisor.state} for ${format.since(supervisor.since)}, pid ${supervisor.pid}`);
}

// announce tells those who do not see the page what has changed: states, not figures.
const said = new Map();
let news = new Map(), speaking = 0, pid = 0;
function announce({names, link}) {
	if (link && known.state !== "waiting") news.set("", known.state === "live" ? "connected" : "connection lost");
	if (pid && known.supervisor.pid !== pid) news.set("supervisor", "a new supervisor answers");
	pid = known.supervisor.pid;
	for (const name of names) {
		const b = known.bulkheads.get(name);
		if (!b) continue;
		const words = judge(b).words;
		if (said.has(name) && said.get(name) !== words) news.set(name, `${name}: ${words}`);
		said.set(name, words);
	}
	if (news.size && !speaking) speaking = setTimeout(speak, 1000);
}

function speak() {
	const all = [...news.values()], most = 5;
	say(document.getElementById("said"), all.slice(0, most).join("; ") + (all.length > most ? `; and ${all.length - most} more` : ""));
	news = new Map();
	speaking = 0;
}

readColours();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
	readColours();
	redrawSparks();
	redrawCharts();
});
document.getElementById("skip").addEventListener("click", e => {
	e.preventDefault();
	main.focus();
});
follow(what => {
	if (what.link || what.order) showLink();
	announce(what);
});
setInterval(showLink, 10_000);
window.addEventListener("hashchange", route);
route();
showLink();
if (!document.hidden) connect(); // a tab opened aside does so when it is looked at
