/** One row: its cells in the model's order, or by column name. Categories are texts or codes. */
export type Cell = number | string | boolean | null;
export type Row = ArrayLike<Cell> | Record<string, Cell>;
/** Rows, or a flat Float32Array of their numbers, row after row. */
export type Rows = Row[] | Float32Array;

export interface Feature {
  name: string;
  unit: string;
  /** Of a column of categories, in the order of their indexes. */
  categories?: string[] | null;
}

export interface Output {
  data: Float32Array | Uint8Array | BigInt64Array;
  dims: readonly number[];
}

export interface Comparison {
  graph: string;
  output: string;
  /** Largest difference to PyTorch in float64, as a share of the output's range. */
  maxScaledDifference: number;
  /** Decisions that differ. */
  flipped: number;
  passed: boolean;
}

export interface Check {
  rows: number;
  passed: boolean;
  maxScaledDifference: number;
  flipped: number;
  records: Comparison[];
}

/** Of one row, each array as long as the row. */
export interface Explanation {
  /** Of each feature to the score, 0 or more: they add up to it. */
  contribution: Float32Array;
  /** What the model expects, in raw units; of a column of categories, the index of the likeliest. */
  expected: Float32Array;
  /** What stands in the row. */
  found: Float32Array;
}

export interface Reason {
  /** Its name; its position in the row ("3" or "0,12,5") where features have none. */
  feature: string;
  /** Of the score, 0 to 1; 0 where the score is 0 or no number. */
  share: number;
  /** A number, or a category; null: missing. */
  expected: number | string | null;
  found: number | string | null;
}

/** What a stream holds: plain data, the same as of `stream.state()` in Python. */
export interface StreamState {
  version: number;
  window: number;
  channels: number;
  stride: number;
  max_gap: number | null;
  skip: number;
  time: number | null;
  /** In base64. */
  samples: string;
}

/** Samples as they come. */
export declare class Stream {
  /** Add a sample or a block of them; the scores of the windows that they complete. Times are in seconds. */
  push(samples: Row | Rows, time?: number | ArrayLike<number>): Promise<Float32Array>;
  /** Forget the window at hand, as after a gap. */
  reset(): Promise<void>;
  state(): Promise<StreamState>;
  /** The window that the last sample completed; null if it completed none. */
  readonly window: Float32Array | null;
}

export declare class Autoencoder {
  readonly name: string;
  readonly precision: string;
  /** The highest score that is normal: the bundle's, unless it is set. */
  threshold: number;
  /** The highest score of a row of a log that is normal; `threshold` where it was set, or where rows have no other. */
  readonly rowThreshold: number;
  /** Whether rows of a log have a threshold of their own. */
  readonly scoresRows: boolean;
  readonly features: Feature[];
  /** Of one row: [30] for a table of 30 columns. */
  readonly inputShape: number[];
  readonly embeddingShape: number[] | null;
  readonly graphs: string[];
  readonly width: number;
  readonly manifest: Record<string, unknown>;

  /** One embedding per row. */
  encode(rows: Rows): Promise<Float32Array[]>;
  /** One row per row: what the model expects, in the table's units; a category is its index. */
  reconstruct(rows: Rows): Promise<Float32Array[]>;
  /** How abnormal each row is; unless `score <= threshold` it is an anomaly, NaN too. */
  score(rows: Rows): Promise<Float32Array>;
  /** Whether each row is an anomaly, by the model's threshold or by another. */
  detect(rows: Rows, options?: { threshold?: number }): Promise<boolean[]>;
  /** Whether the bundle keeps scores of normal rows, which p-values are made of. */
  readonly hasPValues: boolean;
  /** The share of normal rows that score as high, above 0; an error unless `hasPValues`. */
  pValue(rows: Rows): Promise<Float32Array>;
  /** Why each row scores as it does, in numbers. */
  explain(rows: Rows): Promise<Explanation[]>;
  /** The `count` (3) features that contribute most to each row's score, the largest first, for people. */
  reasons(rows: Rows, count?: number): Promise<Reason[][]>;
  /** The segment of each row, -1 for none; of a bundle that `aetool segment learn` was run on. */
  segment(rows: Rows): Promise<number[]>;
  /** A stream without samples, or one that goes on from a state. */
  stream(state?: StreamState | null, options?: { stride?: number; maxGap?: number }): Stream;
  readonly sameBits: boolean;
  /** Every output of one graph. */
  run(graph: string, rows: Rows): Promise<Record<string, Output>>;
  /** The bundle's golden rows, through every graph of this runtime, against PyTorch in float64. */
  check(): Promise<Check>;
  golden(): Promise<Record<string, { data: ArrayLike<number>; shape: number[] }>>;
  toNumbers(row: Row): number[];
  toCells(row: ArrayLike<number>): (number | string)[];
}

export interface LoadOptions {
  /** With ONNX Runtime, where the bundle is: by default the directory `model` beside this module. */
  from?: string | URL;
  /** With ONNX Runtime, one of the bundle's precisions; by default "fp32". The core has one. */
  precision?: string;
}

export declare function load(options?: LoadOptions): Promise<Autoencoder>;
