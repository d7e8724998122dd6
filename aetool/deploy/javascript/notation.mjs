/** Numbers as people write them in text, read as aetool reads them in Python: marks, groups, currencies, units. */

const NO_VALUE = new Set([
  ...["", "NA", "N/A", "n/a", "NaN", "-NaN", "nan", "-nan", "NULL", "null", "#NA", "#N/A", "#N/A N/A"],
  ...["1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN", "?", "*", "-", "--", "---", ".", "..", "–", "—"],
  ...["None", "none", "NONE", "nil", "NIL", "Null", "N.A.", "n.a.", "na", "Na", "NAN", "Nan", "NaT", "<NA>"],
  ...["missing", "Missing", "MISSING", "#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NUM!", "#NAME?"],
  ...["-nan(ind)", "nan(ind)"],
]);
const FLAGS = [
  ...[["false", "true"], ["no", "yes"], ["n", "y"], ["f", "t"], ["off", "on"]],
  ...[["falsch", "wahr"], ["nein", "ja"], ["faux", "vrai"], ["non", "oui"]],
];

const CURRENCY = String.raw`[$€£¥₹₩₽₺]|(?:USD|EUR|GBP|CHF|JPY|CNY|INR|CAD|AUD|SEK|NOK|DKK|PLN|CZK|BRL|kr|zł|Rs\.?)(?![A-Za-z])`;
const IS_CURRENCY = new RegExp(`^(?:${CURRENCY})$`);
const DIGITS = String.raw`(?:\d[\d.,'’ \u00a0\u202f]*\d|\d)[.,]?|[.,]\d+`;
const SYMBOL = String.raw`[A-Za-z°%µμΩ‰]{1,10}(?:[²³]|\^?-?[1-3](?!\d))?`;
const NUMBER = new RegExp(
  String.raw`^(?<open>\()?\s*(?<sign>[+\-−–])?\s*(?<before>${CURRENCY})?\s*(?<sign2>[+\-−])?\s*(?<digits>${DIGITS})` +
    String.raw`(?<power>[eE][+\-]?\d+)?\s*(?<after>${CURRENCY}|${SYMBOL}(?:[/·*]${SYMBOL})?)?\s*(?<minus>-)?(?<close>\))?$`,
);
const INFINITE = /^[+-]?inf(?:inity)?$/i;
const PLAIN = {
  ".": /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i,
  ",": /^[+-]?(?:\d+,?\d*|,\d+)(?:e[+-]?\d+)?$/i,
};
/** Marks between groups of digits, three each, or as in India, by the decimal mark that goes with them. */
const GROUPED = Object.fromEntries(
  [[".", ",", "['’]", "[ \u00a0\u202f]"], [",", "\\.", "['’]", "[ \u00a0\u202f]"]].map(([decimal, ...marks]) => [
    decimal,
    new RegExp(`^(?:${marks.map((m) => `[1-9]\\d{0,2}(?:${m}\\d{3})+|[1-9]\\d?(?:${m}\\d{2})+${m}\\d{3}`).join("|")})$`),
  ]),
);

/** Whether a cell of a column of numbers, without spaces around, means a missing value. */
export const hasNoValue = (text) => NO_VALUE.has(text);

/** A cell's number where it is written plainly, NaN for a missing value, undefined where its column has to be looked at. */
export function plainNumber(text, decimal = ".") {
  if (PLAIN[decimal].test(text)) return Number(decimal === "," ? text.replace(",", ".") : text);
  return NO_VALUE.has(text) ? NaN : undefined;
}

/** Whether a cell is one of the words for 0 and 1. */
export const isFlag = (text) => FLAGS.flat().includes(text.toLowerCase());

/** A cell's number for each decimal mark that fits, and its unit; null where it is none. */
function readings(text) {
  if (INFINITE.test(text)) return { ".": infinite(text), ",": infinite(text), unit: "" };
  const found = NUMBER.exec(text)?.groups;
  if (!found || Boolean(found.open) !== Boolean(found.close) || (found.before && found.after)) return null;
  const signs = [found.sign, found.sign2, found.minus, found.open && "-"].filter(Boolean);
  if (signs.length > 1) return null;
  const made = { unit: found.before ?? found.after ?? "" };
  for (const mark of [".", ","]) {
    const size = plainDigits(found.digits, mark);
    if (size !== null) made[mark] = Number(`${size}${found.power ?? ""}`) * (signs.length && signs[0] !== "+" ? -1 : 1);
  }
  return "." in made || "," in made ? made : null;
}

const infinite = (text) => (text.startsWith("-") ? -Infinity : Infinity);

/** Digits as JavaScript writes them; null where they are no number with that decimal mark. */
function plainDigits(digits, decimal) {
  const place = digits.indexOf(decimal);
  const [whole, fraction] = place < 0 ? [digits, ""] : [digits.slice(0, place), digits.slice(place + 1)];
  if (/\D/.test(fraction)) return null;
  if (!/^\d*$/.test(whole) && !GROUPED[decimal].test(whole)) return null;
  return `${whole.replace(/\D/g, "") || 0}.${fraction || 0}`;
}

/** Whether a cell, without spaces around, may be a number; "1st" is none, nor is "5 kg" by itself. */
export function isNumber(text) {
  const number = readings(text);
  return number !== null && (!number.unit || number.unit === "%" || IS_CURRENCY.test(number.unit));
}

/** The decimal mark that a cell shows beyond doubt, or undefined. */
export function decimalMark(text) {
  const number = readings(text);
  if (!number || ("." in number && "," in number)) return undefined;
  return "." in number ? "." : ",";
}

/**
 * The numbers of a column's cells, NaN where a value is missing, read in one notation that fits all of them.
 *
 * @param texts the cells, without spaces around
 * @param decimal the mark of numbers that show no other, where it is known
 * @param na texts that mean a missing value, besides the common words
 * @returns `numbers`, and `note`, how they were read where that is not as usual
 * @throws {place, message} of the cell that does not fit
 */
export function numbersOf(texts, decimal, na = []) {
  const places = [...texts.keys()].filter((i) => !NO_VALUE.has(texts[i]) && !na.includes(texts[i]));
  const known = places.map((i) => texts[i]);
  const numbers = new Array(texts.length).fill(NaN);
  const filled = (values, note) => {
    places.forEach((place, i) => (numbers[place] = values[i]));
    return { numbers, note };
  };
  const all = (form) => known.every((text) => form.test(text));
  // As Arrow reads a column: true and false where there is nothing else, codes in base 16 likewise.
  if (all(/^(?:true|false|TRUE|FALSE|True|False|[01])$/)) return filled(known.map((text) => Number(/^(?:true|1)$/i.test(text))));
  if (all(/^(?:0x[0-9a-f]{1,12}|-?\d{1,15})$/i)) return filled(withoutMissing(known.map(Number), na));
  const mark = decimal ?? ".";
  if (known.every((text) => PLAIN[mark].test(text) || INFINITE.test(text) || /^[+-]?nan$/i.test(text))) {
    const values = known.map((text) => (INFINITE.test(text) ? infinite(text) : Number(text.replace(",", "."))));
    return filled(withoutMissing(values, na));
  }
  const pair = FLAGS.find((words) => known.every((text) => words.includes(text.toLowerCase())));
  if (pair) {
    const values = known.map((text) => Number(text.toLowerCase() === pair[1]));
    return filled(values, `${pair[0]} and ${pair[1]} read as 0 and 1`);
  }
  return inOneNotation(known, places, decimal, filled);
}

/** Numbers of which some mean a missing value, as -999 does. */
function withoutMissing(values, na) {
  const sentinels = na.filter((text) => text.trim()).map(Number);
  return values.map((value) => (sentinels.includes(value) ? NaN : value));
}

function inOneNotation(known, places, decimal, filled) {
  const found = known.map(readings);
  const quoted = (i) => `'${known[i].slice(0, 40)}'`;
  const refuse = (i, message) => {
    throw Object.assign(new Error(message), { place: places[i] });
  };
  const odd = found.indexOf(null);
  if (odd >= 0) refuse(odd, `${quoted(odd)} is not a number`);
  const sized = [...found.keys()].filter((i) => found[i]["."] || found[i][","]); // 0 is 0 in every unit
  const units = new Set(sized.map((i) => found[i].unit));
  const isMoney = [...units].every((unit) => !unit || IS_CURRENCY.test(unit)); // $5 and 5 are the same
  if (units.size > 1 && !(isMoney && units.size === 2 && units.has(""))) {
    const other = sized.find((i) => found[i].unit !== found[sized[0]].unit);
    refuse(other, `${quoted(sized[0])} and ${quoted(other)} have different units`);
  }
  const marks = [".", ","].filter((mark) => found.every((number) => mark in number));
  if (!marks.length) {
    const [point, comma] = [",", "."].map((mark) => found.findIndex((number) => !(mark in number)));
    refuse(comma, `${quoted(point)} and ${quoted(comma)} have different decimal marks`);
  }
  const doubtful = marks.length > 1 ? found.findIndex((number) => number["."] !== number[","]) : -1;
  if (doubtful >= 0 && !decimal) {
    const { ".": point, ",": comma } = found[doubtful];
    refuse(doubtful, `${quoted(doubtful)} may be ${point} or ${comma}: write numbers without groups of digits`);
  }
  const mark = marks.includes(decimal) ? decimal : marks[0];
  const shown = Math.max(0, doubtful, found.findIndex(({ unit }, i) => unit || decimalMark(known[i])));
  return filled(found.map((number) => number[mark]), `'${known[shown].slice(0, 20)}' read as ${found[shown][mark]}`);
}
