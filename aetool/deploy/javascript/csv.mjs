/** CSV as people have it to rows of a model, read as aetool reads it in Python; what is in doubt is an error. */

import { cellToNumber, isMissing } from "./categories.mjs";
import { decimalMark, hasNoValue, isFlag, isNumber, numbersOf, plainNumber } from "./notation.mjs";

const SEPARATORS = { ",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces", "": "nothing" };
const SHOWN = 8; // names in a message
const SAMPLE_LINES = 200; // of which the layout is found
const SAMPLE_CELLS = 100_000;
const RANKED_CELLS = 10_000; // of which the decimal mark is found
const MOST_ABOVE = 50; // lines above the header
const LETTERS_A_STEP = 1 << 20; // of progress
const ROWS_A_STEP = 2048;

/**
 * The rows of a file: by the header's names; by position only where there is no header.
 *
 * @param file its bytes, or its text
 * @param progress called with the share that is done, 0 to 1
 * @returns `count` of rows, `numbers` as the graphs take them, flat, `cells`, a function that gives the texts of a row
 * in the model's order, `notes`, how the file was read where that is not as usual, and `kept`, the texts of other
 * columns by name
 * @param keep names of other columns, as far as the header has them
 */
export function rowsOf(file, model, progress = () => {}, keep = []) {
  const { text, encoding } = typeof file === "string" ? { text: file.replace(/^\ufeff/, "") } : decoded(file);
  if (text.slice(0, 4096).includes("\0")) {
    throw new Error("NUL bytes where text is expected: save the table as CSV, in UTF-8");
  }
  const like = hintsOf(model);
  const columns = columnsOf(model);
  const layout = layoutOf(text, columns, model, like);
  const rows = parseCsv(layout.text, layout.separator, Infinity, (share) => progress(share / 2)).slice(layout.start);
  const places = placesIn(layout, rows, columns, model);
  const decimal = layout.decimal ?? (layout.separator ? undefined : like.decimal);
  const numbers = new Float32Array(rows.length * columns.length);
  const notes = notesOf(layout, encoding);
  // Row by row, which is fast, where all of a column's numbers are plain; else a whole column decides how it is read.
  const isPlain = columns.map(({ categories }) => !categories && !like.na.length);
  rows.forEach((row, i) => {
    if (i % ROWS_A_STEP === 0) progress(0.5 + (0.4 * i) / rows.length);
    for (let j = 0; j < columns.length; j += 1) {
      if (!isPlain[j]) continue;
      const number = plainNumber(row[places[j]].trim(), decimal);
      if (number === undefined) isPlain[j] = false;
      else numbers[i * columns.length + j] = number;
    }
  });
  const others = columns.map((column, j) => {
    if (isPlain[j]) return undefined;
    progress(0.9 + (0.1 * j) / columns.length);
    const texts = rows.map((row) => row[places[j]].trim());
    const found = column.categories ? categoriesOf(column, texts) : columnOf(column, texts, decimal, like.na);
    if (found.note) notes.push(`${column.name}: ${found.note}`);
    found.numbers.forEach((number, i) => (numbers[i * columns.length + j] = number));
    return found.numbers;
  });
  const cells = (i) =>
    columns.map(({ categories }, j) => {
      const text = rows[i][places[j]].trim();
      if (categories) return text;
      const number = others[j] ? others[j][i] : plainNumber(text, decimal);
      return Number.isNaN(number) ? "" : String(number);
    });
  const there = keep.filter((name) => layout.header?.includes(name));
  const kept = there.map((name) => [name, rows.map((row) => row[layout.header.indexOf(name)].trim())]);
  return { count: rows.length, cells, numbers, notes, kept: Object.fromEntries(kept) };
}

/** How the model's own table was read, as the bundle keeps it: for what a file leaves in doubt. */
function hintsOf({ manifest }) {
  const { sep, decimal, na, header } = manifest?.provenance?.reading ?? {};
  return {
    sep: typeof sep === "string" ? sep : ",",
    decimal: decimal === "," ? "," : undefined,
    na: Array.isArray(na) ? na.map(String) : [],
    header: typeof header === "boolean" ? header : undefined,
  };
}

/** Name and categories of each value of a row. */
function columnsOf(model) {
  if (!model.features.length) return Array.from({ length: model.width }, (_, i) => ({ name: `value ${i + 1}` }));
  return model.features.map(({ name, categories }) => ({
    name: name.trim(),
    categories: categories && new Map(categories.map((text, index) => [text, index])),
  }));
}

// Bytes

/** The text of a file, in UTF-8, UTF-16 or Windows-1252, without its byte order mark. */
function decoded(bytes) {
  const [first, second] = bytes;
  if (first === 0x1f && second === 0x8b) throw new Error("a packed file where text is expected: unpack it");
  const few = bytes.subarray(0, 4096);
  const zeros = [0, 0]; // at even and at odd places: ASCII in two bytes each
  few.forEach((byte, i) => (zeros[i % 2] += byte === 0));
  const isWide = zeros[0] + zeros[1] >= Math.max(2, Math.floor(few.length / 4));
  let encoding;
  if ((first === 0xff && second === 0xfe) || (isWide && zeros[0] <= zeros[1])) encoding = "utf-16le";
  else if ((first === 0xfe && second === 0xff) || isWide) encoding = "utf-16be";
  if (encoding) return { text: new TextDecoder(encoding).decode(bytes), encoding: encoding.toUpperCase() };
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(bytes) };
  } catch {
    if (isWestern(bytes)) return { text: new TextDecoder("windows-1252").decode(bytes), encoding: "Windows-1252" };
    return { text: new TextDecoder().decode(bytes) }; // cells that are needed are then refused
  }
}

/** Whether text that is no UTF-8 is Windows-1252 without a doubt: letters with accents stand alone between others. */
function isWestern(bytes) {
  let run = 0;
  for (let i = 0; i < bytes.length; i += 1) {
    const byte = bytes[i];
    run = byte < 0x80 ? 0 : run + 1;
    const pair = run > 1 && byte < 0xc0 && bytes[i - 1] >= 0xc2 && bytes[i - 1] <= 0xdf; // UTF-8: the file is a mixture
    if (run > 2 || pair || [0x81, 0x8d, 0x8f, 0x90, 0x9d].includes(byte)) return false;
  }
  return true;
}

// Lines and cells

/** Lines of cells; quotes may hold separators and line ends. An empty line is none. A space stands for runs of them. */
export function parseCsv(text, separator, mostLines = Infinity, progress = () => {}) {
  if (separator === " " || separator === "") return linesWithout(text, separator, mostLines);
  const lines = [];
  let [line, cell, quoted, started] = [[], "", false, false]; // started: the cell holds something, or was quoted
  let cells = 0;
  const endCell = () => {
    line.push(cell);
    [cell, started] = ["", false];
  };
  const endLine = () => {
    if (line.length || started) {
      endCell();
      lines.push(line);
      cells += line.length;
    }
    line = [];
  };
  const isEnd = (code) => code === 10 || code === 13 || code === separator.charCodeAt(0);
  for (let i = 0, step = 0; i < text.length; i += 1) {
    const letter = text[i];
    if (i >= step) {
      progress(i / text.length);
      step = i + LETTERS_A_STEP;
    }
    if (quoted) {
      if (letter !== '"') cell += letter;
      else if (text[i + 1] === '"') cell += text[(i += 1)];
      else quoted = false;
    } else if (letter === '"' && !started) [quoted, started] = [true, true];
    else if (letter === separator) endCell();
    else if (letter === "\n" || letter === "\r") {
      endLine();
      if (lines.length >= mostLines || (mostLines < Infinity && cells > SAMPLE_CELLS)) return lines;
    } else {
      let end = i + 1;
      while (end < text.length && !isEnd(text.charCodeAt(end))) end += 1;
      cell += text.slice(i, end);
      started = true;
      i = end - 1;
    }
  }
  if (quoted && mostLines === Infinity) throw new Error(`row ${Math.max(1, lines.length)}: a quote is left open: fix the row`);
  endLine();
  return lines;
}

/** The same where runs of spaces separate cells, or where there is one cell a line. */
function linesWithout(text, separator, mostLines) {
  const lines = [];
  for (const [line] of text.matchAll(/[^\r\n]+/g)) {
    const words = separator
      ? Array.from(line.matchAll(/"((?:[^"]|"")*)"|\S+/g), ([word, inner]) => inner?.replaceAll('""', '"') ?? word)
      : [line.trim().replace(/^"+|"+$/g, "")];
    if (words.length && words.join("")) lines.push(words);
    if (lines.length >= mostLines) break;
  }
  return lines;
}

/** A file without the lines at its end that hold separators alone, as spreadsheets write them. */
function withoutTail(text, separator) {
  let end = text.length;
  while (end && (text[end - 1] === separator || " \r\n".includes(text[end - 1]))) end -= 1;
  const stop = text.slice(end).search(/[\r\n]/);
  return stop < 0 ? text : text.slice(0, end + stop + 1);
}

// Layout

/** Separator, header (undefined where there is none), lines before the first row, and decimal mark. */
function layoutOf(text, columns, model, like) {
  const named = /^sep=(.)\r?\n/.exec(text); // Excel's
  const rest = named ? text.slice(named[0].length) : text;
  if (!rest.trim()) throw new Error("the file is empty: a header and rows were expected; write it again");
  const grids = (named ? [named[1]] : Object.keys(SEPARATORS))
    .map((separator) => ({ separator, lines: sampleOf(rest, separator), text: withoutTail(rest, separator), start: 0 }))
    .filter(({ lines }) => lines.length);
  const found = (model.features.length && byHeader(grids, columns)) || byPosition(grids, columns, model, like);
  const units = found.header && unitsOf(found);
  return { ...found, units, start: found.start + (units ? 1 : 0), decimal: decimalOf(found, like) };
}

/** The line below the header where it holds units: words, or nothing, above columns of numbers alone. */
function unitsOf({ header, lines, above = 0 }) {
  const [units, ...rows] = lines.slice(above + 1).map((line) => line.map((cell) => cell.trim()));
  if (rows.length < 2 || [units, ...rows].some((row) => row.length !== header.length)) return undefined;
  const isValue = (text) => hasNoValue(text) || isNumber(text);
  const words = units.filter((_, i) => rows.every((row) => isValue(row[i])));
  const isUnit = (text) => !isNumber(text) && !/\d[-/.:]\d/.test(text); // nor a date
  const count = words.filter((text) => !hasNoValue(text)).length;
  return 2 * words.length > header.length && words.every(isUnit) && 2 * count > words.length ? units : undefined;
}

/** The first lines; like Python, without a last one that has no end and may be cut off. */
function sampleOf(text, separator) {
  const lines = parseCsv(text, separator, SAMPLE_LINES);
  return lines.length > 2 && lines.length < SAMPLE_LINES && !/[\r\n]$/.test(text) ? lines.slice(0, -1) : lines;
}

/** The layout by whose separator one of the first lines holds all of the model's names: no two separators can. */
function byHeader(grids, columns) {
  for (let i = 0; i < MOST_ABOVE; i += 1) {
    for (const grid of grids) {
      const header = grid.lines[i] && namesIn(grid.lines[i], grid.separator);
      if (header && columns.every(({ name }) => header.includes(name))) return { ...grid, header, above: i, start: i + 1 };
    }
  }
  return undefined;
}

/** The names in a header, without the `# ` that numpy writes before them. */
function namesIn(line, separator) {
  const names = line.map((cell) => cell.trim());
  if (separator === " " && names[0] === "#") return names.slice(1);
  return [names[0].replace(/^#\s+/, ""), ...names.slice(1)];
}

/** The layout by whose separator the first line is a row, or a header that has to be told. */
function byPosition(grids, columns, model, like) {
  const isAlone = grids.every(({ lines }) => lines[0].length === 1); // one column
  let withRows = grids.filter(({ separator, lines }) => isRow(lines[0], columns) && (separator || isAlone));
  // Spaces beside another separator are nothing, unless they stand inside its cells.
  const isWhole = ({ separator, lines }) => separator !== " " && !lines.flat().some((cell) => /\S\s+\S/.test(cell));
  if (withRows.some(isWhole)) withRows = withRows.filter(({ separator }) => separator !== " ");
  if (withRows.length > 1) {
    const hinted = withRows.find(({ separator }) => separator === like.sep);
    if (!hinted) {
      const [one, two] = withRows.map(({ separator }) => SEPARATORS[separator]);
      throw new Error(`${one} or ${two} may separate its columns: write a header above the rows`);
    }
    withRows = [hinted];
  }
  const [grid] = withRows;
  const [first, second] = grids[0].text.trimStart().split(/[\r\n]+/, 2);
  const isQuoted = first.includes('"') && second && !second.includes('"'); // text above numbers
  if (grid && !isQuoted && !isCounted(grid, like)) return grid;
  // A header that lacks names: the separator that shows most of them, or makes most cells, is what was meant.
  const score = ({ separator, lines }) => {
    const header = namesIn(lines[0], separator);
    const names = columns.filter(({ name }) => header.includes(name)).length;
    return [names, header.length === model.width, separator !== " ", header.length];
  };
  const better = (a, b) => score(a).reduce((sign, value, i) => sign || value - score(b)[i], 0);
  const best = grid ?? grids.reduce((most, each) => (better(each, most) > 0 ? each : most));
  return { ...best, header: namesIn(best.lines[0], best.separator), start: 1 };
}

/** Whether a file's first line is a row of the model, not a header. */
function isRow(line, columns) {
  if (line.at(-1).trim() === "" && line.length === columns.length + 1) line = line.slice(0, -1);
  if (line.length !== columns.length || line.every(isMissing)) return false;
  const names = new Set(columns.map(({ name }) => name));
  if (line.some((cell) => names.has(cell.trim()))) return false;
  const hasNumber = columns.some(({ categories }, i) => !categories && isNumber(line[i].trim()));
  return columns.every(({ name, categories }, i) => {
    const text = line[i].trim();
    if (categories) return hasNumber || cellToNumber(text, categories, name) !== -1; // a row may hold an unknown one
    // Beside a number "no" is no name; "none" may be one.
    return isNumber(text) || isMissing(text) || (hasNumber && isFlag(text)) || (hasNoValue(text) && !/^\w+$/.test(text));
  });
}

/** Whether numbers in the first line are names, as pandas and numpy count columns. */
function isCounted({ lines: [line, second] }, like) {
  const cells = line.map((cell) => cell.trim());
  const values = cells.map((cell) => (/^\d+$/.test(cell) ? Number(cell) : NaN));
  if (!second || values.length < 2 || !values.every((value, i) => i === 0 ? value >= 0 : value > values[i - 1])) return false;
  if (values[0] < 2 && values.at(-1) - values[0] === values.length - 1) return true;
  if (like.header !== undefined) return like.header;
  const shown = cells.slice(0, 3).join(", ") + (cells.length > 3 ? ", ..." : "");
  throw new Error(`the first line, ${shown}, may hold names or the first row: write the names of the columns above it`);
}

/** The decimal mark of most numbers that show one; undefined where none does. */
function decimalOf({ separator, lines, above = 0 }, like) {
  const cells = lines.slice(above + 1).flat().slice(0, RANKED_CELLS);
  const counts = { ".": 0, ",": 0 };
  for (const cell of cells) {
    const text = cell.trim();
    const mark = hasNoValue(text) ? undefined : decimalMark(text);
    if (mark) counts[mark] += 1;
  }
  if (counts["."] !== counts[","]) return counts["."] > counts[","] ? "." : ",";
  // Where commas are in the numbers, semicolons are between them.
  const known = like.sep === (separator || ",") ? like.decimal : undefined;
  return known ?? (separator === ";" && cells.some((cell) => cell.includes(",")) ? "," : undefined);
}

/** How a file is read, for people, where that is not as usual. */
function notesOf({ separator, header, above, decimal, units }, encoding) {
  const found = [
    ...(["", ","].includes(separator) ? [] : [`${SEPARATORS[separator] ?? `'${separator}'`} between columns`]),
    ...(decimal === "," ? ["a decimal comma"] : []),
    ...(encoding ? [`encoding ${encoding}`] : []),
  ];
  return [
    ...(found.length ? [`read with ${found.join(", ")}`] : []),
    ...(above ? [`the first ${above === 1 ? "line" : `${above} lines`}, above the table, left out`] : []),
    ...(units ? [`the line below the header, ${units.slice(0, 3).join(", ")}, left out (units)`] : []),
    ...(header ? [] : ["no header line: columns go by position"]),
  ];
}

// Columns

/** Where each of the model's columns is in a row, once every row has as many cells as the header. */
function placesIn({ header, lines }, rows, columns, model) {
  const byName = header && model.features.length;
  const places = byName ? placesOf(header, columns) : columns.map((_, i) => i);
  const width = header ? header.length : model.width;
  if (header && !byName && width !== model.width) {
    throw new Error(`${model.width} columns expected, ${width} found: give the model's columns in their order`);
  }
  // Each row may end in a separator; a first line that is a row then does, too.
  const open = rows.length > 0 && rows.every((row) => row.length === width + 1 && row[width].trim() === "");
  rows.forEach((row, i) => {
    if (row.length === width + open) return;
    throw new Error(
      `row ${i + 1}: ${row.length} columns found, ${width} expected${header ? " as in the header" : ""}: ` +
        "fix the row (a quote left open does this too)",
    );
  });
  return places;
}

function placesOf(header, columns) {
  if (header.some((name) => name.includes("\ufffd"))) {
    throw new Error("the header is not UTF-8: save the file as UTF-8");
  }
  const names = columns.map(({ name }) => name);
  const missing = names.filter((name) => !header.includes(name));
  // The same name but for capitals shows what was meant.
  const nearest = missing.map((name) => header.find((found) => found.toLowerCase() === name.toLowerCase()));
  const hints = nearest.filter((found) => found !== undefined).length;
  if (2 * missing.length > names.length && 2 * hints < missing.length) {
    throw new Error(
      `this looks like another table than the model was trained on: ${missing.length} of its ${names.length} columns ` +
        `are missing, ${listed(missing)}; found ${listed(header)}: give a table that has the model's columns`,
    );
  }
  if (missing.length) {
    throw new Error(
      `missing column${missing.length > 1 ? "s" : ""} ${listed(missing, nearest)}, asked for by the model; ` +
        `found ${listed(header)}: correct the names`,
    );
  }
  const repeated = names.filter((name) => header.indexOf(name) !== header.lastIndexOf(name));
  if (repeated.length) throw new Error(`repeated column names ${listed(repeated)}: give each column its own name`);
  return names.map((name) => header.indexOf(name));
}

/** The indexes of a column's categories. */
function categoriesOf({ name, categories }, texts) {
  const odd = texts.findIndex((text) => text.includes("\ufffd"));
  if (odd >= 0) throw new Error(`row ${odd + 1}, column '${name}': not UTF-8: save the file as UTF-8`);
  return { numbers: texts.map((text) => cellToNumber(text, categories, name)) };
}

/** The numbers of a column; an error names the row. */
function columnOf({ name }, texts, decimal, na) {
  try {
    return numbersOf(texts, decimal, na);
  } catch (error) {
    throw new Error(`row ${error.place + 1}, column '${name}': ${error.message}; fix the cell`);
  }
}

function listed(names, nearest = []) {
  const more = names.length > SHOWN ? ` and ${names.length - SHOWN} more` : "";
  const hint = (i) => (nearest[i] === undefined ? "" : ` (nearest: '${nearest[i]}')`);
  return names.slice(0, SHOWN).map((name, i) => `'${name}'${hint(i)}`).join(", ") + more;
}
