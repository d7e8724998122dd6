/** A cell of a table to the number that the graphs take, as aetool does it in Python. */

const MISSING = new Set([
  ...["", "NA", "N/A", "n/a", "NaN", "-NaN", "nan", "-nan", "NULL", "null"],
  ...["#NA", "#N/A", "#N/A N/A", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"],
]);
const UNKNOWN = -1;

/** Whether a cell stands for no value. */
export function isMissing(cell) {
  return cell === null || cell === undefined || MISSING.has(String(cell).trim());
}

/** The number of a cell; in a column of categories, the index of its category, -1 for one that is unknown. */
export function cellToNumber(cell, categories, column) {
  if (!["number", "string", "boolean", "bigint", "undefined"].includes(typeof cell) && cell !== null) {
    throw new TypeError(`${column}: a number or text expected, found ${JSON.stringify(cell)?.slice(0, 40)}`);
  }
  if (isMissing(cell)) return NaN;
  if (categories) return categories.get(categoryOf(cell)) ?? UNKNOWN;
  if (typeof cell === "boolean" || typeof cell === "number") return Number(cell);
  const text = String(cell).trim();
  const number = parsed(text);
  if (number === null) throw new TypeError(`${column}: a number expected, found ${JSON.stringify(text)}`);
  return number;
}

/** The text of a category's index, "" for none; a number stays as it is. */
export function numberToCell(number, categories) {
  return categories ? (categories[number] ?? "") : number;
}

/** The text of a cell's category: 1, 1.0 and "1" are one, true and "True" another. */
export function categoryOf(cell) {
  const text = String(cell).trim();
  if (/^(true|false)$/i.test(text)) return text.toLowerCase();
  const whole = /^(-?(?:0|[1-9][0-9]*))(?:\.0*)?$/.exec(text);
  if (!whole) return text;
  return whole[1] === "-0" ? "0" : whole[1];
}

function parsed(text) {
  if (/^[-+]?inf(inity)?$/i.test(text)) return text.startsWith("-") ? -Infinity : Infinity;
  if (/^[-+]?nan$/i.test(text)) return NaN;
  return /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text) ? Number(text) : null;
}
