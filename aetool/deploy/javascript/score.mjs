/**
 * node score.mjs rows.csv: the score and the verdict of every row, as CSV; of a log of every window, or with --events
 * of every event, as `aetool score` prints them.
 */

import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";

import { load } from "./aetool.mjs";
import { rowsOf } from "./csv.mjs";
import { shortest } from "./explanation.mjs";
import { logOf } from "./log.mjs";
import { eventsOfRun, momentsOfRun } from "./moments.mjs";

const CHANNELS = 3; // that an event names

/** The one file, and what is wanted of it. */
function given() {
  try {
    const options = { events: { type: "boolean" }, smooth: { type: "string" } };
    const { values, positionals } = parseArgs({ allowPositionals: true, options });
    const smooth = values.smooth?.split("/").map(Number);
    const isPair = !smooth || (smooth.length === 2 && smooth.every(Number.isInteger) && smooth[0] >= 1 && smooth[0] <= smooth[1]);
    if (!isPair) throw new Error("--smooth: K/N expected, such as 3/5");
    if (smooth && !values.events) throw new Error("--smooth is for --events");
    if (positionals.length === 1) return { file: positionals[0], events: values.events, smooth };
    throw new Error("one file expected");
  } catch (error) {
    console.error(`${error.message}\nnode score.mjs ROWS.csv [--events [--smooth K/N]]`);
    return process.exit(2);
  }
}

const quoted = (text) => `"${text.replaceAll('"', '""')}"`;
const decimal = (score) => String(shortest(score)).replace("NaN", "nan").replace("Infinity", "inf"); // as Python writes it
const isOdd = (score) => !(score <= model.threshold);
const { file, events, smooth } = given();
const model = await load();

/** Lines of a table. */
async function scoresOf(bytes) {
  if (events) throw new Error("--events is for a log and a model of windows");
  const rows = rowsOf(bytes, model);
  const scores = rows.count ? await model.score(rows.numbers) : new Float32Array(0);
  const lines = Array.from(scores, (score, i) => `${i + 1},${decimal(score)},${isOdd(score)}`);
  return { notes: rows.notes, lines: ["row,score,is_anomaly", ...lines] };
}

/** Lines of a log. */
async function windowsOf(bytes) {
  const { window, stride, group } = model.manifest.series;
  const { runs, notes, textsOf } = logOf(bytes, model);
  const found = [];
  for (const run of runs) {
    const row = (place) => ({ group: run.group, place: run.rows[place], time: run.times?.[place] });
    if (!events) {
      const scores = await model.stream().push(run.samples);
      scores.forEach((score, i) =>
        found.push({ at: [row(i * stride), row(i * stride + window - 1)], rest: [decimal(score), isOdd(score)] }),
      );
      continue;
    }
    for (const event of await eventsOfRun(model, run, await momentsOfRun(model, run), smooth)) {
      const { start, stop, peak, score, highest, channels } = event;
      const why = Array.from({ length: Math.min(CHANNELS, model.features.length) }, (_, i) => channels[i] ?? { name: "", share: 0 });
      const named = why.flatMap(({ name, share }) => [quoted(name), decimal(Math.fround(share))]);
      found.push({ at: [row(start), row(stop - 1), row(peak)], rest: [stop - start, decimal(score), decimal(highest), ...named] });
    }
  }
  const names = events ? ["start", "end", "peak"] : ["start", "end"];
  // All times of a column are written to the same part of a second.
  const texts = names.map((_, column) => {
    const cells = found.map(({ at }) => at[column]);
    if (!textsOf) return cells.map(({ place }) => place + 1);
    const times = textsOf(cells.map(({ time }) => time));
    return times.every((text) => text.includes(":")) ? times.map(quoted) : times;
  });
  const whys = Array.from({ length: Math.min(CHANNELS, model.features.length) }, (_, i) => [`channel_${i + 1}`, `channel_${i + 1}_share`]);
  const header = [...(group ? ["group"] : []), ...names, ...(events ? ["rows", "score", "highest", ...whys.flat()] : ["score", "is_anomaly"])];
  const lines = found.map(({ at: [{ group: name }], rest }, i) =>
    [...(group ? [quoted(name)] : []), ...texts.map((column) => column[i]), ...rest].join(","),
  );
  return { notes, lines: [header.join(","), ...lines] };
}

try {
  const bytes = await readFile(file);
  const { notes, lines } = await (model.manifest.series ? windowsOf(bytes) : scoresOf(bytes));
  for (const note of notes) console.error(`${file}: ${note}`);
  console.log(lines.join("\n"));
} catch (error) {
  console.error(`${file}: ${error.message}`);
  process.exit(1);
}
