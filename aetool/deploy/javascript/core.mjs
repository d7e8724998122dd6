/** aetool's core as WebAssembly, with the part of ONNX Runtime's interface that autoencoder.mjs uses. */

const ALIGNED = 64;
const STEP_BYTES = 36;
const MAX_OUTPUTS = 8;
const ROWS_TOGETHER = 8; // rows of working memory, as AETOOL_ROWS of core.h
const PLAN_BYTES = 84; // of aetool_plan in 32 bits

const aligned = (bytes) => Math.ceil(bytes / ALIGNED) * ALIGNED;

class Tensor {
  constructor(type, data, dims) {
    Object.assign(this, { type, data, dims });
  }
}

/** One program in a memory of its own. */
class Session {
  #core;
  #program;
  #plan;
  #free; // where rows, outputs and working memory begin
  #layout;

  constructor(instance, content) {
    const { exports } = instance;
    this.#core = exports;
    const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
    const length = view.getUint32(0, true);
    this.#program = JSON.parse(new TextDecoder().decode(content.subarray(4, 4 + length)));
    this.inputNames = [this.#program.input];
    this.outputNames = this.#program.outputs.map(({ name }) => name);
    const { sizes, outputs } = this.#program;
    let at = exports.heap();
    this.#plan = at;
    at += aligned(PLAN_BYTES);
    const places = [];
    let from = 4 + length;
    this.#grow(at + content.length + ALIGNED * 5);
    for (const size of sizes) {
      from = aligned(from);
      new Uint8Array(exports.memory.buffer).set(content.subarray(from, from + size), at);
      places.push(at);
      from += size;
      at += aligned(size);
    }
    this.#free = at;
    const [steps, floats, halves, indexes] = sizes;
    const words = [...places, 0, steps / STEP_BYTES, floats / 4, halves / 2, indexes / 4, this.#rowLength(), outputs.length];
    for (let k = 0; k < MAX_OUTPUTS; k += 1) words.push(k < outputs.length ? numbers(outputs[k].shape) : 0);
    words.push(this.#program.work, 0);
    new Int32Array(exports.memory.buffer, this.#plan, words.length).set(words);
    const wrong = exports.check(this.#plan);
    if (wrong !== 0) throw new Error(`the program of this graph is damaged (step ${wrong}); deploy it again`);
  }

  /** ONNX Runtime's run: name -> tensor in, name -> tensor out. */
  async run(feeds) {
    const { data, dims } = feeds[this.#program.input];
    const { input, pointers, work, outputs } = this.#laidOut(dims[0]);
    input.set(data);
    this.#core.run(this.#plan, input.byteOffset, pointers, dims[0], work);
    const found = {};
    for (const { name, values, decides, dims: shape } of outputs) {
      found[name] = new Tensor(decides ? "bool" : "float32", decides ? Uint8Array.from(values) : values.slice(), shape);
    }
    return found;
  }

  /** Where rows, outputs and working memory lie: kept, for the next call often has as many rows. */
  #laidOut(rows) {
    const { memory } = this.#core;
    if (this.#layout?.rows === rows && this.#layout.buffer === memory.buffer) return this.#layout;
    let at = this.#free;
    const place = (count) => {
      const found = at;
      at += aligned(4 * count);
      return found;
    };
    const described = this.#program.outputs.map(({ name, shape, decides }) => {
      return { name, decides, dims: [rows, ...shape], length: rows * numbers(shape) };
    });
    const length = rows * this.#rowLength();
    const [first, pointers, work] = [length, MAX_OUTPUTS, this.#program.work * ROWS_TOGETHER].map(place);
    const found = described.map((output) => place(output.length));
    this.#grow(at);
    const { buffer } = memory;
    new Int32Array(buffer, pointers, found.length).set(found);
    const outputs = described.map((output, k) => ({ ...output, values: new Float32Array(buffer, found[k], output.length) }));
    this.#layout = { rows, buffer, input: new Float32Array(buffer, first, length), pointers, work, outputs };
    return this.#layout;
  }

  #rowLength() {
    return numbers(this.#program.row);
  }

  #grow(bytes) {
    const { memory } = this.#core;
    const missing = bytes - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / 65536));
  }
}

const numbers = (shape) => shape.reduce((product, size) => product * size, 1);

/** The core in the place of onnxruntime-web or onnxruntime-node; its "models" are programs, files that end in .core. */
export async function coreRuntime(wasm) {
  const module = await WebAssembly.compile(wasm);
  const create = async (content) => new Session(await WebAssembly.instantiate(module), content);
  return { Tensor, InferenceSession: { create }, isCore: true };
}
