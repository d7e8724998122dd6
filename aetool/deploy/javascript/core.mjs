/** aetool's core as WebAssembly, with the part of ONNX Runtime's interface that autoencoder.mjs uses. */

const ALIGNED = 64;
const STEP_BYTES = 36;
const MAX_OUTPUTS = 8;
const ROWS_TOGETHER = 8; // rows of working memory, as AETOOL_ROWS of core.h
const PLAN_BYTES = 84; // of aetool_plan in 32 bits

const aligned = (bytes) => Math.ceil(bytes / ALIGNED) * ALIGNED;
const numbers = (shape) => shape.reduce((product, size) => product * size, 1);

/** The core's memory: the constants of all graphs, then their plans, then room for one call at a time. */
class Memory {
  constructor(exports) {
    this.core = exports;
    this.free = exports.heap();
  }

  get buffer() {
    return this.core.memory.buffer;
  }

  grow(bytes) {
    const missing = bytes - this.buffer.byteLength;
    if (missing > 0) this.core.memory.grow(Math.ceil(missing / 65536));
  }

  /** Where `bytes` are kept from now on. */
  keep(bytes) {
    const at = this.free;
    this.free += aligned(bytes.length);
    this.grow(this.free);
    new Uint8Array(this.buffer).set(bytes, at);
    return at;
  }

  /** The same for numbers of `width` bytes, of which all first bytes come first, then all second ones, and so on. */
  keepShuffled(bytes, width) {
    const at = this.keep(bytes);
    const from = this.keep(bytes);
    this.core.unshuffle(from, at, bytes.length / width, width);
    this.free = from; // the bytes as they came are needed no more
    return at;
  }
}

/** One graph. */
class Session {
  #memory;
  #graph;
  #plan;
  #layout;

  constructor(memory, graph, steps, constants) {
    this.#memory = memory;
    this.#graph = graph;
    this.inputNames = [graph.input];
    this.outputNames = graph.outputs.map(({ name }) => name);
    const { places, sizes } = constants;
    const [floats, halves, indexes] = sizes;
    const counts = [steps.length / STEP_BYTES, floats / 4, halves / 2, indexes / 4, numbers(graph.row), graph.outputs.length];
    const words = [memory.keep(steps), ...places, 0, ...counts];
    for (let k = 0; k < MAX_OUTPUTS; k += 1) words.push(k < graph.outputs.length ? numbers(graph.outputs[k].shape) : 0);
    words.push(graph.work, 0);
    const plan = new Uint8Array(PLAN_BYTES);
    new Int32Array(plan.buffer).set(words);
    this.#plan = memory.keep(plan);
    const wrong = memory.core.check(this.#plan);
    if (wrong !== 0) throw new Error(`the program of this graph is damaged (step ${wrong}); deploy it again`);
  }

  /** ONNX Runtime's run: name -> tensor in, name -> tensor out. */
  async run(feeds) {
    const { data, dims } = feeds[this.#graph.input];
    const { input, pointers, work, outputs } = this.#laidOut(dims[0]);
    input.set(data);
    outputs.forEach(({ values }, k) => (pointers[k] = values.byteOffset));
    this.#memory.core.run(this.#plan, input.byteOffset, pointers.byteOffset, dims[0], work);
    const found = {};
    for (const { name, values, decides, dims: shape } of outputs) {
      found[name] = new Tensor(decides ? "bool" : "float32", decides ? Uint8Array.from(values) : values.slice(), shape);
    }
    return found;
  }

  /** Where rows, outputs and working memory lie: kept, for the next call often has as many rows. */
  #laidOut(rows) {
    const memory = this.#memory;
    const { free } = memory;
    const last = this.#layout;
    if (last?.rows === rows && last.free === free && last.buffer === memory.buffer) return last;
    let at = free;
    const place = (count) => {
      const found = at;
      at += aligned(4 * count);
      return found;
    };
    const described = this.#graph.outputs.map(({ name, shape, decides }) => {
      return { name, decides, dims: [rows, ...shape], length: rows * numbers(shape) };
    });
    const length = rows * numbers(this.#graph.row);
    const [first, pointers, work] = [length, MAX_OUTPUTS, this.#graph.work * ROWS_TOGETHER].map(place);
    const found = described.map((output) => place(output.length));
    memory.grow(at);
    const { buffer } = memory;
    const outputs = described.map((output, k) => ({ ...output, values: new Float32Array(buffer, found[k], output.length) }));
    const input = new Float32Array(buffer, first, length);
    this.#layout = { rows, free, buffer, input, pointers: new Uint32Array(buffer, pointers, MAX_OUTPUTS), work, outputs };
    return this.#layout;
  }
}

class Tensor {
  constructor(type, data, dims) {
    Object.assign(this, { type, data, dims });
  }
}

/** The core in the place of onnxruntime-web or onnxruntime-node, with the graphs of one model.core; `instance` is core.wasm. */
export function coreRuntime(instance, content) {
  const memory = new Memory(instance.exports);
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  const length = view.getUint32(0, true);
  const { sizes, scaled, graphs } = JSON.parse(new TextDecoder().decode(content.subarray(4, 4 + length)));
  let from = 4 + length;
  const next = (size) => {
    from = aligned(from) + size;
    return content.subarray(from - size, from);
  };
  const [floats, halves, indexes] = sizes.map(next);
  const places = [memory.keepShuffled(floats, 4), memory.keepShuffled(halves, 2), memory.keep(indexes)];
  for (const { kind, at, of, n, m, by } of scaled) {
    const [restore, from, width] = kind === "floats" ? ["restore", places[0], 4] : ["restore_half", places[1], 2];
    memory.core[restore](from + width * at, from + width * of, places[0] + 4 * by, n, m);
  }
  const steps = Object.fromEntries(Object.entries(graphs).map(([name, graph]) => [name, next(graph.steps)]));
  const session = async (name) => new Session(memory, graphs[name], steps[name], { places, sizes });
  return { Tensor, session, isCore: true };
}
