/** Opens a page of one file, whose program stands in it packed, as the model does. */

import { unpacked } from "./packed.mjs";

const files = document.getElementById("packed").textContent;
globalThis.packed = JSON.parse(files);
try {
  const text = new TextDecoder().decode(await unpacked(packed["page.mjs"]));
  document.head.append(Object.assign(document.createElement("script"), { type: "module", id: "program", textContent: text }));
} catch (error) {
  document.getElementById("check-text").textContent = `This page needs a browser of 2023 or later: ${error.message}.`;
}
