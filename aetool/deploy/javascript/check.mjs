/** The bundle's golden rows through this machine's runtime; exit code 1 if they do not come out as trained. */

import { load } from "./aetool.mjs";

const model = await load();
const { rows, passed, maxScaledDifference, flipped, records } = await model.check();
console.table(records);
console.log(
  `${model.name}: ${rows} golden rows, largest difference ${maxScaledDifference.toExponential(1)} of the range, ` +
    `${flipped} decisions flipped: ${passed ? "passed" : "FAILED"}`,
);
process.exitCode = passed ? 0 : 1;
