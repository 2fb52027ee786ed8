// Asking for a page of orders, and understanding whatever comes back.

import {fallbackOf} from "./cache-status.js";

const patience = 20_000; // milliseconds; the coordinator gives up long before

// A Failure is why there are no orders to show.
export class Failure extends Error {
	constructor(message, facts = {}) {
		super(message);
		this.reason = facts.reason ?? null; // the coordinator's word for it
		this.requestID = facts.requestID ?? null;
		this.wait = facts.wait ?? null; // seconds after which a repeat may help
	}
}

// ask gives {orders, count, fallback}, or throws a Failure; an AbortError if signal
// says so.
export async function ask(url, signal) {
	let answer;
	try {
		answer = await fetch(url, {
			cache: "no-store", headers: {Accept: "application/json"}, signal: AbortSignal.any([signal, AbortSignal.timeout(patience)]),
		});
	} catch (e) {
		signal.throwIfAborted();
		throw new Failure(e.name === "TimeoutError" ? "The shop does not answer." : "The shop cannot be reached. Are you online?");
	}
	let body = null;
	try {
		body = await answer.json();
	} catch {
		signal.throwIfAborted();
	}
	if (answer.status !== 200) {
		throw refusal(answer, body);
	}
	if (!isPage(body)) {
		throw new Failure("The answer of the shop cannot be understood.", {requestID: answer.headers.get("X-Request-Id")});
	}
	return {orders: body.results, count: body.count, fallback: fallbackOf(answer.headers)};
}

// refusal is what an answer other than 200 means. Of the coordinator it is problem
// details (RFC 9457).
function refusal(answer, body) {
	const wait = answer.headers.get("Retry-After") ?? "";
	const facts = {
		reason: text(body?.reason), requestID: text(body?.request_id) ?? answer.headers.get("X-Request-Id"),
		wait: /^[0-9]{1,6}$/.test(wait) ? Number(wait) : null,
	};
	switch (answer.status) {
	case 401:
		return new Failure("You are not signed in.", facts);
	case 403:
		return new Failure("These are not your orders to see.", facts);
	case 404:
		return new Failure("There is no such page of orders.", facts);
	}
	return new Failure(answer.status >= 500 ? "Your orders cannot be shown right now." : text(body?.detail) ?? "The shop refused the request.", facts);
}

function text(value) { return typeof value === "string" && value !== "" ? value : null; }

function isPage(body) {
	return Number.isInteger(body?.count) && Array.isArray(body.results) && body.results.every(order =>
		text(order?.number) && !Number.isNaN(Date.parse(order.date_placed)) && /^[A-Z]{3}$/.test(order.currency) &&
		/^-?[0-9]+(\.[0-9]+)?$/.test(order.total_excl_tax) && Array.isArray(order.lines) && order.lines.every(line =>
			typeof line?.title === "string" && Number.isInteger(line.quantity) && typeof line.description === "string"));
}
