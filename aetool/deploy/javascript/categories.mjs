/** A cell of a table to the number that the graphs take, as aetool does it in Python. */

const MISSING = new Set([
  ...["", "NA", "N/A", "n/a", "NaN", "-NaN", "nan", "-nan", "NULL", "null"],
  ...["#NA", "#N/A", "#N/A N/A", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"],
]);
const UNKNOWN = -1;

/** The number of a cell; in a column of categories, the index of its category, -1 for one that is unknown. */
export function cellToNumber(cell, categories, column) {
  const text = cell === null || cell === undefined ? "" : String(cell).trim();
  if (MISSING.has(text)) return NaN;
  if (categories) return categories.get(categoryOf(text)) ?? UNKNOWN;
  const number = typeof cell === "boolean" || typeof cell === "number" ? Number(cell) : parsed(text);
  if (number === null) throw new TypeError(`${column}: a number expected, found ${JSON.stringify(text)}`);
  return number;
}

/** The text of a category's index, "" for none; a number stays as it is. */
export function numberToCell(number, categories) {
  return categories ? (categories[number] ?? "") : number;
}

/** 1, 1.0 and "1" are one category, true and "True" another. */
function categoryOf(text) {
  if (/^(true|false)$/i.test(text)) return text.toLowerCase();
  const whole = /^(-?(?:0|[1-9][0-9]*))(?:\.0*)?$/.exec(text);
  if (!whole) return text;
  return whole[1] === "-0" ? "0" : whole[1];
}

function parsed(text) {
  if (/^[-+]?inf(inity)?$/i.test(text)) return text.startsWith("-") ? -Infinity : Infinity;
  return /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text) ? Number(text) : null;
}
