/** The bundle inside this page. */

import * as ort from "onnxruntime-web";
import { Autoencoder } from "./autoencoder.mjs";

const file = (name) => document.querySelector(`script[data-file="${CSS.escape(name)}"]`).textContent;

/** base64 to bytes, then unzipped: WebAssembly takes a quarter of the room so. */
async function unpacked(base64) {
  const zipped = Uint8Array.from(atob(base64.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([zipped]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

export async function load({ precision } = {}) {
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary ??= await unpacked(file("ort-wasm-simd-threaded.wasm"));
  return Autoencoder.open(ort, (name) => unpacked(file(`model/${name}`)), { precision });
}
