/** The page: rows in, verdict, expectation and embedding out. */

import { load } from "./aetool.mjs";
import { categoryOf, isMissing } from "./categories.mjs";
import { rowsOf } from "./csv.mjs";
import { largest, shares, shortest } from "./explanation.mjs";

const MOST_ROWS_SHOWN = 200;
const LARGEST = 3.4e38; // a threshold that was never chosen is float32's largest number
const at = (id) => document.getElementById(id);
const shown = (number) => (Number.isFinite(number) ? String(Number(number.toPrecision(4))) : String(number));

let model; // the bundle
let golden; // its rows
let inputs; // one field per value

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function goldenRow(index) {
  const row = golden.features.data.slice(index * model.width, (index + 1) * model.width);
  return model.toCells(Array.from(row, shortest));
}

/** The place of the golden row of a kind with the middle score, or -1. */
function typicalRow(anomalous) {
  const scores = Array.from(golden.score.data, (score, index) => ({ score, index }));
  const kind = scores.filter(({ index }) => Boolean(golden.is_anomaly.data[index]) === anomalous);
  kind.sort((a, b) => a.score - b.score);
  return kind.length ? kind[kind.length >> 1].index : -1;
}

function makeForm() {
  inputs = Array.from({ length: model.width }, (_, i) => {
    const feature = model.features[i] ?? { name: `value ${i + 1}` };
    const field = feature.categories
      ? element("select", {}, ...["", ...feature.categories].map((text) => element("option", { value: text }, text)))
      : element("input", { type: "text", inputMode: "decimal", spellcheck: false });
    field.id = `value-${i}`;
    const name = feature.unit ? `${feature.name} (${feature.unit})` : feature.name;
    // In <bdi>: a name turns no text around but its own.
    const label = element("th", { scope: "row" }, element("label", { htmlFor: field.id }, element("bdi", {}, name)));
    const bar = element("div", { className: "bar", role: "img" });
    const row = element("tr", {}, label, element("td", {}, field), element("td", { className: "number" }), element("td", {}, bar));
    row.lastChild.hidden = !explains();
    at("feature-rows").append(row);
    return { field, row, expected: row.children[2], bar, place: i, rank: i };
  });
}

function fill(cells) {
  cells.forEach((cell, i) => {
    const { field } = inputs[i];
    if (field.options) choose(field, cell);
    else field.value = cell === null ? "" : String(cell);
  });
  return scoreForm();
}

/** A category in its list, at the end of it where the model does not know it: unknown is not missing. */
function choose(list, cell) {
  list.querySelector(".unknown")?.remove();
  const text = isMissing(cell) ? "" : categoryOf(cell);
  if (!Array.from(list.options).some(({ value }) => value === text)) {
    list.append(element("option", { value: text, className: "unknown" }, `${text} (unknown)`));
  }
  list.value = text;
}

const explains = () => model.graphs.includes("explainer");

async function scoreForm() {
  try {
    const rows = [inputs.map(({ field }) => field.value)];
    const [score] = await model.score(rows);
    const [anomalous] = await model.detect(rows);
    const { reconstruction, embedding } = await model.run("autoencoder", rows);
    showExpected(reconstruction.data);
    if (explains()) showShares((await model.explain(rows))[0]);
    if (embedding) showEmbedding(embedding.data);
    showVerdict(score, anomalous);
    at("error").hidden = true;
  } catch (error) {
    fail(error);
  }
}

/** What was computed is of another row than the form holds now. */
function forget() {
  at("verdict").classList.remove("is-anomaly");
  at("verdict-word").textContent = "Not scored";
  at("verdict-word").className = "";
  at("verdict-score").textContent = "The row was changed: press Score.";
  at("scale-fill").style.width = "0";
}

function fail(error) {
  forget();
  at("verdict-score").textContent = "";
  at("error").hidden = false;
  at("error").textContent = error.message;
}

function showVerdict(score, anomalous) {
  at("verdict").classList.toggle("is-anomaly", anomalous);
  at("verdict-word").textContent = anomalous ? "Anomaly" : "Normal";
  at("verdict-word").className = anomalous ? "bad" : "good";
  const limit = model.threshold < LARGEST ? `up to ${shown(model.threshold)} is normal` : "the bundle has no threshold";
  at("verdict-score").textContent = `Score ${shown(score)}; ${limit}.`;
  const share = Number.isFinite(score) ? Math.min(1, score / (2 * model.threshold)) : 1; // the threshold in the middle
  at("scale-fill").style.width = `${100 * share}%`;
}

function showExpected(expected) {
  const cells = model.toCells(expected);
  inputs.forEach((input, i) => {
    const { categories } = model.features[i] ?? {};
    input.expected.textContent = categories ? cells[i] || "–" : shown(expected[i]);
  });
}

/** Each feature's share of the score; what is no number, or overflows, and so decides it alone, has all of it. */
function showShares(explanation) {
  const share = shares(explanation.contribution);
  const order = largest(explanation, inputs.length);
  const [first] = order;
  const endless = !Number.isFinite(explanation.contribution[first]);
  order.forEach((place, rank) => {
    const input = inputs[place];
    input.rank = rank;
    const whole = endless && place === first;
    input.bar.style.width = `${100 * (whole ? 1 : share[place])}%`;
    const told = whole ? "makes the score infinite" : `${shown(100 * share[place])} % of the score`;
    input.bar.title = told;
    input.bar.ariaLabel = told;
  });
  arrange();
}

function arrange() {
  const largestFirst = at("order").checked;
  const order = [...inputs].sort((a, b) => (largestFirst ? a.rank - b.rank : a.place - b.place));
  const body = at("feature-rows");
  if (order.some(({ row }, i) => body.children[i] !== row)) body.append(...order.map(({ row }) => row));
}

function showEmbedding(values) {
  const largest = Math.max(...Array.from(values, Math.abs), 1e-30);
  at("embedding-card").hidden = false;
  at("embedding-title").textContent = `Embedding, ${values.length} numbers`;
  at("embedding").setAttribute("aria-label", `Bar chart of the embedding's ${values.length} numbers`);
  at("embedding").replaceChildren(
    ...Array.from(values, (value) => {
      const bar = element("i");
      const height = `${(50 * Math.abs(value)) / largest}%`;
      Object.assign(bar.style, value < 0 ? { top: "50%", height } : { bottom: "50%", height });
      return element("span", {}, bar);
    }),
  );
  at("embedding-numbers").textContent = Array.from(values, shown).join(", ");
}

async function takeFile(file) {
  if (!file) return;
  try {
    const { cells, numbers } = rowsOf(new Uint8Array(await file.arrayBuffer()), model);
    if (!cells.length) throw new Error(`${file.name} has a header and no rows.`);
    const scores = await model.score(numbers);
    const verdicts = await model.detect(numbers);
    const order = Array.from(scores.keys()).sort((a, b) => rank(scores[b]) - rank(scores[a]));
    at("file").hidden = false;
    const flagged = verdicts.filter(Boolean).length;
    const part = order.length > MOST_ROWS_SHOWN ? `, the ${MOST_ROWS_SHOWN} highest shown` : "";
    at("file-title").textContent = `${file.name}: ${flagged} of ${order.length} rows are anomalies${part}`;
    at("file-rows").replaceChildren(...order.slice(0, MOST_ROWS_SHOWN).map((i) => {
      const open = element("button", { type: "button", className: "link" }, `Row ${i + 1}`);
      open.addEventListener("click", () => fill(cells[i]));
      const verdict = element("td", { className: verdicts[i] ? "bad" : "good" }, verdicts[i] ? "Anomaly" : "Normal");
      return element("tr", {}, element("td", {}, open), element("td", { className: "number" }, shown(scores[i])), verdict);
    }));
    const table = Array.from(scores, (score, i) => `${i + 1},${score},${verdicts[i]}\n`).join("");
    URL.revokeObjectURL(at("download").href);
    at("download").href = URL.createObjectURL(new Blob(["row,score,is_anomaly\n", table], { type: "text/csv" }));
    await fill(cells[order[0]]);
  } catch (error) {
    at("file").hidden = true;
    fail(error);
  }
}

const rank = (score) => (Number.isNaN(score) ? Infinity : score);

function showCheck({ rows, passed, maxScaledDifference, flipped, records }) {
  at("check-mark").textContent = passed ? "✓" : "✗";
  at("check-mark").classList.add(passed ? "good" : "bad");
  at("check-text").textContent = passed
    ? `This browser computes what was trained: ${rows} golden rows, largest difference ` +
      `${maxScaledDifference.toExponential(1)} of the range, no decision flipped.`
    : `This browser does not compute what was trained: difference ${maxScaledDifference.toExponential(1)} of the ` +
      `range, ${flipped} decisions flipped. Do not rely on it.`;
  at("check-rows").replaceChildren(
    ...records.map((record) => {
      const difference = record.output === "is_anomaly" ? "" : record.maxScaledDifference.toExponential(1);
      const decisions = record.output === "is_anomaly" ? String(record.flipped) : "";
      return element(
        "tr",
        {},
        ...[record.graph, record.output].map((text) => element("td", {}, text)),
        ...[difference, decisions].map((text) => element("td", { className: "number" }, text)),
      );
    }),
  );
}

function listen() {
  at("row").addEventListener("submit", (event) => {
    event.preventDefault();
    scoreForm();
  });
  at("feature-rows").addEventListener("input", forget);
  at("order").addEventListener("change", arrange);
  for (const [id, anomalous] of [["normal", false], ["abnormal", true]]) {
    const index = typicalRow(anomalous);
    at(id).hidden = index < 0;
    at(id).addEventListener("click", () => fill(goldenRow(index)));
  }
  at("csv").addEventListener("change", (event) => takeFile(event.target.files[0]));
  const drop = at("drop");
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
      if (name === "drop") takeFile(event.dataTransfer.files[0]);
    });
  }
}

async function start() {
  model = await load();
  golden = await model.golden();
  const into = model.embeddingShape ? `, embedding of ${model.embeddingShape.join(" × ")}` : "";
  const kind = model.features.length ? `${model.width} features` : `rows of ${model.inputShape.join(" × ")}`;
  at("about").textContent = `An autoencoder: ${kind}${into}. Everything is computed in this page; no row leaves it.`;
  at("bundle").textContent = model.manifest.id.slice(0, 12);
  for (const part of document.querySelectorAll(".explained")) part.hidden = !explains();
  makeForm();
  listen();
  await fill(goldenRow(Math.max(0, typicalRow(false))));
  showCheck(await model.check());
}

start().catch((error) => {
  at("check-mark").textContent = "✗";
  at("check-mark").classList.add("bad");
  at("check-text").textContent = `The model could not be loaded: ${error.message}`;
});
