import {el, say} from "./dom.js";
import {known} from "./feed.js";
import * as format from "./format.js";

const kept = "coordinator token"; // in sessionStorage: gone with the tab

const modes = {
	auto: "The breaker decides by itself.",
	open: "Every request is refused as breaker_open and the backend is not called.",
	closed: "Every request goes to the backend, however it fails.",
	observe: "The breaker says what it would do, and refuses nothing.",
};
const drills = {
	kill: "SIGKILL to all its workers, every second.",
	freeze: "SIGSTOP to the busiest of its workers.",
	leak: "Each of its workers takes memory and holds it.",
	"backend-down": "Its workers act as if the backend refused connections.",
	"backend-slow": "Its workers act as if the backend were too slow.",
	garbage: "Its workers act as if the backend did not speak HTTP.",
	fallback: "No fault: its fallbacks are compared with its live answers.",
};

// What an action is: what will happen, and what the operator chooses. wait is for
// how many seconds the supervisor may take.
const actions = {
	restart: {
		title: name => `Restart the workers of ${name}?`, wait: () => 600,
		text: (_, shown) => `${format.count(shown.workers, "worker")} will be replaced, one after the other. Each new one is ready before the old one drains, so no request is lost. A quarantine ends.`,
	},
	drain: {
		title: name => `Drain ${name}?`, wait: () => 300, danger: true,
		text: (name, shown) => `${name} will take no new requests: they are refused as draining, or get a fallback. ${format.count(shown.in_flight + shown.queue_depth, "request")} in flight may end. Until it is resumed.`,
	},
	resume: {title: name => `Resume ${name}?`, wait: () => 60, text: name => `${name} will take requests again.`},
	breaker: {
		title: name => `Who decides for the breaker of ${name}?`, wait: () => 60, choices: modes,
		text: (_, shown) => `It is ${shown.breaker.replaceAll("_", " ")} now, in mode ${shown.breaker_mode}. The choice holds until the next one or a reload.`,
		body: mode => ({mode}),
	},
	drill: {
		title: name => `Cause a fault in ${name}?`, wait: seconds => seconds + 180, choices: drills, seconds: true, danger: true,
		text: name => `This is done for real, on the system that runs. Only ${name} should feel it; all others are watched and judged. Closing this page ends it.`,
		body: (mode, seconds) => ({mode, for_ms: 1000 * seconds}),
	},
};

// What stays of an action that is given up while it is under way.
const givenUp = {
	drain: "it takes no new requests until it is resumed",
	restart: "the workers replaced by then stay",
	drill: "the fault ends",
};

// act asks, and does it if the answer is yes. The dialog gives the focus back itself.
// What did not end well is still said when it is closed, until the next one or another
// page: outcome is seen, and read to who does not see it.
export function act(action, name) {
	const dialog = document.getElementById("dialog"), what = actions[action], shown = known.bulkheads.get(name)?.shown;
	if (!what || !shown || dialog.open) return;
	const aborted = new AbortController(), outcome = document.getElementById("outcome");
	say(outcome, "");
	const token = sessionStorage.getItem(kept) ?? "";
	const field = el("input", {type: "password", id: "token", autocomplete: "off", spellcheck: "false", required: true});
	const ask = el("label", {hidden: known.access !== "token" || token !== ""}, "COORDINATOR_ADMIN_TOKEN ", field);
	field.value = token;
	const hint = el("p", {id: "hint"}), result = el("p", {id: "result", role: "status"}), details = el("ul", {id: "details"});
	const choice = el("select", {id: "choice"}, ...Object.keys(what.choices ?? {}).map(c => el("option", {value: c}, c)));
	if (action === "breaker") choice.value = shown.breaker_mode;
	const hinted = () => say(hint, what.choices?.[choice.value] ?? "");
	choice.addEventListener("change", hinted);
	hinted();
	const seconds = el("input", {type: "number", id: "seconds", min: 1, max: 300, value: 10, required: true});
	const cancel = el("button", {type: "button"}, "Cancel");
	const go = el("button", {class: what.danger ? "danger" : "primary"}, action === "breaker" ? "Set" : action[0].toUpperCase() + action.slice(1));
	const form = el("form", {},
		el("h2", {id: "dialog-title"}, what.title(name)), el("p", {id: "dialog-text"}, what.text(name, shown)),
		what.choices ? el("label", {}, action === "drill" ? "Fault " : "Mode ", choice) : "", what.choices ? hint : "",
		what.seconds ? el("label", {}, "Seconds ", seconds) : "", ask, result, details, el("p", {class: "buttons"}, cancel, go));
	if (known.access === "none") {
		say(result, "Nothing can be changed here: COORDINATOR_ADMIN_TOKEN is not set. The commands and the unix socket need no token.");
		go.disabled = true;
	}
	let underWay = false, failure = "";
	cancel.addEventListener("click", () => dialog.close());
	dialog.addEventListener("close", () => {
		aborted.abort();
		if (underWay) say(outcome, `No longer waiting for ${action} of ${name}: ${givenUp[action] ?? "it stops where it is"}.`);
		else if (failure) say(outcome, `${action} of ${name} failed: ${failure}`);
	}, {once: true});
	form.addEventListener("submit", async e => {
		e.preventDefault();
		if (go.disabled) return;
		go.disabled = true;
		say(result, action === "drill" ? "The drill runs. It takes some seconds longer than the fault." : "It is being done.");
		underWay = true;
		failure = "";
		say(cancel, action === "drain" ? "Stop waiting" : "Give up");
		const report = await send(`../v1/bulkheads/${encodeURIComponent(name)}/${action}`,
			what.body?.(choice.value, seconds.valueAsNumber), what.wait(seconds.valueAsNumber), ask.hidden ? token : field.value, aborted.signal);
		if (aborted.signal.aborted) return;
		underWay = false;
		say(cancel, "Cancel");
		say(result, report.text);
		details.replaceChildren(...report.details.map(d => el("li", {}, d)));
		if (report.done) {
			go.hidden = true;
			say(cancel, "Close");
			cancel.focus();
			return;
		}
		go.disabled = false;
		failure = report.text;
		if (report.status === 401) {
			ask.hidden = false;
			field.value = "";
			field.focus();
		}
	});
	dialog.replaceChildren(form);
	dialog.showModal();
	(known.access === "token" && !token ? field : cancel).focus();
}

// send has the supervisor do it, and puts what it says into words.
async function send(url, body, wait, token, signal) {
	const headers = {Prefer: `wait=${wait}`};
	if (body) headers["Content-Type"] = "application/json";
	if (known.access === "token") headers.Authorization = "Bearer " + token;
	try {
		const answer = await fetch(url, {method: "POST", headers, body: body && JSON.stringify(body), signal, cache: "no-store"});
		const said = await answer.json();
		if (known.access === "token") {
			if (answer.status === 401) sessionStorage.removeItem(kept);
			else sessionStorage.setItem(kept, token);
		}
		const took = said.took_ms ? ` It took ${format.milliseconds(said.took_ms)}.` : "";
		const verdict = said.verdict ? ` Verdict: ${said.verdict}.` : "";
		const text = said.error ?? said.detail ?? (said.did || "done") + ".";
		return {done: answer.ok, status: answer.status, text: text + verdict + took, details: said.details ?? []};
	} catch (e) {
		return {done: false, status: 0, text: `The supervisor did not answer: ${e.message}.`, details: []};
	}
}
