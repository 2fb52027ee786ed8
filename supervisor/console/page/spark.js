// Sparkline of up to 15 minutes of traffic: all requests as an area, what failed and what
// was refused upon it. Only what is in sight is drawn.

export const colours = {};

export function readColours() {
	const style = getComputedStyle(document.documentElement);
	for (const name of ["ink", "muted", "line", "traffic", "failed", "refused", "fallback", "surface"]) {
		colours[name] = style.getPropertyValue("--" + name).trim();
	}
}

const sparks = new Map(); // by canvas

const sizes = new ResizeObserver(entries => {
	for (const {target, contentRect} of entries) sparks.get(target)?.size(contentRect);
});
const sight = new IntersectionObserver(entries => {
	for (const {target, isIntersecting} of entries) sparks.get(target)?.see(isIntersecting);
}, {rootMargin: "200px"});

export function redrawSparks() {
	for (const spark of sparks.values()) spark.draw();
}

const least = 36; // places: 3 minutes

export class Spark {
	rows = [];
	peak = 0;
	places = least;
	seen = false;

	constructor() {
		this.canvas = document.createElement("canvas");
		this.canvas.setAttribute("aria-hidden", "true"); // its figures stand beside it
		sparks.set(this.canvas, this);
		sizes.observe(this.canvas);
		sight.observe(this.canvas);
	}

	end() {
		sparks.delete(this.canvas);
		sizes.unobserve(this.canvas);
		sight.unobserve(this.canvas);
	}

	size({width, height}) {
		const ratio = window.devicePixelRatio || 1;
		this.canvas.width = Math.round(width * ratio);
		this.canvas.height = Math.round(height * ratio);
		this.draw();
	}

	see(seen) {
		this.seen = seen;
		this.draw();
	}

	// set has rows drawn as the last of so many places, which are the same for all.
	set(rows, peak, places) {
		this.rows = rows;
		this.peak = peak;
		this.places = Math.max(least, places);
		this.draw();
	}

	draw() {
		if (!this.seen) return;
		const {width, height} = this.canvas, pen = this.canvas.getContext("2d");
		pen.clearRect(0, 0, width, height);
		pen.fillStyle = colours.line;
		pen.fillRect(0, height - 1, width, 1);
		if (!this.rows.length || this.peak === 0) return;
		const step = width / (this.places - 1), x = i => width - (this.rows.length - 1 - i) * step;
		const area = (colour, value, line) => {
			pen.beginPath();
			pen.moveTo(x(0), height);
			this.rows.forEach((row, i) => pen.lineTo(x(i), height - (height - 2) * Math.min(1, value(row) / this.peak)));
			pen.lineTo(width, height);
			pen.fillStyle = pen.strokeStyle = colour;
			pen.globalAlpha = line ? 0.22 : 0.9;
			pen.fill();
			pen.globalAlpha = 1;
			if (line) pen.stroke();
		};
		pen.lineWidth = window.devicePixelRatio || 1;
		area(colours.traffic, row => row[0], true);
		area(colours.refused, row => row[1] + row[2], false);
		area(colours.failed, row => row[1], false);
	}
}
