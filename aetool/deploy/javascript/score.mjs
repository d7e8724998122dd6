/** node score.mjs rows.csv: the score and the verdict of every row, as CSV. */

import { readFile } from "node:fs/promises";

import { load } from "./aetool.mjs";
import { rowsOf } from "./csv.mjs";

const [file] = process.argv.slice(2);
if (!file) {
  console.error("node score.mjs ROWS.csv");
  process.exit(2);
}
const model = await load();
const rows = rowsOf(await readFile(file, "utf8"), model);
const [scores, verdicts] = [await model.score(rows), await model.detect(rows)];
console.log("row,score,is_anomaly");
scores.forEach((score, i) => console.log(`${i + 1},${score},${verdicts[i]}`));
