/** golden.npz read, and outputs compared with it by the rules of aetool/checks/parity.py. */

const TOLERANCE = 1e-5; // the largest difference allowed, as a share of the output's range, if the bundle says no other
const PARTIAL = ["reconstruction", "contribution"]; // golden.npz may hold them for the first rows alone
const DECISION_BAND = 1e-5; // a reference score this close to the threshold is decided by rounding alone
const [STORED, DEFLATED] = [0, 8]; // methods of a zip archive
const TYPES = { "<f4": Float32Array, "<f8": Float64Array, "|b1": Uint8Array, "<i8": BigInt64Array };

/** Name -> {data, shape} of an .npz, stored or deflated (APPNOTE.TXT of PKWARE; numpy.lib.format). */
export async function readArrays(file) {
  const bytes = new Uint8Array(file.buffer, file.byteOffset, file.byteLength); // the slices of a Buffer share memory
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const arrays = {};
  let end = bytes.length - 22; // the end-of-directory record, at the end but for a comment
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end -= 1;
  if (end < 0) throw new Error("golden.npz is not a zip archive");
  let entry = view.getUint32(end + 16, true);
  for (let left = view.getUint16(end + 10, true); left > 0; left -= 1) {
    const [nameLength, extra, comment] = [28, 30, 32].map((at) => view.getUint16(entry + at, true));
    const name = new TextDecoder().decode(bytes.subarray(entry + 46, entry + 46 + nameLength));
    const method = view.getUint16(entry + 10, true);
    if (method !== STORED && method !== DEFLATED) throw new Error(`golden.npz: ${name} is compressed by method ${method}`);
    const local = view.getUint32(entry + 42, true);
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    const [packedSize, size] = [20, 24].map((at) => view.getUint32(entry + at, true));
    const packed = bytes.slice(start, start + packedSize);
    const content = method === STORED ? packed : await inflated(packed, size, name);
    arrays[name.replace(/\.npy$/, "")] = readArray(content, name);
    entry += 46 + nameLength + extra + comment;
  }
  return arrays;
}

/** `size` bytes, as the archive tells; no more of them is held. */
async function inflated(packed, size, name) {
  const content = new Uint8Array(size);
  let filled = 0;
  const reader = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    if (filled + part.value.length > size) break;
    content.set(part.value, filled);
    filled += part.value.length;
    if (filled === size) return content;
  }
  await reader.cancel();
  throw new Error(`golden.npz: ${name} is not as long as the archive tells`);
}

function readArray(bytes, name) {
  const view = new DataView(bytes.buffer);
  const [length, from] = bytes[6] === 1 ? [view.getUint16(8, true), 10] : [view.getUint32(8, true), 12];
  const header = new TextDecoder().decode(bytes.subarray(from, from + length));
  const type = /'descr': '([^']+)'/.exec(header)?.[1];
  if (!(type in TYPES) || !header.includes("'fortran_order': False")) {
    throw new Error(`golden.npz: ${name} is not a C-ordered array that can be read here: ${header.trim()}`);
  }
  const shape = (/'shape': \(([^)]*)\)/.exec(header)?.[1] ?? "").split(",").filter((size) => size.trim()).map(Number);
  return { data: new TYPES[type](bytes.buffer.slice(from + length)), shape };
}

/** One record per output of a graph; `tolerances` by output, as in the manifest. */
export function compareGraph(graph, golden, found, threshold, tolerances) {
  return Object.entries(found)
    .filter(([output]) => output in golden)
    .map(([output, { data }]) => ({ graph, output, ...compareOutput(output, golden, data, threshold, tolerances) }));
}

function compareOutput(output, golden, given, threshold, tolerances) {
  const { [output]: tolerance = TOLERANCE, flips = 0 } = tolerances ?? {};
  const expected = golden[output].data;
  const actual = PARTIAL.includes(output) ? given.slice(0, expected.length) : given;
  if (expected.length !== actual.length) return { maxScaledDifference: Infinity, flipped: 0, passed: false };
  if (output === "is_anomaly") {
    const { data: score } = golden.score;
    const near = (i) => Math.abs(score[i] - threshold) <= DECISION_BAND * Math.abs(threshold);
    const flipped = expected.reduce((sum, value, i) => sum + (Boolean(value) !== Boolean(actual[i]) && !near(i)), 0);
    return { maxScaledDifference: 0, flipped, passed: flipped <= Math.ceil(flips * expected.length) };
  }
  if (output === "segment") {
    const { data: distance, shape } = golden.distance;
    const [found, wanted] = [actual, expected].map((values) => Array.from(values, Number));
    const to = (row, segment) => distance[row * shape[1] + segment];
    const near = (i) => Math.abs(to(i, wanted[i]) - to(i, found[i])) <= DECISION_BAND * to(i, wanted[i]); // NaN: never
    const flipped = wanted.reduce((sum, value, i) => sum + (value !== found[i] && !near(i)), 0);
    return { maxScaledDifference: 0, flipped, passed: flipped === 0 };
  }
  const scaleOf = scaleIn(golden, output) ?? (output === "reconstruction" ? columnScale(golden, expected) : constant(range([expected])));
  const alternative = golden.alternative?.data; // the second category, where two are near ties
  let worst = 0;
  for (let i = 0; i < expected.length; i += 1) {
    const reference = output === "reconstruction" && alternative?.[i] === actual[i] ? alternative[i] : expected[i];
    if (!Number.isFinite(reference)) worst = Number.isFinite(actual[i]) ? Infinity : worst;
    else if (actual[i] !== reference) {
      const scaled = Math.abs(actual[i] - reference) / scaleOf(i);
      worst = Number.isNaN(scaled) ? Infinity : Math.max(worst, scaled);
    }
  }
  return { maxScaledDifference: worst, flipped: 0, passed: worst <= tolerance };
}

/** Largest less smallest finite value, and at least the largest magnitude. */
function range(arrays) {
  let [low, high] = [Infinity, -Infinity];
  for (const values of arrays) {
    for (const value of values) {
      if (Number.isFinite(value)) [low, high] = [Math.min(low, value), Math.max(high, value)];
    }
  }
  return low > high ? 0 : Math.max(high - low, Math.abs(low), Math.abs(high));
}

const constant = (value) => () => value;

/** The scale that was kept with some of the golden rows: that of all of them. */
function scaleIn(golden, output) {
  const scales = golden[`scale_${output}`]?.data;
  return scales && ((i) => scales[i % scales.length]);
}

/** Columns of a table have units of their own: each is divided by its own range, over rows and reconstructions. */
function columnScale(golden, reconstruction) {
  const { data: features, shape } = golden.features;
  if (shape.length !== 2) return constant(range([features, reconstruction])); // of windows and images: one for all
  const columns = shape[1];
  const rows = reconstruction.length / columns;
  const scales = Array.from({ length: columns }, (_, column) => {
    const of = (values) => Array.from({ length: rows }, (_, row) => values[row * columns + column]);
    const finite = (value) => (Number.isFinite(value) ? value : 0);
    return range([of(features).map(finite), of(reconstruction).map(finite)]);
  });
  return (i) => scales[i % columns];
}
