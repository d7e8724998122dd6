/** The bundle inside this page, on aetool's core. */

import { Autoencoder } from "./autoencoder.mjs";
import { coreRuntime } from "./core.mjs";

const file = (name) => document.querySelector(`script[data-file="${CSS.escape(name)}"]`).textContent;

/** base64 to bytes, then unzipped. */
async function unpacked(base64) {
  const zipped = Uint8Array.from(atob(base64.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([zipped]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

export async function load({ precision } = {}) {
  const core = await coreRuntime(await unpacked(file("core.wasm")));
  const place = (name) => (name.endsWith(".onnx") ? `programs/${name.slice(0, -5)}.core` : `model/${name}`);
  return Autoencoder.open(core, (name) => unpacked(file(place(name))), { precision });
}
