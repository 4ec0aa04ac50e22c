"use strict";
// Score against budget: the cells of one experiment, on one eval, each with its interval; the budgets of a line joined.
const [WIDTH, HEIGHT, PAD] = [760, 400, 52];
const CHOICES = ["experiment", "eval", "model", "method"];
let points = [];

function count(number) { return number.toLocaleString("en-US"); }

function brief(number) {
  return number >= 1e6 ? `${number / 1e6}M` : number >= 1e3 ? `${number / 1e3}K` : String(number);
}

// Shapes of marks, as figures have them: regular polygons by corners and turn, the rest by their own outline.
const polygons = { o: [24, 0], s: [4, 45], D: [4, 0], "^": [3, 0], v: [3, 180], "<": [3, 270], ">": [3, 90], p: [5, 0], h: [6, 0], 8: [8, 0], d: [4, 0] };
const outlines = { P: [4, 0.35, 0], X: [4, 0.35, 45], "*": [5, 0.4, 0] };

function shape(marker, x, y, size) {
  const [corners, inner, turn] = outlines[marker] ?? [polygons[marker]?.[0] ?? 24, 1, polygons[marker]?.[1] ?? 0];
  const steps = inner < 1 ? 2 * corners : corners;
  return Array.from({ length: steps }, (_, index) => {
    const angle = (turn / 180 + 2 * index / steps - 0.5) * Math.PI;
    const reach = size * (inner < 1 && index % 2 ? inner : 1) * (marker === "d" && index % 2 ? 0.6 : 1);
    return `${(x + reach * Math.cos(angle)).toFixed(1)},${(y + reach * Math.sin(angle)).toFixed(1)}`;
  }).join(" ");
}

function drawn(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function told(point) {
  const ends = point.ends ? ` [${point.ends.map((end) => end.toFixed(1)).join(", ")}]` : "";
  const learns = point.learns ? "" : ", learns at no seed";
  return `${point.name} on ${point.model}, ${point.eval}: ${point.mean.toFixed(1)}${ends}, ${count(point.trained)} trained, ${point.seeds} seeds${learns}`;
}

// From the lowest to the highest of some numbers, with a margin; a single one has room around it.
function span(all) {
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const margin = (high - low || 1) * 0.05;
  return [low - margin, high + margin];
}

function scale([low, high], from, to) { return (value) => from + (value - low) / (high - low) * (to - from); }

// Round numbers within two ends, about five of them.
function ticks([low, high]) {
  const rough = (high - low) / 5;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= rough);
  return Array.from({ length: Math.floor(high / step) - Math.ceil(low / step) + 1 }, (_, index) => (Math.ceil(low / step) + index) * step);
}

// One and three of every power of ten within two ends, which are logarithms.
function budgetTicks([low, high]) {
  const powers = Array.from({ length: Math.ceil(high) - Math.floor(low) + 1 }, (_, index) => Math.floor(low) + index);
  return powers.flatMap((power) => [10 ** power, 3 * 10 ** power]).filter((budget) => low <= Math.log10(budget) && Math.log10(budget) <= high);
}

function axes(svg, x, y, xs, ys) {
  const [left, right, bottom] = [PAD, WIDTH - PAD, HEIGHT - PAD];
  const text = (attributes, content) => svg.append(drawn("text", { "font-size": 11, ...attributes }, content));
  for (const score of ticks(ys)) {
    svg.append(drawn("line", { x1: left, x2: right, y1: y(score), y2: y(score), stroke: "#ddd" }));
    text({ x: left - 6, y: y(score) + 4, "text-anchor": "end" }, String(Number(score.toPrecision(6))));
  }
  for (const budget of xs ? budgetTicks(xs) : [])
    text({ x: x(budget), y: bottom + 16, "text-anchor": "middle" }, brief(budget));
  text({ x: (left + right) / 2, y: bottom + 36, "text-anchor": "middle" }, "trained parameters without the head");
  text({ x: 12, y: (PAD + bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${(PAD + bottom) / 2})` }, "score × 100");
}

// A group of the figure that tells its cell to whoever points at it or comes to it by the keyboard.
function telling(point, attributes, ...children) {
  const group = drawn("g", { tabindex: 0, ...attributes }, drawn("title", {}, told(point)), ...children);
  for (const event of ["mouseenter", "focus"])
    group.addEventListener(event, () => { document.getElementById("told").textContent = told(point); });
  return group;
}

// The cells of one line: a level where nothing but the head is trained, else marks, joined where they are several.
function drawLine(svg, own, x, y) {
  const colour = own[0].look[0];
  for (const point of own.filter((one) => !one.trained))
    svg.append(telling(point, { stroke: colour }, drawn("line", { x1: PAD, x2: WIDTH - PAD, y1: y(point.mean), y2: y(point.mean), "stroke-dasharray": "2 3" })));
  const marks = own.filter((one) => one.trained).sort((a, b) => a.trained - b.trained);
  const spans = marks.filter((point) => point.ends);
  const corner = (end) => (point) => `${x(point.trained)},${y(point.ends[end])}`;
  if (spans.length > 1)
    svg.append(drawn("polygon", { points: [...spans.map(corner(0)), ...spans.map(corner(1)).reverse()].join(" "), fill: colour, "fill-opacity": 0.13 }));
  if (marks.length > 1)
    svg.append(drawn("polyline", { points: marks.map((point) => `${x(point.trained)},${y(point.mean)}`).join(" "), fill: "none", stroke: colour }));
  for (const point of marks) {
    const bar = spans.length === 1 && point.ends
      ? [drawn("line", { x1: x(point.trained), x2: x(point.trained), y1: y(point.ends[0]), y2: y(point.ends[1]), "stroke-opacity": 0.5 })] : [];
    const mark = drawn("polygon", { points: shape(point.look[1], x(point.trained), y(point.mean), 5), fill: point.learns ? colour : "white" });
    svg.append(telling(point, { stroke: colour }, ...bar, mark));
  }
}

function legend(lines) {
  const one = ([name, [{ look: [colour, marker], trained }]]) => {
    const svg = drawn("svg", { width: 16, height: 12, viewBox: "0 0 16 12" });
    svg.append(trained ? drawn("polygon", { points: shape(marker, 8, 6, 5), fill: colour })
      : drawn("line", { x1: 0, x2: 16, y1: 6, y2: 6, stroke: colour, "stroke-dasharray": "2 3" }));
    const item = document.createElement("span");
    item.append(svg, ` ${name}`);
    return item;
  };
  const box = Object.assign(document.createElement("div"), { className: "legend" });
  box.append(...lines.map(one));
  return box;
}

const choice = (key) => document.getElementById(`by-${key}`).value;

function showBudgets() {
  const shown = points.filter((point) => CHOICES.every((key) => !choice(key) || point[key] === choice(key)));
  const svg = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "budget", width: WIDTH });
  const lines = new Map();
  const several = ["experiment", "model", "eval"].filter((key) => new Set(shown.map((point) => point[key])).size > 1);
  for (const point of shown) {
    const own = several.includes("experiment") ? point.name : point.line;  // budgets are joined within an experiment
    const name = [own, ...several.map((key) => point[key])].join(", ");
    lines.set(name, [...(lines.get(name) ?? []), point]);
  }
  const budgets = shown.filter((point) => point.trained).map((point) => Math.log10(point.trained));
  const xs = budgets.length ? span(budgets) : null;
  const ys = shown.length ? span(shown.flatMap((point) => [point.mean, ...(point.ends ?? [])])) : [0, 100];
  const place = xs ? scale(xs, PAD, WIDTH - PAD) : () => PAD;
  const x = (budget) => place(Math.log10(budget));
  const y = scale(ys, HEIGHT - PAD, PAD / 2);
  axes(svg, x, y, xs, ys);
  for (const own of lines.values()) drawLine(svg, own, x, y);
  document.getElementById("scatter").replaceChildren(svg, ...(lines.size <= 40 ? [legend([...lines])] : []));
  document.getElementById("told").textContent = `${shown.length} of ${points.length} cells`;
}

// What can be chosen in one menu, given the menus before it; what was chosen stays where it can.
function offer(key) {
  const before = CHOICES.slice(0, CHOICES.indexOf(key));
  const left = points.filter((point) => before.every((one) => !choice(one) || point[one] === choice(one)));
  const names = [...new Set(left.map((point) => point[key]))];
  const select = document.getElementById(`by-${key}`);
  const chosen = select.value;
  const option = (value, textContent) => Object.assign(document.createElement("option"), { value, textContent });
  select.replaceChildren(option("", "all"), ...names.map((name) => option(name, name)));
  if (names.includes(chosen)) select.value = chosen;
  else if (key === "eval" && names.length) select.value = names[0];
}

// The figure begins with the first experiment of the page and its first eval.
function fillBudgets(all) {
  points = all;
  offer("experiment");
  if (points.length) document.getElementById("by-experiment").value = points[0].experiment;
  CHOICES.slice(1).forEach(offer);
  CHOICES.forEach((key, index) => document.getElementById(`by-${key}`).addEventListener("change", () => {
    CHOICES.slice(index + 1).forEach(offer);
    showBudgets();
  }));
  showBudgets();
}

