/** CSV as people have it (RFC 4180, and semicolons or tabs) to rows of a model. */

/** Lines of cells; quotes may hold separators and line ends. */
export function parseCsv(text) {
  const first = text.slice(0, text.search(/[\r\n]|$/));
  const separator = [";", "\t"].find((mark) => first.includes(mark) && !first.includes(",")) ?? ",";
  const lines = [[]];
  let [cell, quoted] = ["", false];
  for (let i = text.startsWith("\ufeff") ? 1 : 0; i < text.length; i += 1) {
    const letter = text[i];
    if (quoted) {
      if (letter !== '"') cell += letter;
      else if (text[i + 1] === '"') cell += text[(i += 1)];
      else quoted = false;
    } else if (letter === '"' && cell.trim() === "") [cell, quoted] = ["", true];
    else if (letter === separator || letter === "\n") {
      lines.at(-1).push(cell);
      cell = "";
      if (letter === "\n") lines.push([]);
    } else if (letter !== "\r") cell += letter;
  }
  lines.at(-1).push(cell);
  return lines.filter((line) => line.length > 1 || line[0].trim() !== "");
}

/** Rows by the header's names; without a header, by position. */
export function rowsOf(text, model) {
  const lines = parseCsv(text);
  if (!lines.length) throw new Error("The file holds no rows.");
  const header = lines[0].map((cell) => cell.trim());
  const missing = model.features.map(({ name }) => name).filter((name) => !header.includes(name));
  if (model.features.length && !missing.length) {
    const places = model.features.map(({ name }) => header.indexOf(name));
    return lines.slice(1).map((line) => places.map((place) => line[place] ?? ""));
  }
  if (header.length === model.width && missing.length === model.features.length) {
    return lines.slice(header.every((cell) => Number.isNaN(Number(cell))) ? 1 : 0);
  }
  const named = missing.slice(0, 5).join(", ") + (missing.length > 5 ? ", ..." : "");
  throw new Error(`${model.width} columns expected; ${named ? `missing: ${named}` : `found ${header.length}`}.`);
}
