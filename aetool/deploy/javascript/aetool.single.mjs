/** The bundle inside this page, on ONNX Runtime Web. */

import { Autoencoder } from "./autoencoder.mjs";
import { packed } from "./model.mjs";
import { unpacked } from "./packed.mjs";

export async function load({ precision } = {}) {
  const ort = await import(packed["onnxruntime-web"]);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary ??= await unpacked(packed["onnxruntime-web.wasm"]);
  return Autoencoder.open(ort, (name) => unpacked(packed[name]), { precision });
}
