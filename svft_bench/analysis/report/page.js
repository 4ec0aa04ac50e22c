let runs = [];
let byId = new Map();

// The data are lines of JSON, compressed and written in letters; the last ones may have had no room.
async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const lines = (await new Response(stream).text()).trim().split("\n").filter(Boolean).map((line) => JSON.parse(line));
  return (kind) => lines.flatMap((line) => (kind in line ? [line[kind]] : []));
}

// What a run has of its own, where there is room for it, and its examples.
function joined(told) {
  const found = told("runs").flat().map((run) => ({ spec: {}, provenance: {}, data: [], curve: [], ...run }));
  const byId = new Map(found.map((run) => [run.run_id, run]));
  const each = (kind, add) => told(kind).forEach((some) => Object.entries(some).forEach(([id, own]) => add(byId.get(id), own)));
  for (const run of found)
    for (const [name, total] of Object.entries(run.predictions)) run.predictions[name] = { total, rows: [] };
  each("details", (run, own) => Object.assign(run, own));
  each("examples", (run, own) => Object.entries(own).forEach(([name, rows]) => run.predictions[name].rows.push(...rows)));
  return byId;
}

// A figure that had no room leaves its title.
function showFigures(told) {
  const texts = Object.assign({}, ...told("figures"));
  const images = [...document.querySelectorAll("img[data-figure]")];
  for (const image of images.filter((one) => !(one.dataset.figure in texts))) image.remove();
  return Promise.all(images.filter((image) => image.dataset.figure in texts).map((image) => {
    image.src = URL.createObjectURL(new Blob([texts[image.dataset.figure]], { type: "image/svg+xml" }));
    return image.decode();
  }));
}

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function headline(run) {
  return Object.entries(run.scores).map(([name, metrics]) => {
    const [metric, value] = Object.entries(metrics)[0];
    return `${run.shown[name]} ${metric} ${value.toFixed(4)}`;
  }).join(", ");
}

// Columns of the list of runs: heading, text of a run, whether it is a number.
const columns = [
  ["run", (run) => run.run_id, false],
  ["method", (run) => run.method, false],
  ["score", headline, false],
  ["model", (run) => run.model, false],
  ["task", (run) => run.task, false],
  ["seed", (run) => String(run.seed), true],
  ["trained", (run) => count(run.sizes.trainable - run.sizes.trainable_head), true],
  ["train s", (run) => run.costs.train_seconds.toFixed(1), true],
  ["memory MiB", (run) => count(Math.round(run.costs.peak_memory_bytes / 2 ** 20)), true],
  ["made", (run) => run.made, false],
];

function listRuns() {
  const table = document.getElementById("runs");
  table.tHead.append(make("tr", {}, ...columns.map(([name, , number]) =>
    make("th", { textContent: name, className: number ? "right" : "left" }))));
  for (const run of runs) {
    const row = make("tr", {});
    columns.forEach(([name, text, number]) => {
      const content = name === "run" ? make("a", { href: `#run=${run.run_id}`, textContent: run.run_id }) : text(run);
      row.append(make("td", { className: number ? "right" : "left" }, content));
    });
    table.tBodies[0].append(row);
  }
}

function filterRuns() {
  const words = document.getElementById("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = [...document.getElementById("runs").tBodies[0].rows];
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
  document.getElementById("count").textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length}`;
}

// Numbers sort as numbers, by the first one in the cell; everything else as text.
function value(cell) {
  const text = cell.textContent.trim();
  const number = /^[+-]?[\d,]*\.?\d+(e[+-]?\d+)?/i.exec(text);
  return cell.classList.contains("right") && number ? Number(number[0].replaceAll(",", "")) : text;
}

function compare(left, right) {
  if (typeof left === "number" && typeof right === "number") return left - right;
  if (typeof left !== typeof right) return typeof left === "number" ? -1 : 1;
  return left.localeCompare(right);
}

function sortBy(table, index) {
  const head = table.tHead.rows[0].cells[index];
  const ascending = head.getAttribute("aria-sort") !== "ascending";
  for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => compare(value(a.cells[index]), value(b.cells[index])) * (ascending ? 1 : -1));
  table.tBodies[0].append(...rows);
}

function flat(values, path = "", found = new Map()) {
  for (const [key, item] of Object.entries(values)) {
    if (item !== null && typeof item === "object" && !Array.isArray(item)) flat(item, `${path}${key}.`, found);
    else found.set(path + key, item !== null && typeof item === "object" ? JSON.stringify(item) : String(item));
  }
  return found;
}

function facts(run) {
  const { spec, scores, sizes, costs, selected, provenance } = run;
  return flat({ spec, scores, sizes, costs, selected, provenance });
}

function showDifferences() {
  const chosen = ["first", "second"].map((id) => byId.get(document.getElementById(id).value));
  const table = document.getElementById("differences");
  table.hidden = !chosen[0] || !chosen[1];
  table.tHead.replaceChildren();
  table.tBodies[0].replaceChildren();
  if (table.hidden) return;
  const [left, right] = chosen.map(facts);
  table.tHead.append(make("tr", {}, ...["field", ...chosen.map((run) => run.run_id)].map((textContent) => make("th", { textContent }))));
  for (const key of new Set([...left.keys(), ...right.keys()])) {
    if (left.get(key) === right.get(key)) continue;
    const texts = [key, left.get(key) ?? "", right.get(key) ?? ""];
    table.tBodies[0].append(make("tr", {}, ...texts.map((textContent) => make("td", { textContent }))));
  }
}

function curve(points) {
  const [width, height, pad] = [560, 200, 40];
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("class", "curve");
  svg.setAttribute("width", width);
  const [steps, losses] = [points.map((point) => point[0]), points.map((point) => point[1])];
  const span = (all) => [Math.min(...all), Math.max(...all) - Math.min(...all) || 1];
  const [[x0, dx], [y0, dy]] = [span(steps), span(losses)];
  const line = document.createElementNS(space, "polyline");
  line.setAttribute("points", points.map(([x, y]) =>
    `${pad + (x - x0) / dx * (width - 2 * pad)},${height - pad - (y - y0) / dy * (height - 2 * pad)}`).join(" "));
  line.setAttribute("fill", "none");
  line.setAttribute("stroke", "black");
  svg.append(line);
  const texts = [[`loss ${losses[0].toPrecision(3)} at step ${steps[0]}`, pad, 20, "start"],
    [`loss ${losses.at(-1).toPrecision(3)} at step ${steps.at(-1)}`, width - pad, height - 12, "end"]];
  for (const [text, x, y, anchor] of texts) {
    const label = document.createElementNS(space, "text");
    label.textContent = text;
    label.setAttribute("x", x);
    label.setAttribute("y", y);
    label.setAttribute("text-anchor", anchor);
    label.setAttribute("font-size", "12");
    svg.append(label);
  }
  return svg;
}

function grid(heads, rows) {
  const body = rows.map((cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, cell))));
  const top = make("tr", {}, ...heads.map((textContent) => make("th", { textContent })));
  return make("div", { className: "wide" }, make("table", {}, make("thead", {}, top), make("tbody", {}, ...body)));
}

const isPicture = (item) => String(item).startsWith("data:image/");
const picture = (row) => make("img", { src: row.prediction, alt: String(row.reference), className: "drawn" });

function gallery(rows) {
  const shown = rows.map((row) => make("figure", {}, picture(row),
    make("figcaption", { textContent: `${row.id}: ${row.reference}` })));
  return make("div", { className: "gallery" }, ...shown);
}

function predictions(name, { total, rows }) {
  const judged = rows.some((row) => row.right !== null);
  const mark = (row) => make("span", { className: "mark", textContent: row.right ? "right" : "wrong" });
  const text = (item) => make("pre", { textContent: String(item) });
  const heading = `${name}: ${count(rows.length)} of ${count(total)} predictions`;
  if (rows.some((row) => isPicture(row.prediction))) return [make("h3", { textContent: heading }), gallery(rows)];
  const cells = rows.map((row) => [row.id, ...(judged ? [mark(row)] : []), text(row.prediction), text(row.reference)]);
  return [make("h3", { textContent: heading }), grid(["id", ...(judged ? ["verdict"] : []), "prediction", "reference"], cells)];
}

function showRun(run) {
  const page = document.getElementById("run");
  const named = [["specification", run.spec], ["sizes", run.sizes], ["costs", run.costs], ["provenance", run.provenance]];
  const data = run.data.map((use) => [use.label, use.split, `${count(use.used)} of ${count(use.rows)}`, use.origin, use.sha256 ?? ""]);
  page.replaceChildren(
    make("p", {}, make("a", { href: "#runs-of-all", textContent: "← all runs" })),
    make("h2", { textContent: `${run.model} · ${run.method} · ${run.task} · seed ${run.seed}` }),
    make("p", { textContent: `${headline(run)} (run ${run.run_id})` }),
    make("h3", { textContent: "Learning curve" }),
    run.curve.length > 1 ? curve(run.curve) : make("p", { textContent: "no curve is here" }),
    make("h3", { textContent: "data" }),
    grid(["label", "split", "used", "origin", "sha256"], data),
    ...named.flatMap(([title, values]) =>
      [make("h3", { textContent: title }), grid(["field", "value"], [...flat(values)])]),
    ...Object.entries(run.predictions).flatMap(([name, found]) => predictions(name, found)),
  );
}

function route() {
  const run = byId.get(location.hash.replace("#run=", ""));
  document.getElementById("overview").hidden = Boolean(run);
  document.getElementById("run").hidden = !run;
  if (run) { showRun(run); window.scrollTo(0, 0); return; }
  const part = document.getElementById(location.hash.slice(1));
  if (part instanceof HTMLDetailsElement) part.open = true;
  part?.scrollIntoView();
}

// The examples that two runs both have, with the verdict on each.
function showExamples() {
  const [left, right] = ["first", "second"].map((id) => byId.get(document.getElementById(id).value));
  const side = document.getElementById("side");
  side.replaceChildren();
  document.getElementById("shared").textContent = "";
  if (!left || !right) return;
  const which = document.getElementById("which").value;
  const kept = { all: () => true, first: (a, b) => a.right && !b.right, second: (a, b) => !a.right && b.right, neither: (a, b) => !a.right && !b.right }[which];
  const verdict = (row) => (row.right === null ? "" : row.right ? "right: " : "wrong: ");
  const text = (row) => isPicture(row.prediction) ? picture(row)
    : make("pre", { textContent: `${verdict(row)}${row.prediction}` });
  let total = 0;
  for (const name of Object.keys(left.predictions).filter((item) => item in right.predictions)) {
    const others = new Map(right.predictions[name].rows.map((row) => [row.id, row]));
    const both = left.predictions[name].rows.filter((row) => others.has(row.id)).map((row) => [row, others.get(row.id)]);
    const rows = both.filter(([a, b]) => kept(a, b));
    total += rows.length;
    side.append(make("h3", { textContent: `${name}: ${rows.length} of ${both.length} shared examples` }),
      grid(["id", left.run_id, right.run_id, "reference"],
        rows.map(([a, b]) => [a.id, text(a), text(b), make("pre", { textContent: String(a.reference) })])));
  }
  document.getElementById("shared").textContent = `${total} shown`;
}

async function start() {
  const told = await unpacked(document.getElementById("data").textContent);
  byId = joined(told);
  runs = [...byId.values()];
  fillBudgets(told("points").flat());
  listRuns();
  filterRuns();
  for (const id of ["first", "second"]) {
    const select = document.getElementById(id);
    select.append(make("option", { value: "", textContent: "a run" }));
    for (const run of runs) {
      const name = `${run.model} ${run.method} ${run.task} seed ${run.seed} (${run.run_id})`;
      select.append(make("option", { value: run.run_id, textContent: name }));
    }
    select.addEventListener("change", showDifferences);
    select.addEventListener("change", showExamples);
  }
  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((cell, index) => {
      cell.tabIndex = 0;
      cell.addEventListener("click", () => sortBy(table, index));
      cell.addEventListener("keydown", (event) => { if (event.key === "Enter") sortBy(table, index); });
    });
  }
  document.getElementById("filter").addEventListener("input", filterRuns);
  document.getElementById("which").addEventListener("change", showExamples);
  window.addEventListener("hashchange", route);
  route();
  await showFigures(told);
}

const ready = start();
