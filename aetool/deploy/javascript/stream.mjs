/** A model over samples as they come: the same windows, and on the core the same bits, as model.stream() in Python. */

import { cellToNumber } from "./categories.mjs";

const STATE_VERSION = 1;
const AT_ONCE_BYTES = 1 << 20;

export class Stream {
  #model;
  #window;
  #channels;
  #stride;
  #maxGap;
  #held; // samples from where the window at hand begins; a full one has been scored
  #skip = 0; // samples to leave out before the next window
  #time = null;
  #turn = Promise.resolve(); // pushes wait for each other

  /** Begin without samples, or go on from a state of `state()`, be it of Python or of JavaScript. */
  constructor(model, { state = null, stride, maxGap } = {}) {
    const shape = model.inputShape;
    if (shape.length > 2) throw new Error(`${model.name}: rows of shape ${shape.join(" x ")} are no samples in time`);
    this.#model = model;
    [this.#window, this.#channels] = shape.length === 2 ? shape : [1, shape[0]];
    const series = model.manifest.series ?? {};
    this.#stride = state?.stride ?? stride ?? series.stride ?? 1;
    this.#maxGap = (state ? state.max_gap : (maxGap ?? series.gap)) ?? null;
    if (!Number.isInteger(this.#stride) || this.#stride < 1) throw new RangeError("stride: 1 or more expected");
    this.#held = new Float32Array(0);
    if (state) this.#restore(state);
  }

  /**
   * Add a sample (its numbers in order, or by channel) or a block (a list of samples, or a flat Float32Array), and
   * return the scores of the windows that they complete: a Float32Array.
   *
   * @param time of the sample, or of each sample of a block, in seconds; after more than `maxGap` the window begins anew
   */
  push(samples, time) {
    const found = this.#turn.then(() => this.#push(this.#numbers(samples), time));
    this.#turn = found.catch(() => {});
    return found;
  }

  /** Forget the samples of the window at hand, as after a gap. */
  async reset() {
    await this.#turn;
    this.#held = new Float32Array(0);
    this.#skip = 0;
    this.#time = null;
  }

  /** The window that the last sample completed, a flat Float32Array; null if it completed none. */
  get window() {
    return this.#held.length === this.#window * this.#channels ? this.#held.slice() : null;
  }

  /** What the stream holds, once what was pushed is done: plain data for JSON, the same as in Python. */
  async state() {
    await this.#turn;
    const bytes = new Uint8Array(this.#held.slice().buffer);
    return {
      version: STATE_VERSION,
      window: this.#window,
      channels: this.#channels,
      stride: this.#stride,
      max_gap: this.#maxGap,
      skip: this.#skip,
      time: this.#time,
      samples: btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")),
    };
  }

  #restore({ version, window, channels, skip, time, samples }) {
    if (version !== STATE_VERSION || window !== this.#window || channels !== this.#channels) {
      throw new Error(`the state is of version ${version}, windows of ${window} x ${channels}; begin without it`);
    }
    const bytes = Uint8Array.from(atob(samples), (letter) => letter.charCodeAt(0));
    if (bytes.length % (4 * channels) || bytes.length > 4 * channels * window || !(skip >= 0)) {
      throw new Error("the state is damaged; begin without it");
    }
    this.#held = new Float32Array(bytes.buffer);
    this.#skip = skip;
    this.#time = time;
  }

  async #push(numbers, time) {
    const count = numbers.length / this.#channels;
    if (count === 0) return new Float32Array(0);
    const gaps = this.#gaps(time, count);
    const before = { held: this.#held, skip: this.#skip };
    const found = [];
    try {
      for (const [place, first] of [0, ...gaps].entries()) {
        if (place) [this.#held, this.#skip] = [new Float32Array(0), 0];
        const last = gaps[place] ?? count;
        found.push(await this.#scored(numbers.subarray(first * this.#channels, last * this.#channels)));
      }
    } catch (error) {
      [this.#held, this.#skip] = [before.held, before.skip];
      throw error;
    }
    if (time !== undefined && time !== null) this.#time = typeof time === "number" ? time : time[count - 1];
    return concatenated(found);
  }

  /** Scores of the windows that samples complete. */
  async #scored(numbers) {
    const [stride, width] = [this.#stride * this.#channels, this.#window * this.#channels];
    if (this.#held.length === width) {
      this.#skip = Math.max(0, this.#stride - this.#window);
      this.#held = this.#held.subarray(Math.min(stride, width));
    }
    const left = Math.min(this.#skip * this.#channels, numbers.length);
    const samples = concatenated([this.#held, numbers.subarray(left)]);
    this.#skip -= left / this.#channels;
    if (samples.length < width) {
      this.#held = samples;
      return new Float32Array(0);
    }
    const count = Math.floor((samples.length - width) / stride) + 1;
    // onnxruntime may round several rows otherwise than one; the core does not.
    const together = this.#model.sameBits ? Math.max(1, Math.floor(AT_ONCE_BYTES / (4 * width))) : 1;
    const scores = new Float32Array(count);
    for (let first = 0; first < count; first += together) {
      const part = new Float32Array(Math.min(together, count - first) * width);
      for (let row = 0; row * width < part.length; row += 1) {
        const from = (first + row) * stride;
        part.set(samples.subarray(from, from + width), row * width);
      }
      scores.set(await this.#model.score(part), first);
    }
    let rest = (count - 1) * stride;
    if (rest + width < samples.length) rest += stride;
    this.#held = samples.slice(Math.min(rest, samples.length));
    this.#skip = Math.max(0, rest - samples.length) / this.#channels;
    return scores;
  }

  /** Places in a block before which there is a gap. */
  #gaps(time, count) {
    if (time === undefined || time === null) return [];
    const times = typeof time === "number" ? [time] : time;
    if (times.length !== count) throw new RangeError(`time: ${count} numbers expected, one a sample, found ${times.length}`);
    const gaps = [];
    let last = this.#time;
    for (let place = 0; place < count; place += 1) {
      const now = times[place];
      if (!(last === null ? Number.isFinite(now) : now > last)) {
        throw new RangeError(`time: ${now} is not later than ${last}; leave out samples that come late or twice`);
      }
      if (this.#maxGap !== null && last !== null && now - last > this.#maxGap) gaps.push(place);
      last = now;
    }
    return gaps;
  }

  #numbers(samples) {
    if (samples instanceof Float32Array) return this.#whole(samples);
    const isBlock = Array.isArray(samples) && (samples.length === 0 || (typeof samples[0] === "object" && samples[0] !== null));
    const rows = isBlock ? samples : [samples];
    const values = new Float32Array(rows.length * this.#channels);
    rows.forEach((row, place) => values.set(this.#sample(row), place * this.#channels));
    return values;
  }

  #sample(row) {
    if (this.#window === 1) return this.#model.toNumbers(row);
    const { features } = this.#model;
    if (typeof row !== "object" || row === null) throw new TypeError("samples expected: lists of numbers, or objects");
    const isList = Array.isArray(row) || ArrayBuffer.isView(row);
    const absent = isList ? [] : features.filter(({ name }) => !(name in row)).map(({ name }) => name);
    if (absent.length || (isList && row.length !== this.#channels)) {
      throw new TypeError(`${this.#channels} channels expected${absent.length ? `, without ${absent.join(", ")}` : ""}`);
    }
    return features.map(({ name }, place) => cellToNumber(isList ? row[place] : row[name], undefined, name));
  }

  #whole(numbers) {
    if (numbers.length % this.#channels) {
      throw new RangeError(`samples of ${this.#channels} numbers expected, found ${numbers.length} numbers`);
    }
    return numbers;
  }
}

function concatenated(arrays) {
  if (arrays.length === 1) return arrays[0];
  const found = new Float32Array(arrays.reduce((sum, { length }) => sum + length, 0));
  let place = 0;
  for (const array of arrays) {
    found.set(array, place);
    place += array.length;
  }
  return found;
}
