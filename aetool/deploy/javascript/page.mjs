/** The page: rows in, verdict, expectation and embedding out. */

import { load } from "./aetool.mjs";
import { categoryOf, cellToNumber, isMissing } from "./categories.mjs";
import { rowsOf } from "./csv.mjs";
import { labelsOf, largest, shares, shortest } from "./explanation.mjs";
import { showImages } from "./images.mjs";
import { drawGroup } from "./live.mjs";
import { logOf } from "./log.mjs";
import { eventsOfRun, momentsOfRun, smoothingOf } from "./moments.mjs";

const MOST_DECADES = 4; // to each side of the threshold
const MOST_TICKS = 5;
const REASONS = 3;
const MOST_CALIBRATED = 2000; // scores of normal rows that a bundle keeps
const CHANGED = ", changed";
const LARGEST = 3.4e38; // a threshold that was never chosen is float32's largest number
const at = (id) => document.getElementById(id);
const shown = (number) => (Number.isFinite(number) ? String(Number(number.toPrecision(4))) : String(number));

let model; // the bundle
let golden; // its rows
let inputs = []; // one field per value; none where rows are images
let imageShape; // where they are
let imageRow; // what is shown of them
let decimalComma; // numbers may be typed as the training table wrote them
let scale; // score => place on the axis, 0 to 1
let rowName = "";
let queue = Promise.resolve(); // of what is to be scored
let turns = 0; // of the form: what was begun before the last one is not shown
let worker; // that reads a file
let labels; // of the values of a window
let logs = 0; // that were taken

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Name, unit and categories of a value of a row; in a window, the name of its channel and its place in time. */
function featureAt(place) {
  if (!model.features.length) return { name: `value ${place + 1}` };
  if (!model.manifest.series) return model.features[place];
  labels ??= labelsOf(model);
  return { ...model.features[place % model.features.length], name: labels[place] };
}

const goldenNumbers = (index) => golden.features.data.slice(index * model.width, (index + 1) * model.width);

const goldenName = (index) => `${golden.is_anomaly.data[index] ? "An abnormal row" : "A normal row"}, golden row ${index + 1}`;

const fillGolden = (index) => fill(model.toCells(Array.from(goldenNumbers(index), shortest)), goldenName(index));

/** The place of the golden row of a kind with the middle score, or -1. */
function typicalRow(anomalous) {
  const scores = Array.from(golden.score.data, (score, index) => ({ score, index }));
  const kind = scores.filter(({ index }) => Boolean(golden.is_anomaly.data[index]) === anomalous);
  kind.sort((a, b) => a.score - b.score);
  return kind.length ? kind[kind.length >> 1].index : -1;
}

/** Choose what the page shows of a row: a picture, or a form. */
function choosePanels() {
  const { image, series } = model.manifest;
  imageShape = image ?? (model.inputShape.length === 3 && !series ? model.inputShape : undefined);
  for (const part of document.querySelectorAll(".explained")) part.hidden = !explains() || Boolean(imageShape);
  at("image").hidden = !imageShape;
  at("form").hidden = Boolean(imageShape);
  if (!series) return;
  at("fold").open = false; // a field for each number of a window
  at("fold-name").hidden = false;
  at("live-smooth").value = smoothingOf(model).join("/");
}

function makeForm() {
  inputs = Array.from({ length: model.width }, (_, i) => {
    const feature = featureAt(i);
    const field = feature.categories
      ? element("select", {}, ...["", ...feature.categories].map((text) => element("option", { value: text }, text)))
      : element("input", { type: "text", inputMode: "decimal", spellcheck: false });
    field.id = `value-${i}`;
    const name = feature.unit ? `${feature.name} (${feature.unit})` : feature.name;
    // In <bdi>: a name turns no text around but its own.
    const label = element("th", { scope: "row" }, element("label", { htmlFor: field.id }, element("bdi", {}, name)));
    const wrong = element("p", { className: "error", id: `error-${i}`, hidden: true });
    const bar = element("div", { className: "bar" });
    const share = element("span", { className: "number" });
    const row = element(
      "tr",
      {},
      label,
      element("td", {}, field, wrong),
      element("td", { className: "number" }),
      element("td", {}, element("div", { className: "share" }, element("div", { className: "track" }, bar), share)),
    );
    row.lastChild.hidden = !explains();
    at("feature-rows").append(row);
    return { field, row, wrong, expected: row.children[2], bar, share, place: i, rank: i };
  });
}

/** Put a row into the form, and score it; `name` says which row it is. */
function fill(cells, name) {
  showRowCards(true);
  if (imageShape) imageRow = Float32Array.from(model.toNumbers(cells));
  else fillForm(cells);
  nameRow(name);
  return scoreForm();
}

function fillForm(cells) {
  cells.forEach((cell, i) => {
    const { field } = inputs[i];
    if (field.options) choose(field, cell);
    else field.value = cell === null ? "" : String(cell);
  });
}

function nameRow(name) {
  rowName = name;
  at("row-name").replaceChildren(element("bdi", {}, name));
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

/** The row in the form as numbers, or undefined, once the fields that are wrong have been told. */
function numbersInForm() {
  if (imageShape) return imageRow;
  const numbers = new Float32Array(inputs.length);
  const names = [];
  inputs.forEach(({ field, wrong }, i) => {
    const { name, categories } = featureAt(i);
    let message = "";
    try {
      const text = decimalComma && !categories ? field.value.replace(",", ".") : field.value;
      numbers[i] = cellToNumber(text, categories && new Map(categories.map((text, index) => [text, index])), name);
    } catch {
      message = "Not a number";
      names.push(name);
    }
    wrong.textContent = message;
    wrong.hidden = !message;
    field.ariaInvalid = message ? "true" : null;
    if (message) field.setAttribute("aria-describedby", wrong.id);
    else field.removeAttribute("aria-describedby");
  });
  if (!names.length) return numbers;
  forget(`Correct ${names[0]}${names.length > 1 ? ` and ${names.length - 1} more` : ""}.`);
  return undefined;
}

/** Score the form, one run at a time; rows that were typed over meanwhile are left out. */
function scoreForm() {
  turns += 1;
  const turn = turns;
  at("verdict").ariaBusy = "true";
  queue = queue.then(() => (turn === turns ? scoreTurn(turn) : undefined));
  return queue;
}

async function scoreTurn(turn) {
  try {
    const numbers = numbersInForm();
    if (!numbers) return;
    const { score } = await model.run("detector", numbers);
    const { reconstruction, embedding } = await model.run("autoencoder", numbers);
    const [explanation] = explains() && !imageShape ? await model.explain(numbers) : [];
    const [pValue] = model.hasPValues ? await model.pValue(numbers) : [];
    if (turn !== turns) return;
    if (imageShape) showRow(numbers, reconstruction.data);
    else showExpected(reconstruction.data);
    if (explanation) showShares(explanation);
    if (embedding) showEmbedding(embedding.data);
    showVerdict(score.data[0], pValue);
  } catch (error) {
    if (turn === turns) forget(error.message);
  } finally {
    if (turn === turns) at("verdict").ariaBusy = null;
  }
}

/** Show nothing of the form, not even of what is being scored. */
function cancel(why) {
  turns += 1;
  at("verdict").ariaBusy = null;
  forget(why);
}

/** Take away all that was computed: it is of another row than what is asked for now. */
function forget(why) {
  at("verdict").classList.remove("is-anomaly");
  at("verdict-word").textContent = "Not scored";
  at("verdict-word").className = "";
  at("verdict-score").textContent = why;
  at("verdict-p").textContent = "";
  echo("Not scored", "");
  at("scale-fill").style.width = "0";
  at("reasons").replaceChildren();
  at("embedding").replaceChildren();
  at("embedding-numbers").textContent = "";
  for (const name of ["found", "expected", "difference"]) at(name).width = 0;
  for (const { expected, bar, share } of inputs) {
    expected.textContent = share.textContent = bar.title = "";
    bar.style.width = "0";
  }
}

function showVerdict(score, pValue) {
  const anomalous = !(score <= model.threshold);
  at("verdict").classList.toggle("is-anomaly", anomalous);
  at("verdict-word").textContent = anomalous ? "Anomaly" : "Normal";
  at("verdict-word").className = anomalous ? "bad" : "good";
  const limit = hasThreshold() ? `up to ${shown(model.threshold)} is normal` : "the bundle has no threshold";
  at("verdict-score").textContent = `Score ${shown(score)}; ${limit}.`;
  at("verdict-p").textContent = pValue === undefined ? "" : rarity(pValue);
  echo(`${at("verdict-word").textContent}, score ${shown(score)}`, at("verdict-word").className);
  at("scale-fill").style.width = `${100 * (Number.isNaN(score) ? 1 : scale(score))}%`;
}

/** A p-value in words; one below all that can be counted is extrapolated. */
function rarity(pValue) {
  const one = model.manifest.series ? "window" : "row";
  const p = pValue < 1e-6 ? "p < 0.000001" : `p = ${shown(pValue)}`;
  if (pValue < 1 / MOST_CALIBRATED) return `${p}: no known normal ${one} scores this high.`;
  if (pValue > 0.1) return `${p}: about ${percent(pValue)} of normal ${one}s score this high.`;
  return `${p}: about 1 in ${Number((1 / pValue).toPrecision(2)).toLocaleString("en")} normal ${one}s scores this high.`;
}

/** The verdict beside the fields, where the page is scrolled down to them. */
function echo(text, kind) {
  at("echo").textContent = text;
  at("echo").className = kind;
}

const hasThreshold = () => model.threshold < LARGEST;

/** Draw the axis below the score: around the golden rows' scores and the threshold, in decades unless some are 0 or less. */
function makeScale() {
  const scores = Array.from(golden.score.data).filter((score) => Math.abs(score) < LARGEST);
  const all = hasThreshold() ? [...scores, model.threshold] : scores;
  const inDecades = all.every((score) => score > 0);
  const of = inDecades ? Math.log10 : (score) => score;
  const [lowest, highest] = [of(Math.min(...all)), of(Math.max(...all))];
  let [from, to] = [lowest, highest + (highest - lowest || 1) / 10];
  if (inDecades) {
    const middle = hasThreshold() ? of(model.threshold) : highest;
    from = Math.floor(Math.max(middle - MOST_DECADES, Math.min(middle - 1, lowest)));
    to = Math.ceil(Math.min(middle + MOST_DECADES, Math.max(middle + 1, highest)));
    const step = Math.ceil((to - from) / MOST_TICKS);
    const powers = Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, i) => from + i * step);
    at("scale-ticks").replaceChildren(
      ...powers.map((power) => {
        const tick = element("span", {}, Math.abs(power) > 4 ? `1e${power}` : shown(10 ** power));
        tick.style.left = `${(100 * (power - from)) / (to - from)}%`;
        return tick;
      }),
    );
  }
  scale = (score) => (inDecades && score <= 0 ? 0 : Math.max(0, Math.min(1, (of(score) - from) / (to - from))));
  at("scale-mark").hidden = !hasThreshold();
  at("scale-mark").style.left = `${100 * scale(model.threshold)}%`;
  at("scale-limit").textContent = `threshold ${shown(model.threshold)}`;
}

function showRow(found, expected) {
  const parts = { found: at("found"), expected: at("expected"), difference: at("difference") };
  const { low, high, largest: most } = showImages(parts, imageShape, found, expected);
  const scale = `from ${shown(low)} (black) to ${shown(high)} (white)`;
  at("difference-name").textContent = `difference, up to ${shown(most)}`;
  parts.found.ariaLabel = `${rowName} as found, ${scale}`;
  parts.expected.ariaLabel = `${rowName} as the model expects it`;
  parts.difference.ariaLabel = `${rowName}, found less expected: up to ${shown(most)}`;
}

function showExpected(expected) {
  const cells = model.toCells(expected);
  inputs.forEach((input, i) => {
    const { categories } = featureAt(i);
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
    input.bar.title = whole ? "makes the score infinite" : `${shown(100 * share[place])} % of the score`;
    input.share.textContent = whole ? "infinite" : percent(share[place]);
  });
  const told = endless ? [first] : order.slice(0, REASONS).filter((place) => share[place] > 0);
  at("reasons").replaceChildren(...told.map((place) => reasonOf(inputs[place])));
  arrange();
}

const percent = (share) => (share > 0 && share < 0.001 ? "< 0.1 %" : `${Number((100 * share).toPrecision(2))} %`);

function reasonOf({ field, expected, share, place }) {
  const { name, unit } = featureAt(place);
  const found = isMissing(field.value) ? "nothing" : `${field.value}${unit ? ` ${unit}` : ""}`;
  return element(
    "li",
    {},
    element("span", { className: "number" }, share.textContent),
    element("strong", {}, element("bdi", {}, name)),
    element("span", { className: "hint" }, "found ", element("bdi", {}, found), ", expected ", element("bdi", {}, expected.textContent)),
  );
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
  forgetWorker();
  at("file").hidden = true;
  at("error").hidden = true;
  nameRow(file.name);
  cancel("Reading the file …");
  try {
    if (model.manifest.series) {
      await takeLog(file);
      return;
    }
    showProgress(0, "Reading the file …");
    const found = await scoredInWorker(file);
    showFile(file.name, found);
    await pause();
    if (worker) return; // another file has come meanwhile
    const [{ row, cells }] = found.highest;
    await fill(cells, `Row ${row} of ${file.name}`);
  } catch (error) {
    cancel("The file could not be read.");
    at("error").textContent = `${file.name}: ${error.message}`;
    at("error").hidden = false;
  }
}

/** Let the browser take clicks before what comes next. */
const pause = () => new Promise((done) => setTimeout(done));

/** Let the browser show what there is before what comes next. */
const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));

/** A log: the events of all its groups, and a drawing of the one with most. */
async function takeLog(file) {
  logs += 1;
  const mine = logs;
  showRowCards(false);
  at("live").hidden = true;
  const log = logOf(new Uint8Array(await file.arrayBuffer()), model);
  for (const [place, run] of log.runs.entries()) {
    showProgress(place / log.runs.length, `${place} of ${log.runs.length} stretches scored`);
    run.moments = await momentsOfRun(model, run);
    if (mine !== logs) return;
  }
  at("progress").hidden = true;
  const whenOf = (run, moment) => (log.textsOf ? log.textsOf([run.times[moment]])[0] : `row ${run.rows[moment] + 1}`);
  const names = [...new Set(log.runs.map(({ group }) => group))];
  const rows = log.runs.reduce((sum, { rows: own }) => sum + own.length, 0);
  let parts = [];
  const showGroup = (group, chosen) => {
    at("live-group").value = group ?? "";
    drawGroup(at("live-plot"), model, parts.filter(({ run }) => run.group === group), whenOf, chosen);
  };
  const find = async () => {
    const smooth = at("live-smooth").value.split("/").map(Number);
    const found = [];
    for (const run of log.runs) found.push({ run, score: run.moments.score, events: await eventsOfRun(model, run, run.moments, smooth) });
    if (mine !== logs) return;
    parts = found;
    const events = parts.flatMap((part) => part.events.map((event) => ({ ...part, event })));
    const count = (group) => events.filter(({ run }) => run.group === group).length;
    at("live").hidden = false;
    at("live-title").textContent = `${file.name}: ${events.length} event${events.length === 1 ? "" : "s"} in ${rows.toLocaleString("en-US")} rows`;
    at("live-notes").textContent = log.notes.join("; ");
    at("live-groups").hidden = names.length < 2;
    at("live-group").replaceChildren(...names.map((name) => element("option", { value: name ?? "" }, `${name ?? ""} (${count(name)})`)));
    at("live-table").hidden = !events.length;
    at("live-whose").textContent = model.manifest.series.group ?? "";
    at("live-events").replaceChildren(...events.map((each) => eventRow(each, whenOf, showGroup)));
    showGroup(names.reduce((most, name) => (count(name) > count(most) ? name : most)));
  };
  at("live-group").onchange = () => showGroup(at("live-group").value || names[0]);
  at("live-smooth").onchange = find;
  await find();
}

function eventRow({ run, event }, whenOf, showGroup) {
  const open = element("button", { type: "button", className: "link" }, whenOf(run, event.start));
  const cells = [
    whenOf(run, event.stop - 1),
    shown(event.score),
    event.channels.slice(0, REASONS).map(({ name, share }) => `${name} ${percent(share)}`).join(", "),
  ];
  const row = element("tr", {}, element("td", {}, run.group ?? ""), element("td", {}, open), ...cells.map((text) => element("td", {}, text)));
  open.addEventListener("click", () => {
    document.querySelector("#live-events [aria-current]")?.removeAttribute("aria-current");
    row.ariaCurrent = "true";
    showGroup(run.group, event);
  });
  return row;
}

/** Show what is of one row; a log has its own. */
function showRowCards(isShown) {
  for (const id of ["verdict", "why", "embedding-card"]) at(id).classList.toggle("away", !isShown);
  at("source").classList.toggle("wide", !isShown);
}

/** What worker.mjs finds; never, once another file has come. */
function scoredInWorker(file) {
  // A page of one file has no other to load: its program runs in the worker again, after the packed files.
  const own = at("program") && ["packed = ", at("packed").textContent, ";", at("program").textContent];
  const url = own ? URL.createObjectURL(new Blob(own, { type: "text/javascript" })) : "worker.mjs";
  // Not as a module: a browser loads none from a page that was opened from the disk.
  const begun = new Worker(url, { type: own ? "classic" : "module" });
  if (own) URL.revokeObjectURL(url);
  worker = begun;
  return new Promise((resolve, reject) => {
    begun.addEventListener("error", ({ message }) => reject(new Error(message || "the worker did not start")));
    begun.addEventListener("message", ({ data: { share, text, found, error } }) => {
      if (begun !== worker) return; // another file has come meanwhile
      if (text) return void showProgress(share, text);
      forgetWorker();
      if (error) reject(new Error(error));
      else resolve(found);
    });
    begun.postMessage({ file, threshold: model.threshold });
  });
}

function forgetWorker() {
  worker?.terminate();
  worker = undefined;
  at("progress").hidden = true;
}

function showProgress(share, text) {
  at("progress").hidden = false;
  at("progress-bar").value = share;
  at("progress-text").textContent = text;
}

/** The rows of a file, the highest scores first; the one that is in the form is marked. */
function showFile(name, { count, flagged, notes, highest, csv }) {
  const part = count > highest.length ? `, the ${highest.length} highest shown` : "";
  at("file-title").textContent = `${name}: ${flagged} of ${count} rows are anomalies${part}`;
  at("file-notes").textContent = notes.join("; ");
  at("file-rows").replaceChildren(
    ...highest.map(({ row: number, score, isAnomaly, cells }, place) => {
      const open = element("button", { type: "button", className: "link" }, `Row ${number}`);
      const verdict = element("td", { className: isAnomaly ? "bad" : "good" }, isAnomaly ? "Anomaly" : "Normal");
      const row = element("tr", {}, element("td", {}, open), element("td", { className: "number" }, shown(score)), verdict);
      open.addEventListener("click", () => {
        mark(row);
        fill(cells, `Row ${number} of ${name}`);
      });
      if (place === 0) row.ariaCurrent = "true";
      return row;
    }),
  );
  URL.revokeObjectURL(at("download").href);
  at("download").href = URL.createObjectURL(csv);
  at("file").hidden = false;
}

function mark(row) {
  document.querySelector("#file-rows [aria-current]")?.removeAttribute("aria-current");
  if (row) row.ariaCurrent = "true";
}

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
  at("row").addEventListener("submit", (event) => event.preventDefault());
  at("feature-rows").addEventListener("input", () => {
    if (!rowName.endsWith(CHANGED)) nameRow(`${rowName}${CHANGED}`);
    scoreForm();
  });
  at("order").addEventListener("change", arrange);
  for (const [id, anomalous] of [["normal", false], ["abnormal", true]]) {
    const index = typicalRow(anomalous);
    at(id).hidden = index < 0;
    at(id).addEventListener("click", () => {
      at("error").hidden = true;
      mark();
      fillGolden(index);
    });
  }
  at("csv").addEventListener("click", (event) => (event.target.value = "")); // the same file again, once it is mended
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
  const rows = model.golden();
  const wanted = new URLSearchParams(location.search).get("threshold"); // ?threshold=0.4
  if (wanted !== null) model.threshold = Number(wanted);
  golden = await rows;
  decimalComma = model.manifest.provenance?.reading?.decimal === ",";
  const into = model.embeddingShape ? `, embedding of ${model.embeddingShape.join(" × ")}` : "";
  choosePanels();
  const isTable = model.features.length && !model.manifest.series;
  const table = isTable ? `${model.width} features` : `rows of ${model.inputShape.join(" × ")}`;
  const kind = imageShape ? `images of ${imageShape.join(" × ")}` : table;
  at("about").textContent = `An autoencoder: ${kind}${into}. Everything is computed in this page; no row leaves it.`;
  at("bundle").textContent = model.manifest.id.slice(0, 12);
  makeScale();
  const first = Math.max(0, typicalRow(false));
  // The score first: a browser takes longer to lay out all panels and a long form than for what comes before.
  nameRow(goldenName(first));
  const row = Float32Array.from(goldenNumbers(first));
  const [[score], [pValue]] = await Promise.all([model.score(row), model.hasPValues ? model.pValue(row) : []]);
  showVerdict(score, pValue);
  document.querySelector("main").hidden = false;
  await painted();
  if (!imageShape) makeForm();
  listen();
  await fillGolden(first);
  await pause();
  showCheck(await model.check());
}

function failed(error) {
  at("check-mark").textContent = "✗";
  at("check-mark").classList.add("bad");
  at("check-text").textContent = `The model could not be loaded: ${error.message}`;
}

if (typeof document !== "undefined") start().catch(failed); // a worker may run this program, see worker.mjs
