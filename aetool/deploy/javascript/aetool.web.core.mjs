/** The bundle beside this module, in a browser, on aetool's core. */

import { Autoencoder } from "./autoencoder.mjs";
import { coreRuntime } from "./core.mjs";

export { Autoencoder };

async function fetched(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${response.url}: ${response.status} ${response.statusText}`);
  return new Uint8Array(await response.arrayBuffer());
}

export async function load({ from = new URL("./model/", import.meta.url), precision } = {}) {
  const base = new URL(from, globalThis.location?.href);
  if (!base.pathname.endsWith("/")) base.pathname += "/";
  const core = await coreRuntime(await fetched(new URL("./core.wasm", import.meta.url)));
  // The bundle stays as it was published: programs of its graphs lie beside it.
  const place = (name) => (name.endsWith(".onnx") ? `../programs/${name.slice(0, -5)}.core` : name);
  return Autoencoder.open(core, (name) => fetched(new URL(place(name), base)), { precision });
}
