// The order history page. It asks the coordinator for one page of orders at a time
// and says honestly what came: live orders, older or prepared ones, or none.

import {ask, Failure} from "./answer.js";

const pageSize = 5;
const users = Array.from({length: 8}, (_, i) => `test_learner_${i + 1}`);
const sources = {legacy: "/orders/order_history/", vendor: "/vendor/orders/order_history/"};
const byID = id => document.getElementById(id);

let asking = new AbortController(); // of the request under way

// The address has all that a reload needs, but for who is signed in.
function state() {
	const query = new URLSearchParams(location.search);
	const page = Number(query.get("page"));
	return {
		user: signedIn(), source: query.get("from") === "vendor" ? "vendor" : "legacy",
		page: Number.isInteger(page) && page > 0 ? page : 1,
	};
}

function signedIn() {
	const cookie = document.cookie.split("; ").find(c => c.startsWith("demo_session="));
	const user = cookie?.slice("demo_session=".length);
	return users.includes(user) ? user : null;
}

// A demo's way to sign in: the services believe it. A real session says nothing of
// its owner, is made by the server, and no script can read it.
function signIn(user) {
	document.cookie = `demo_session=${user}; Path=/; SameSite=Strict`;
}

function go(source, page) {
	const query = new URLSearchParams();
	if (source !== "legacy") {
		query.set("from", source);
	}
	if (page > 1) {
		query.set("page", page);
	}
	history.pushState(null, "", `?${query}`);
	return show();
}

// show asks for what the address names, and shows it. Of several calls the last wins.
async function show() {
	asking.abort();
	asking = new AbortController();
	const {signal} = asking;
	const {user, source, page} = state();
	byID("user").value = user;
	byID("source").value = source;
	byID("history").setAttribute("aria-busy", "true");
	byID("progress").textContent = "Loading the orders…";
	const query = new URLSearchParams({username: user, page, page_size: pageSize});
	try {
		const found = await ask(`${sources[source]}?${query}`, signal);
		showOrders(found, page);
	} catch (e) {
		if (signal.aborted) {
			return;
		}
		showFailure(e instanceof Failure ? e : new Failure("This page made a mistake of its own."), page);
	}
	byID("history").setAttribute("aria-busy", "false");
}

function showOrders({orders, count, fallback}, page) {
	const items = orders.map(orderItem);
	byID("problem").replaceChildren();
	byID("orders").replaceChildren(...items);
	byID("banner").replaceChildren(...(fallback ? banner(fallback) : []));
	const last = Math.max(Math.ceil(count / pageSize), 1);
	const first = (page - 1) * pageSize + 1;
	byID("progress").textContent = orders.length === 0
		? "There are no orders yet." : `Orders ${first} to ${first + orders.length - 1} of ${count}.`;
	byID("where").textContent = `Page ${page} of ${last}`;
	byID("pages").hidden = last === 1;
	byID("newer").disabled = page <= 1;
	byID("older").disabled = page >= last;
}

// showFailure leaves nothing on the page that could be taken for what was asked for.
function showFailure(failure, page) {
	const parts = [element("p", {}, element("strong", {}, failure.message), " No orders are shown; nothing has happened to them.")];
	if (failure.wait !== null) {
		parts.push(element("p", {}, `It may work again in about ${duration(failure.wait)}.`));
	}
	parts.push(tryAgain());
	const details = [failure.reason && `Reason: ${failure.reason}.`, failure.requestID && `Request: ${failure.requestID}.`].filter(Boolean);
	if (details.length > 0) {
		parts.push(element("p", {className: "quiet"}, details.join(" ")));
	}
	byID("banner").replaceChildren();
	byID("orders").replaceChildren();
	byID("progress").textContent = "";
	byID("problem").replaceChildren(...parts);
	byID("where").textContent = `Page ${page}`;
	byID("newer").disabled = page <= 1;
	byID("older").disabled = true;
	byID("pages").hidden = page <= 1;
}

function banner({kind, age}) {
	const old = age === null ? "" : duration(age);
	const words = kind === "stale"
		? `These are your orders as they were ${old ? old + " ago" : "some time ago"}. The service that keeps them does not answer at the moment, so newer ones may be missing.`
		: `The service that keeps your orders does not answer at the moment. This is prepared data${old ? ", " + old + " old" : ""}: it may differ from your orders.`;
	const text = element("p", {}, words);
	text.dataset.kind = kind;
	return [text, tryAgain()];
}

function tryAgain() {
	const button = element("button", {type: "button"}, "Try again");
	button.addEventListener("click", () => show().then(toHeading));
	return button;
}

function orderItem(order) {
	const placed = new Date(order.date_placed);
	const date = element("time", {dateTime: order.date_placed}, new Intl.DateTimeFormat(undefined, {dateStyle: "long"}).format(placed));
	const total = new Intl.NumberFormat(undefined, {style: "currency", currency: order.currency}).format(order.total_excl_tax);
	const lines = order.lines.map(line => {
		const item = element("li", {}, `${line.quantity} × ${line.title}`);
		if (line.description !== "" && line.description !== line.title) {
			item.append(element("div", {className: "quiet"}, line.description));
		}
		return item;
	});
	return element("li", {},
		element("div", {className: "head"}, element("h3", {}, `Order ${order.number}`), element("span", {}, total)),
		element("div", {className: "quiet"}, "Placed on ", date, ", total without tax"),
		element("ul", {}, ...lines));
}

function element(name, properties, ...children) {
	const e = Object.assign(document.createElement(name), properties);
	e.append(...children);
	return e;
}

// duration is seconds in words, in the largest unit that is there twice.
function duration(seconds) {
	const [unit, size] = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]].find(([, s]) => seconds >= 2 * s) ?? ["second", 1];
	return new Intl.NumberFormat("en", {style: "unit", unit, unitDisplay: "long"}).format(Math.floor(seconds / size));
}

// A button that was pressed may be gone or disabled: who uses the keyboard goes on
// from the heading.
function toHeading() { byID("heading").focus(); }

byID("unscripted").remove();
byID("user").replaceChildren(...users.map(user => new Option(user)));
byID("user").addEventListener("change", e => {
	signIn(e.target.value);
	go(state().source, 1);
});
byID("source").addEventListener("change", e => go(e.target.value, 1));
byID("choice").addEventListener("submit", e => e.preventDefault());
byID("newer").addEventListener("click", () => go(state().source, state().page - 1).then(toHeading));
byID("older").addEventListener("click", () => go(state().source, state().page + 1).then(toHeading));
addEventListener("popstate", show);
if (signedIn() === null) {
	signIn(users[0]);
}
show();
