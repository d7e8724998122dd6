/** The bundle beside this module, in Node. */

import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

import * as ort from "onnxruntime-node";
import { Autoencoder } from "./autoencoder.mjs";

export { Autoencoder };

export async function load({ from = new URL("./model/", import.meta.url), precision } = {}) {
  const base = from instanceof URL ? from : pathToFileURL(`${from}/`);
  return Autoencoder.open(ort, (name) => readFile(new URL(name, base)), { precision });
}
