/** The model in model.mjs, on aetool's core: in Node, in a browser, in a worker, in any bundler. */

import { Autoencoder } from "./autoencoder.mjs";
import { coreRuntime } from "./core.mjs";
import { packed } from "./model.mjs";
import { unpacked } from "./packed.mjs";

export { Autoencoder };

export async function load({ precision } = {}) {
  const read = (name) => unpacked(packed[name]);
  const compiled = read("core.wasm").then((wasm) => WebAssembly.instantiate(wasm));
  const [{ instance }, content] = await Promise.all([compiled, read("model.core")]);
  return Autoencoder.open(coreRuntime(instance, content), read, { precision });
}
