"""One row in Chromium and in Node: aetool's core against ONNX Runtime Web, in turns in the same page or process.

python benchmarks/one_row_javascript.py
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import conformance
from common import save
from hosts import NODE_MODULES, browser, run, served

from aetool.bundle.atomic import publish_directory
from aetool.bundle.bundle import Bundle
from aetool.deploy.node import node
from aetool.deploy.web import web

BUNDLES = ("reference", "tiny")
ROUNDS, CALLS = 31, 200

# `contestants`: name -> a loaded model. Scores are compared before anything is timed; the median of the rounds.
_IN_TURNS = """
const names = Object.keys(contestants);
const golden = (await contestants[names[0]].golden()).features.data;
const { width } = contestants[names[0]];
const count = golden.length / width;
const rows = Array.from({ length: count }, (_, i) => Float32Array.from(golden.slice(i * width, (i + 1) * width)));
let difference = 0;
for (const row of rows) {
  const found = [];
  for (const name of names) found.push((await contestants[name].score(row))[0]);
  difference = Math.max(difference, ...found.map((score) => Math.abs(score - found[0]) / Math.abs(found[0])));
}
const times = Object.fromEntries(names.map((name) => [name, []]));
for (let round = -3; round < ROUNDS; round += 1) {
  for (const name of names) {
    const begin = performance.now();
    for (let i = 0; i < CALLS; i += 1) await contestants[name].score(rows[i % rows.length]);
    if (round >= 0) times[name].push((1000 * (performance.now() - begin)) / CALLS);
  }
}
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
const found = { difference, ...Object.fromEntries(names.map((name) => [name, median(times[name])])) };
"""


def _script(loaded: dict[str, str]) -> str:
    models = ", ".join(f'"{name}": await (await import("{path}")).load()' for name, path in loaded.items())
    text = _IN_TURNS.replace("ROUNDS", str(ROUNDS)).replace("CALLS", str(CALLS))
    return f"const contestants = {{ {models} }};\n{text}"


def in_chromium(bundle: Bundle, folder: Path) -> dict[str, float]:
    """Microseconds of one row."""
    publish_directory(folder / "core", web(bundle, engine="core").files)
    publish_directory(folder / "ort", web(bundle, NODE_MODULES / "onnxruntime-web", "onnxruntime").files)
    (folder / "index.html").write_text("<!doctype html><title>turns</title>", encoding="utf-8")
    script = _script({"core": "./core/aetool.mjs", "onnxruntime-web": "./ort/aetool.mjs"})
    with browser() as chromium, served(folder) as url:
        page = chromium.new_page()
        page.goto(url)
        found: dict[str, float] = page.evaluate(f"async () => {{ {script} return found; }}")
        return found | {"chromium": chromium.version}


def in_node(bundle: Bundle, folder: Path) -> dict[str, float]:
    """Microseconds of one row."""
    publish_directory(folder / "core", node(bundle, "core").files)
    publish_directory(folder / "ort", node(bundle, "onnxruntime").files)
    (folder / "node_modules").symlink_to(NODE_MODULES)
    # The same WebAssembly as in the page: threads of onnxruntime-node, which spin, would slow down the core.
    module = folder / "ort" / "aetool.mjs"
    own, other = 'from "onnxruntime-node"', 'from "onnxruntime-web"'
    module.write_text(module.read_text(encoding="utf-8").replace(own, other), encoding="utf-8")
    script = "import * as ort from 'onnxruntime-web';\nort.env.wasm.numThreads = 1;\n"
    script += _script({"core": "./core/aetool.mjs", "onnxruntime-web": "./ort/aetool.mjs"})
    (folder / "turns.mjs").write_text(f"{script}console.log(JSON.stringify(found));\n", encoding="utf-8")
    found: dict[str, float] = json.loads(run("node", "turns.mjs", cwd=folder))
    return found | {"node": run("node", "--version", cwd=folder).strip()}


def measure(folder: Path) -> dict[str, Any]:
    """Every bundle in both."""
    results: dict[str, Any] = {}
    for name in BUNDLES:
        bundle = conformance.make(name, folder)
        for host, times in (("Chromium", in_chromium), ("Node", in_node)):
            place = folder / f"{name}-{host}"
            place.mkdir()
            found = times(bundle, place)
            (peer,) = (key for key in found if key.startswith("onnxruntime"))
            found["ratio"] = found["core"] / found[peer]
            results[f"{name}, {host}"] = found
            print(
                f"{name}, {host}: core {found['core']:.1f} us, {peer} {found[peer]:.1f} us, {found['ratio']:.2f}"
            )
    return results


def main() -> None:
    """Measure, print, and keep the result."""
    with tempfile.TemporaryDirectory() as folder:
        results = measure(Path(folder))
    save("one_row_javascript", {"rounds": ROUNDS, "calls": CALLS, "unit": "microseconds"}, results)


if __name__ == "__main__":
    main()
