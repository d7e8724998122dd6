/** The bundle beside this module, in a browser. */

import * as ort from "./onnxruntime/ort.wasm.bundle.min.mjs";
import { Autoencoder } from "./autoencoder.mjs";

export { Autoencoder };

ort.env.wasm.numThreads = 1; // more need a page that is cross-origin isolated
ort.env.wasm.wasmPaths = { wasm: new URL("./onnxruntime/ort-wasm-simd-threaded.wasm", import.meta.url).href };

export async function load({ from = new URL("./model/", import.meta.url), precision } = {}) {
  const base = new URL(from, globalThis.location?.href);
  if (!base.pathname.endsWith("/")) base.pathname += "/";
  const read = async (name) => {
    const response = await fetch(new URL(name, base));
    if (!response.ok) throw new Error(`${response.url}: ${response.status} ${response.statusText}`);
    return new Uint8Array(await response.arrayBuffer());
  };
  return Autoencoder.open(ort, read, { precision });
}
