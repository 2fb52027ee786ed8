// What the coordinator says of an answer: whether it was given in the backend's
// place, and how old it is.

// fallbackOf is null for a live answer, else its kind, "stale" or "backup", and its
// age in seconds, null if that is not said.
export function fallbackOf(headers) {
	const ours = parseList(headers.get("Cache-Status") ?? "").find(m => m.item === "coordinator");
	const kind = ours?.params.get("detail");
	if (kind !== "stale" && kind !== "backup") {
		return null;
	}
	const age = headers.get("Age") ?? "";
	return {kind, age: /^[0-9]{1,10}$/.test(age) ? Number(age) : null};
}

// parseList reads a List of Items (RFC 9651 section 4.2.1), which Cache-Status is
// (RFC 9211 section 2). A field that breaks the grammar anywhere says nothing.
export function parseList(text) {
	const input = {text: text.replace(/^ +| +$/g, ""), at: 0};
	const members = [];
	try {
		while (input.at < input.text.length) {
			members.push({item: bareItem(input), params: parameters(input)});
			take(input, /[ \t]*/y);
			if (input.at === input.text.length) {
				return members;
			}
			must(input, /,[ \t]*/y);
			if (input.at === input.text.length) {
				return [];
			}
		}
	} catch {
		return [];
	}
	return members;
}

function parameters(input) {
	const all = new Map();
	while (take(input, /; */y) !== null) {
		const key = must(input, /[a-z*][a-z0-9_.*-]*/y);
		all.set(key, take(input, /=/y) === null ? true : bareItem(input));
	}
	return all;
}

function bareItem(input) {
	switch (input.text[input.at]) {
	case '"':
		return must(input, /"(?:[ !#-\[\]-~]|\\["\\])*"/y).slice(1, -1).replace(/\\(.)/g, "$1");
	case "?":
		return must(input, /\?[01]/y) === "?1";
	case ":":
		return must(input, /:[A-Za-z0-9+/=]*:/y);
	case "@":
		return must(input, /@-?[0-9]{1,15}/y);
	case "%":
		return must(input, /%"(?:[ !#$&-~]|%[0-9a-f]{2})*"/y);
	}
	const number = take(input, /-?(?:[0-9]{1,12}\.[0-9]{1,3}|[0-9]{1,15})(?![0-9.])/y);
	return number !== null ? Number(number) : must(input, /[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*/y);
}

// take is what stands next if it matches, else null.
function take(input, pattern) {
	pattern.lastIndex = input.at;
	const found = pattern.exec(input.text);
	if (found === null) {
		return null;
	}
	input.at = pattern.lastIndex;
	return found[0];
}

function must(input, pattern) {
	const found = take(input, pattern);
	if (found === null) {
		throw new SyntaxError("not a list of items");
	}
	return found;
}
