const thin = "\u202f"; // between a number and its unit

function digits(x) {
	return x >= 100 || Number.isInteger(x) ? Math.round(x).toLocaleString("en") : x.toPrecision(2);
}

export function rate(x) {
	return (x >= 10 ? digits(x) : x.toFixed(1).replace(/\.0$/, "")) + "/s";
}

export function milliseconds(x) {
	if (!x) return "–";
	if (x < 1) return digits(Math.round(x * 1000)) + thin + "µs";
	return x < 1000 ? digits(x) + thin + "ms" : digits(x / 1000) + thin + "s";
}

export function percent(share) {
	const x = 100 * share;
	return (x === 0 || x >= 10 ? Math.round(x) : x < 0.1 ? "< 0.1" : x.toFixed(1)) + thin + "%";
}

export function bytes(n) {
	return n >= 2 ** 30 ? digits(n / 2 ** 30) + thin + "GiB" : n ? digits(n / 2 ** 20) + thin + "MiB" : "–";
}

export function age(seconds) {
	const s = Math.max(0, Math.round(seconds));
	if (s < 120) return s + thin + "s";
	if (s < 7200) return Math.round(s / 60) + thin + "min";
	return s < 172800 ? Math.round(s / 3600) + thin + "h" : Math.round(s / 86400) + thin + "days";
}

export const since = time => age((Date.now() - Date.parse(time)) / 1000);
export const clock = time => new Date(time).toLocaleTimeString("en-GB");
export const count = (n, noun) => n === 1 ? "1 " + noun : n.toLocaleString("en") + " " + noun + "s";
