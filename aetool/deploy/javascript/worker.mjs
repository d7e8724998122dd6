/** A table scored in the background: {file, threshold} in; {share, text} while it runs, then {found} or {error} out. */

import { load } from "./aetool.mjs";
import { rowsOf } from "./csv.mjs";

const MOST_ROWS_SHOWN = 200;
const SCORED_A_STEP = 2048;
const READING = 0.7; // share of the time that reading takes, about

const rank = (score) => (Number.isNaN(score) ? Infinity : score);

/** The rows with the highest scores, all scores as a CSV file, and how the table was read. */
async function scoredFile(file, threshold, tell) {
  tell(0, "Reading the file …");
  const [model, bytes] = await Promise.all([load(), file.arrayBuffer()]);
  model.threshold = threshold;
  const { count, cells, numbers, notes } = rowsOf(new Uint8Array(bytes), model, (share) => tell(READING * share, "Reading the file …"));
  if (!count) throw new Error("a header and no rows: add rows below it");
  const scores = new Float32Array(count);
  for (let first = 0; first < count; first += SCORED_A_STEP) {
    const part = numbers.subarray(first * model.width, (first + SCORED_A_STEP) * model.width);
    scores.set(await model.score(part), first);
    const done = Math.min(first + SCORED_A_STEP, count);
    tell(READING + ((1 - READING) * done) / count, `${done} of ${count} rows scored`);
  }
  const isAnomaly = Array.from(scores, (score) => !(score <= model.threshold));
  const order = Array.from(scores.keys()).sort((a, b) => rank(scores[b]) - rank(scores[a]));
  const lines = Array.from(scores, (score, i) => `${i + 1},${score},${isAnomaly[i]}\n`);
  return {
    count,
    notes,
    flagged: isAnomaly.filter(Boolean).length,
    highest: order.slice(0, MOST_ROWS_SHOWN).map((i) => ({ row: i + 1, score: scores[i], isAnomaly: isAnomaly[i], cells: cells(i) })),
    csv: new Blob(["row,score,is_anomaly\n", ...lines], { type: "text/csv" }),
  };
}

// In a page of one file this is part of the page's own program, which the worker runs again.
if (typeof document === "undefined") {
  addEventListener("message", async ({ data: { file, threshold } }) => {
    try {
      postMessage({ found: await scoredFile(file, threshold, (share, text) => postMessage({ share, text })) });
    } catch (error) {
      postMessage({ error: error.message });
    }
  });
}
