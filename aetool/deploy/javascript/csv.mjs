/** CSV as people have it (RFC 4180, and semicolons or tabs) to rows of a model, read as aetool reads it in Python. */

import { cellToNumber, isMissing } from "./categories.mjs";

const SHOWN = 20; // names in a message

/** Lines of cells; quotes may hold separators and line ends. An empty line is none. */
export function parseCsv(text) {
  const separator = separatorOf(text);
  const lines = [];
  let [line, cell, quoted, started] = [[], "", false, false]; // started: the cell holds something, or was quoted
  const endCell = () => {
    line.push(cell);
    [cell, started] = ["", false];
  };
  const endLine = () => {
    if (line.length || started) {
      endCell();
      lines.push(line);
    }
    line = [];
  };
  for (let i = text.startsWith("\ufeff") ? 1 : 0; i < text.length; i += 1) {
    const letter = text[i];
    if (quoted) {
      if (letter !== '"') cell += letter;
      else if (text[i + 1] === '"') cell += text[(i += 1)];
      else quoted = false;
    } else if (letter === '"' && !started) [quoted, started] = [true, true];
    else if (letter === separator) endCell();
    else if (letter === "\n" || letter === "\r") endLine();
    else [cell, started] = [cell + letter, true];
  }
  if (quoted) throw new Error(`row ${Math.max(1, lines.length)}: a quote is left open: mend the row`);
  endLine();
  return lines;
}

/** The separator of the first line, looked for outside of quotes. */
function separatorOf(text) {
  const first = /^[\r\n\ufeff]*((?:"[^"]*"|[^"\r\n])*)/.exec(text)[1].replace(/"[^"]*"/g, "");
  return [",", ";", "\t"].find((mark) => first.includes(mark)) ?? ",";
}

/**
 * The rows of a file: by the header's names; by position only where there is no header.
 *
 * @returns `cells`, the texts of each row in the model's order, and `numbers`, the same as the graphs take them, flat
 */
export function rowsOf(text, model) {
  if (text.slice(0, 4096).includes("\0")) {
    throw new Error("NUL bytes where CSV text is expected (UTF-16?): save the file as UTF-8");
  }
  const lines = parseCsv(text);
  if (!lines.length) throw new Error("the file is empty: a header and rows were expected; write it again");
  const columns = columnsOf(model);
  const headed = !isRow(lines[0], columns);
  const places = headed && model.features.length ? placesOf(lines[0], columns) : columns.map((_, i) => i);
  const width = headed ? lines[0].length : model.width;
  if (headed && !model.features.length && width !== model.width) {
    throw new Error(`${model.width} columns expected, ${width} found: give the model's columns in their order`);
  }
  const rows = headed ? lines.slice(1) : lines;
  rows.forEach((line, i) => {
    if (line.length === width) return;
    throw new Error(
      `row ${i + 1}: ${line.length} columns found, ${width} expected${headed ? " as in the header" : ""}: ` +
        "mend the row (a quote left open does this too)",
    );
  });
  const cells = rows.map((line) => places.map((place) => line[place]));
  const numbers = new Float32Array(rows.length * columns.length);
  columns.forEach((column, j) => {
    const toNumber = readerOf(column, cells.map((row) => row[j]));
    cells.forEach((row, i) => {
      numbers[i * columns.length + j] = toNumber(row[j], i + 1);
    });
  });
  return { cells, numbers };
}

/** Name and categories of each value of a row. */
function columnsOf(model) {
  if (!model.features.length) return Array.from({ length: model.width }, (_, i) => ({ name: `value ${i + 1}` }));
  return model.features.map(({ name, categories }) => ({
    name,
    categories: categories && new Map(categories.map((text, index) => [text, index])),
  }));
}

/** Whether a file's first line is a row of the model, not a header. */
function isRow(line, columns) {
  if (line.length !== columns.length || line.every(isMissing)) return false;
  const names = new Set(columns.map(({ name }) => name));
  if (line.some((cell) => names.has(cell.trim()))) return false;
  return columns.every(({ name, categories }, i) => {
    try {
      return cellToNumber(line[i], categories, name) !== -1 || !categories;
    } catch {
      return false; // no number
    }
  });
}

function placesOf(line, columns) {
  const header = line.map((cell) => cell.trim());
  if (header.some((name) => name.includes("\ufffd"))) {
    throw new Error("the header is not UTF-8: save the file as UTF-8");
  }
  const names = columns.map(({ name }) => name.trim());
  const missing = columns.filter((_, i) => !header.includes(names[i])).map(({ name }) => name);
  // The same name but for capitals shows what was meant.
  const nearest = missing.map((name) => header.find((found) => found.toLowerCase() === name.trim().toLowerCase()));
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

/** (cell, row) => number, for the cells of one column. */
function readerOf({ name, categories }, cells) {
  const known = cells.filter((cell) => !isMissing(cell)).map((cell) => cell.trim());
  // As Arrow reads a column: true and false where there is nothing else, codes in base 16 likewise.
  const all = (form) => !categories && known.every((cell) => form.test(cell));
  const truths = all(/^(?:true|false|TRUE|FALSE|True|False|[01])$/);
  const codes = all(/^(?:0x[0-9a-f]{1,12}|-?\d{1,15})$/i);
  return (cell, row) => {
    const where = `row ${row}, column '${name}'`;
    if (categories && cell.includes("\ufffd")) throw new Error(`${where}: not UTF-8: save the file as UTF-8`);
    if (isMissing(cell)) return NaN;
    if (truths) return Number(/^(?:true|1)$/i.test(cell.trim()));
    if (codes) return Number(cell.trim());
    try {
      return cellToNumber(cell, categories, name);
    } catch {
      throw new Error(`${where}: '${cell.trim().slice(0, 40)}' is not a number: mend the cell`);
    }
  };
}

function listed(names, nearest = []) {
  const more = names.length > SHOWN ? ` and ${names.length - SHOWN} more` : "";
  const hint = (i) => (nearest[i] === undefined ? "" : ` (nearest: '${nearest[i]}')`);
  return names.slice(0, SHOWN).map((name, i) => `'${name}'${hint(i)}`).join(", ") + more;
}
