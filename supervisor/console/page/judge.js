import {percent} from "./format.js";

const breakers = { // how bad, and in words
	open: [2, "breaker open"],
	half_open: [1, "breaker half-open"],
	forced_open: [2, "breaker forced open"],
	forced_closed: [1, "breaker forced closed"],
	observe_open: [1, "breaker would be open"],
	observe_half_open: [1, "breaker would be half-open"],
};
const states = {quarantined: 2, degraded: 1, draining: 1, starting: 1};
const worth = 0.01; // share of requests that is worth a word

// judge says how bad it is (0 well, 1 worth a look, 2 bad), in words that have the
// figures, and in words that change only with the matter.
export function judge({now, shown}) {
	const found = [];
	const add = (level, word, figure = "") => found.push({level, word, text: word + figure});
	if (shown.state !== "ready") add(states[shown.state] ?? 1, shown.state);
	if (breakers[shown.breaker]) add(...breakers[shown.breaker]);
	for (const [word, n] of [["failing", now.failed], ["refusing", now.refused]]) {
		const share = n / now.requests;
		if (share >= worth) add(share >= 0.1 ? 2 : 1, word, " " + percent(share));
	}
	if (shown.queue_depth > 0 && shown.in_flight >= shown.limit) add(1, "saturated");
	if (shown.fallback_since) add(1, "fallback");
	if (shown.drill) add(1, "drill " + shown.drill);
	return {
		level: Math.max(0, ...found.map(f => f.level)),
		badges: found.length ? found : [{level: 0, word: "ready", text: "ready"}],
		words: found.map(f => f.word).join(", ") || "ready",
	};
}

export const levels = ["ok", "warn", "bad"];
