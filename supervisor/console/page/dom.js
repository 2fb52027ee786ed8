// el makes an element. Children that are not nodes become text, and never markup.
export function el(tag, attributes, ...children) {
	const e = document.createElement(tag);
	for (const [name, value] of Object.entries(attributes ?? {})) {
		if (value === true) e.setAttribute(name, "");
		else if (value !== false && value != null) e.setAttribute(name, value);
	}
	e.append(...children.filter(c => c != null && c !== ""));
	return e;
}

// say sets a text that may be the same as before: then nothing is laid out anew.
export function say(e, text) {
	if (e.textContent !== text) e.textContent = text;
}

// mark does so for an attribute.
export function mark(e, name, value) {
	if (e.getAttribute(name) !== value) e.setAttribute(name, value);
}

// table has the semantics of one even where the style sheet stacks its cells. The
// first cell of a row is its heading.
export function table(caption, columns, rows) {
	const head = el("tr", {role: "row"}, ...columns.map(c => el("th", {role: "columnheader", scope: "col"}, c)));
	const body = rows.map(cells => el("tr", {role: "row"}, ...cells.map((cell, i) =>
		i === 0 ? el("th", {role: "rowheader", scope: "row", "data-label": columns[i]}, cell)
			: el("td", {role: "cell", "data-label": columns[i]}, cell))));
	return el("table", {role: "table"}, el("caption", {class: "unseen"}, caption),
		el("thead", {role: "rowgroup"}, head), el("tbody", {role: "rowgroup"}, ...body));
}
