/** The bundle beside this module, in Node, on aetool's core. */

import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

import { Autoencoder } from "./autoencoder.mjs";
import { coreRuntime } from "./core.mjs";

export { Autoencoder };

export async function load({ from = new URL("./model/", import.meta.url), precision } = {}) {
  const base = from instanceof URL ? from : pathToFileURL(`${from}/`);
  const core = await coreRuntime(await readFile(new URL("./core.wasm", import.meta.url)));
  // The bundle stays as it was published: programs of its graphs lie beside it.
  const place = (name) => (name.endsWith(".onnx") ? `../programs/${name.slice(0, -5)}.core` : name);
  return Autoencoder.open(core, (name) => readFile(new URL(place(name), base)), { precision });
}
