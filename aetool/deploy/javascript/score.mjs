/** node score.mjs rows.csv: the score and the verdict of every row, or of every window of a log by its last row, as CSV. */

import { readFile } from "node:fs/promises";

import { load } from "./aetool.mjs";
import { rowsOf } from "./csv.mjs";

const [file] = process.argv.slice(2);
if (!file) {
  console.error("node score.mjs ROWS.csv");
  process.exit(2);
}
const model = await load();
let rows;
try {
  rows = rowsOf(await readFile(file), model);
} catch (error) {
  console.error(`${file}: ${error.message}`);
  process.exit(1);
}
for (const note of rows.notes) console.error(`${file}: ${note}`);
console.log("row,score,is_anomaly");
const { series } = model.manifest;
if (series) {
  const scores = await model.stream().push(rows.numbers);
  scores.forEach((score, i) => console.log(`${series.window + i * series.stride},${score},${!(score <= model.threshold)}`));
} else if (rows.count) {
  const [scores, verdicts] = [await model.score(rows.numbers), await model.detect(rows.numbers)];
  scores.forEach((score, i) => console.log(`${i + 1},${score},${verdicts[i]}`));
}
