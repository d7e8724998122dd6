/** A bundle of aetool on any build of ONNX Runtime for JavaScript: onnxruntime-web, -node, -react-native. */

import { categoryOf, cellToNumber, numberToCell } from "./categories.mjs";
import { labelsOf, largest, shares, shortest } from "./explanation.mjs";
import { compareGraph, readArrays } from "./golden.mjs";
import { Stream } from "./stream.mjs";

const LARGEST_FLOAT = 3.4028234663852886e38;
const LEAST_FLOAT = 1.1754943508222875e-38;
const ROWS_AT_ONCE = 1024;
const QUIET = { logSeverityLevel: 3 }; // errors alone: that the threshold is an input with a default is no fault

export class Autoencoder {
  #ort;
  #read;
  #sessions = new Map();
  #calibration;
  #categories;
  #threshold;
  #isSet = false; // the threshold, by the caller

  /**
   * @param ort the module onnxruntime-web or onnxruntime-node
   * @param read (name) => Promise<Uint8Array>, a file of the bundle
   */
  static async open(ort, read, { precision } = {}) {
    const manifest = JSON.parse(new TextDecoder().decode(await read("manifest.json")));
    const major = String(manifest.format_version).split(".")[0];
    if (major !== "1") {
      throw new Error(`bundle format 1 expected, found ${manifest.format_version}: deploy it with its own aetool`);
    }
    precision ??= "fp32" in manifest.variants ? "fp32" : Object.keys(manifest.variants)[0];
    if (!(precision in manifest.variants)) {
      const found = Object.keys(manifest.variants).join(", ");
      throw new Error(`the bundle has no precision ${JSON.stringify(precision)}; it has ${found}`);
    }
    return new Autoencoder(ort, read, manifest, precision);
  }

  constructor(ort, read, manifest, precision) {
    this.#ort = ort;
    this.#read = read;
    this.manifest = manifest;
    this.precision = precision;
    this.name = manifest.name;
    this.features = manifest.features;
    this.inputShape = manifest.input_shape;
    this.embeddingShape = manifest.embedding_shape;
    this.#threshold = limitOf(manifest.variants[precision].threshold);
    this.graphs = Object.keys(manifest.variants[precision].files);
    this.#categories = manifest.features.map(
      ({ categories }) => categories && new Map(categories.map((text, index) => [text, index])),
    );
  }

  /** The highest score that is normal: the bundle's, unless it is set. A float32 number, as scores are. */
  get threshold() {
    return this.#threshold;
  }

  set threshold(value) {
    this.#threshold = limitOf(value);
    this.#isSet = true;
  }

  /** Whether rows of a log have a threshold of their own: what each contributes to its windows then counts in its score. */
  get scoresRows() {
    return this.manifest.series?.row_threshold !== undefined && this.graphs.includes("explainer");
  }

  /** The highest score of a row of a log that is normal: `threshold` where it was set, or where rows have no other. */
  get rowThreshold() {
    if (this.#isSet || !this.scoresRows) return this.#threshold;
    const own = this.manifest.variants[this.precision].threshold;
    const first = this.manifest.variants.fp32?.threshold ?? own; // a package has one precision
    return limitOf(this.manifest.series.row_threshold * (first > 0 ? own / first : 1));
  }

  /** Numbers in one row. */
  get width() {
    return this.inputShape.reduce((product, size) => product * size, 1);
  }

  /** One Float32Array per row: the embedding. */
  async encode(rows) {
    if (!this.graphs.includes("encoder")) throw new Error(`${this.name} gives no embedding`);
    return this.#each("encoder", "embedding", rows);
  }

  /** One Float32Array per row: what the model expects, in the units of the row; a category is its index. */
  async reconstruct(rows) {
    return this.#each("autoencoder", "reconstruction", rows);
  }

  /** How abnormal each row is: a Float32Array. A row is normal where its score <= threshold, which NaN is not. */
  async score(rows) {
    return (await this.run("detector", rows)).score.data;
  }

  /** Whether each row is abnormal: an array of booleans. NaN is never normal, whatever the threshold. */
  async detect(rows, { threshold = this.threshold } = {}) {
    const limit = limitOf(threshold);
    return Array.from(await this.score(rows), (score) => !(score <= limit)); // as the graph decides, bit for bit
  }

  /** Whether the bundle keeps scores of normal rows, which p-values are made of. */
  get hasPValues() {
    return Boolean(this.manifest.variants[this.precision].calibrator);
  }

  /** The share of normal rows that score as high, above 0: a Float32Array. */
  async pValue(rows) {
    if (!this.hasPValues) {
      throw new Error(`${this.name} has no scores of normal rows to compare with: keep some with aetool calibrate`);
    }
    const score = await this.score(rows);
    if (this.#ort.isCore) {
      const { calibrator } = this.manifest.variants[this.precision];
      this.#calibration ??= this.#read(calibrator).then(calibrationIn);
      const calibration = await this.#calibration;
      return score.map((number) => pValueOf(number, calibration));
    }
    const session = await this.#session("calibrator");
    return (await session.run({ score: new this.#ort.Tensor("float32", score, [score.length]) })).p_value.data;
  }

  /**
   * Why each row scores as it does: one {contribution, expected, found} per row, Float32Arrays. The contributions add
   * up to the score; of a column of categories, `expected` and `found` are indexes.
   */
  async explain(rows) {
    if (!this.graphs.includes("explainer")) {
      throw new Error(`${this.name} has no explainer: an older aetool exported it; export it again`);
    }
    const { width } = this;
    const numbers = this.#numbers(rows, width, (row) => this.toNumbers(row));
    const { contribution, reconstruction } = await this.run("explainer", numbers);
    return Array.from({ length: numbers.length / width }, (_, row) => {
      const part = (values) => values.slice(row * width, (row + 1) * width);
      return { contribution: part(contribution.data), expected: part(reconstruction.data), found: part(numbers) };
    });
  }

  /**
   * The `count` features that contribute most to each row's score, the largest first, for people: one list per row of
   * {feature, share, expected, found}. Categories are texts, a missing value is null.
   */
  async reasons(rows, count = 3) {
    if (!Number.isInteger(count) || count < 1) throw new RangeError(`count: 1 or more expected, found ${count}`);
    const labels = labelsOf(this);
    return (await this.explain(rows)).map((explanation, row) => {
      const share = shares(explanation.contribution);
      return largest(explanation, count).map((place) => ({
        feature: labels[place],
        share: share[place],
        expected: this.#value(explanation.expected[place], place),
        found: this.#value(explanation.found[place], place, rows instanceof Float32Array ? undefined : rows[row]),
      }));
    });
  }

  /** The segment of each row: an array of numbers, -1 for a row that belongs to none. */
  async segment(rows) {
    if (!this.graphs.includes("segmenter")) throw new Error(`${this.name} has no segments: make them with aetool segment learn`);
    return Array.from((await this.run("segmenter", rows)).segment.data, Number);
  }

  /** Samples as they come: `push` them, get scores as soon as windows are complete. */
  stream(state = null, options = {}) {
    return new Stream(this, { state, ...options });
  }

  /** Whether a row has the same bits alone and among others. */
  get sameBits() {
    return this.#ort.isCore === true;
  }

  /** Every output of one graph of `graphs`: name -> {data, dims}. */
  async run(graph, rows) {
    const shape = graph === "decoder" ? this.embeddingShape : this.inputShape;
    const width = shape.reduce((product, size) => product * size, 1);
    const values = this.#numbers(rows, width, graph === "decoder" ? (row) => row : (row) => this.toNumbers(row));
    const session = await this.#session(graph);
    const count = values.length / width;
    const parts = [];
    for (let first = 0; first < count; first += ROWS_AT_ONCE) {
      const part = values.subarray(first * width, Math.min(first + ROWS_AT_ONCE, count) * width);
      const tensor = new this.#ort.Tensor("float32", part, [part.length / width, ...shape]);
      parts.push(await session.run({ [session.inputNames[0]]: tensor }));
    }
    return Object.fromEntries(session.outputNames.map((name) => [name, joined(parts.map((part) => part[name]))]));
  }

  /** Run the bundle's golden rows through every graph and compare with what PyTorch computed in float64. */
  async check() {
    const golden = await readArrays(await this.#read("golden.npz"));
    const { tolerances } = this.manifest.variants[this.precision];
    const records = [];
    for (const graph of this.graphs) {
      const rows = Float32Array.from(golden[graph === "decoder" ? "embedding" : "features"].data);
      records.push(...compareGraph(graph, golden, await this.run(graph, rows), this.threshold, tolerances));
    }
    return {
      rows: golden.score.data.length,
      passed: records.every((record) => record.passed),
      maxScaledDifference: Math.max(...records.map((record) => record.maxScaledDifference)),
      flipped: records.reduce((sum, record) => sum + record.flipped, 0),
      records,
    };
  }

  /** The bundle's golden rows: name -> {data, shape}. */
  async golden() {
    return readArrays(await this.#read("golden.npz"));
  }

  /** One row, as cells of a table or a column name -> cell, to the numbers that the graphs take. */
  toNumbers(row) {
    if (typeof row !== "object" || row === null) {
      throw new TypeError("rows expected: a list of lists, of objects by column name, or a flat Float32Array");
    }
    if (!Array.isArray(row) && !ArrayBuffer.isView(row)) {
      const missing = this.features.filter(({ name }) => !(name in row)).map(({ name }) => name);
      if (missing.length || !this.features.length) {
        throw new TypeError(`the row has no column ${missing.join(", ") || "names: give its numbers in order"}`);
      }
      return this.features.map(({ name }, i) => cellToNumber(row[name], this.#categories[i], name));
    }
    if (row.length !== this.width) {
      throw new RangeError(`${this.width} values in a row expected, found ${row.length}`);
    }
    return Array.from(row, (cell, i) =>
      cellToNumber(cell, this.#categories[i], this.features[i]?.name ?? `value ${i + 1}`),
    );
  }

  /** The reverse, of a reconstruction: indexes of categories become their texts. */
  toCells(row) {
    return Array.from(row, (value, i) => numberToCell(value, this.features[i]?.categories));
  }

  /** A number as people read it: a category's text (of one that is unknown, the cell's own), null for a missing one. */
  #value(number, place, row) {
    if (Number.isNaN(number)) return null;
    const { name, categories } = this.features[place] ?? {};
    if (!categories) return shortest(number);
    if (number in categories) return categories[number];
    return row === undefined ? "" : categoryOf(Array.isArray(row) || ArrayBuffer.isView(row) ? row[place] : row[name]);
  }

  async #each(graph, output, rows) {
    const { data, dims } = (await this.run(graph, rows))[output];
    const width = data.length / dims[0];
    return Array.from({ length: dims[0] }, (_, row) => data.slice(row * width, (row + 1) * width));
  }

  #numbers(rows, width, toNumbers) {
    if (rows instanceof Float32Array) {
      if (rows.length === 0 || rows.length % width) {
        throw new RangeError(`rows of ${width} values expected, found ${rows.length} values`);
      }
      return rows;
    }
    if (!Array.isArray(rows) || rows.length === 0) {
      throw new TypeError("rows expected: a list of lists, of objects by column name, or a flat Float32Array");
    }
    const values = new Float32Array(rows.length * width);
    rows.forEach((row, i) => {
      const numbers = toNumbers(row);
      if (numbers.length !== width) throw new RangeError(`${width} values expected, found ${numbers.length}`);
      values.set(numbers, i * width);
    });
    return values;
  }

  #session(graph) {
    if (!this.#sessions.has(graph)) {
      const variant = this.manifest.variants[this.precision];
      const file = graph === "calibrator" ? variant.calibrator : variant.files[graph];
      if (!file) throw new Error(`${this.name} has no graph ${graph}; it has ${this.graphs.join(", ")}`);
      const opened = this.#ort.isCore
        ? this.#ort.session(graph)
        : this.#read(file).then((bytes) => this.#ort.InferenceSession.create(bytes, QUIET));
      opened.catch(() => this.#sessions.delete(graph)); // the next call tries again
      this.#sessions.set(graph, opened);
    }
    return this.#sessions.get(graph);
  }
}

/** What calibration.json holds, the scores in float32. */
function calibrationIn(bytes) {
  const { scores, ...tail } = JSON.parse(new TextDecoder().decode(bytes));
  return { scores: Float32Array.from(scores), ...tail };
}

/** (1 + scores at or above) / (1 + scores); beyond the largest it falls with the tail. */
function pValueOf(score, { scores, rate, power }) {
  const known = score < LARGEST_FLOAT ? score : LARGEST_FLOAT; // so is what is not a number
  let below = 0;
  for (let end = scores.length; below < end; ) {
    const middle = (below + end) >> 1;
    if (scores[middle] < known) below = middle + 1;
    else end = middle;
  }
  const excess = Math.max(known - scores[scores.length - 1], 0);
  const survival = Math.max(1 + excess * rate, LEAST_FLOAT) ** power;
  return Math.max(((scores.length + 1 - below) / (scores.length + 1)) * survival, LEAST_FLOAT);
}

function limitOf(threshold) {
  if (typeof threshold !== "number" || Number.isNaN(threshold)) {
    throw new RangeError(`threshold: a number expected, found ${String(threshold)}`);
  }
  return Math.fround(threshold);
}

function joined(tensors) {
  const [first] = tensors;
  if (tensors.length === 1) return { data: first.data, dims: first.dims };
  const data = new first.data.constructor(tensors.reduce((sum, { data }) => sum + data.length, 0));
  let place = 0;
  for (const tensor of tensors) {
    data.set(tensor.data, place);
    place += tensor.data.length;
  }
  return { data, dims: [tensors.reduce((sum, { dims }) => sum + dims[0], 0), ...first.dims.slice(1)] };
}
