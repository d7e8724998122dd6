"""Which feature every host names first, over all flagged rows: golden ones, and anomalies made of normal ones.

python benchmarks/explained.py
"""

import contextlib
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import conformance
import hosts
import numpy as np
from common import save
from numpy.typing import NDArray

import aetool
from aetool.bundle.bundle import Bundle
from aetool.bundle.golden import read_golden
from aetool.deploy.c import c, symbol
from aetool.deploy.node import node
from aetool.deploy.web import web

BUNDLES = ("reference", "breast-cancer", "categories", "convolution")
MADE = 400
_AT_ONCE = 200
"""Rows of a file that the page shows."""
Rows = NDArray[np.float32]


def make(name: str, folder: Path) -> Bundle:
    """One of BUNDLES."""
    return (
        Bundle.open(hosts.ROOT / "exported" / name) if name == "breast-cancer" else conformance.make(name, folder)
    )


def flagged_rows(bundle: Bundle, made: int, seed: int = 0) -> Rows:
    """(rows, numbers), flat: the flagged ones of the golden rows and of `made` anomalies, seeded."""
    golden = read_golden(bundle)
    rows = golden["features"].astype(np.float32)
    normal = rows[~golden["is_anomaly"]].reshape(-1, int(np.prod(rows.shape[1:])))
    random = np.random.default_rng(seed)
    odd = normal[random.integers(0, len(normal), made)]
    low, high = normal.min(axis=0), normal.max(axis=0)
    kinds = [feature.categories for feature in bundle.manifest.features] or [None] * normal.shape[1]
    for i in range(made):
        for place in random.choice(normal.shape[1], random.integers(1, 4), replace=False):
            texts = kinds[place]
            if texts is not None:
                odd[i, place] = random.choice([*range(-1, len(texts)), np.nan])
            elif i % 20 == 0:
                odd[i, place] = random.choice([np.nan, np.inf, -np.inf])
            else:
                span = (high[place] - low[place]) or 1
                odd[i, place] += random.choice([-1, 1]) * span * random.lognormal(1, 1)
    everything = np.concatenate([rows.reshape(len(rows), -1), odd])
    with aetool.load(bundle.path, provider="cpu") as model:
        return everything[model.detect(everything.reshape(-1, *rows.shape[1:]))]


def in_python(bundle: Bundle, rows: Rows) -> list[str]:
    with aetool.load(bundle.path, provider="cpu") as model:
        return [reasons[0].feature for reasons in model.reasons(rows.reshape(-1, *model.input_shape), 1)]


def in_node(bundle: Bundle, rows: Rows) -> list[str]:
    script = """import { readFileSync } from "node:fs";
import { load } from "./aetool.mjs";
const model = await load();
const rows = new Float32Array(new Uint8Array(readFileSync("rows")).buffer);
console.log(JSON.stringify((await model.reasons(rows, 1)).map(([{ feature }]) => feature)));
"""
    with hosts.deployed(node(bundle)) as folder:
        (folder / "node_modules").symlink_to(hosts.NODE_MODULES)
        (folder / "rows").write_bytes(rows.tobytes())
        (folder / "first.mjs").write_text(script, encoding="utf-8")
        found: list[str] = json.loads(hosts.run("node", "first.mjs", cwd=folder))
    return found


def in_c(bundle: Bundle, rows: Rows) -> list[str]:
    name, width = symbol(bundle), rows.shape[1]
    program = f"""#include <stdio.h>
#include "{name}.h"
int main(void) {{
    static float row[{width}], contribution[{width}], expected[{width}];
    while (fread(row, sizeof row, 1, stdin) == 1) {{
        int32_t first;
        {name}_explain(row, contribution, expected);
        {name}_rank(row, contribution, expected, &first, 1);
        printf("%d\\n", (int)first);
    }}
    return 0;
}}
"""
    with hosts.deployed(c(bundle, ("explainer",))) as folder:
        (folder / "first.c").write_text(program, encoding="utf-8")
        (folder / "rows").write_bytes(rows.tobytes())
        sources = ("first.c", *hosts.c_sources(folder))
        hosts.run("gcc", *hosts.STRICT_C, "-o", "first", *sources, "-lm", cwd=folder)
        places = hosts.run("sh", "-c", "./first < rows", cwd=folder).split()
    labels = _labels(bundle)
    return [labels[int(place)] for place in places]


def in_page(bundle: Bundle, rows: Rows) -> list[str]:
    """As a person finds it: the rows as a CSV file, one click each, the largest share first."""
    click_each = """async () => {
  const found = {};
  document.querySelector("#order").checked = true;
  const score = document.querySelector("#verdict-score");
  for (const button of document.querySelectorAll("#file-rows button")) {
    score.textContent = "waiting";
    button.click();
    while (score.textContent === "waiting") await new Promise((done) => setTimeout(done));
    found[button.textContent.slice(4)] = document.querySelector("#feature-rows th").textContent;
  }
  return found;
}"""
    labels = _labels(bundle)
    shown = {f"value {i + 1}": label for i, label in enumerate(labels)} if not bundle.manifest.features else {}
    names: list[str] = []
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(hosts.deployed(web(bundle, hosts.NODE_MODULES / "onnxruntime-web")))
        page = stack.enter_context(hosts.browser()).new_page()
        page.goto(stack.enter_context(hosts.served(folder)))
        page.wait_for_selector("#check-mark:is(.good, .bad)")
        for start in range(0, len(rows), _AT_ONCE):
            part = rows[start : start + _AT_ONCE]
            (folder / f"{start}.csv").write_text(_csv(bundle, part), encoding="utf-8")
            page.set_input_files("#csv", folder / f"{start}.csv")
            page.wait_for_selector(f"#file-title:has-text('{start}.csv: ')")
            found = page.evaluate(click_each)
            names += [found[str(i + 1)] for i in range(len(part))]
    return [shown.get(name, name) for name in names]


HOSTS: Mapping[str, Callable[[Bundle, Rows], list[str]]] = {
    "Python": in_python,
    "Node": in_node,
    "web page": in_page,
    "generated C": in_c,
}


def compare(bundle: Bundle, made: int = MADE) -> dict[str, Any]:
    """How many flagged rows there are, and of how many each host names another feature first than Python."""
    rows = flagged_rows(bundle, made)
    expected = in_python(bundle, rows)
    others = {name: first(bundle, rows) for name, first in HOSTS.items() if name != "Python"}
    assert all(len(found) == len(rows) for found in others.values())
    return {
        "flagged_rows": len(rows),
        "not_finite": int((~np.isfinite(rows)).any(axis=1).sum()),
        "other_first_feature": {
            name: sum(a != b for a, b in zip(found, expected, strict=True)) for name, found in others.items()
        },
    }


def _labels(bundle: Bundle) -> list[str]:
    indexes = np.ndindex(*bundle.manifest.input_shape)
    return list(bundle.manifest.feature_names) or [",".join(map(str, index)) for index in indexes]


def _csv(bundle: Bundle, rows: Rows) -> str:
    features = bundle.manifest.features
    kinds = [feature.categories for feature in features] or [None] * rows.shape[1]

    def cell(value: np.float32, texts: tuple[str, ...] | None) -> str:
        if np.isnan(value):
            return ""
        if texts is None:
            return str(value)
        return texts[int(value)] if value >= 0 else "another"

    lines = [",".join(cell(value, texts) for value, texts in zip(row, kinds, strict=True)) for row in rows]
    header = ",".join(f'"{feature.name}"' for feature in features) if features else ""
    return "\n".join([*([header] if header else []), *lines, ""])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        results = {name: compare(make(name, Path(folder))) for name in BUNDLES}
    print(save("explained", {"bundles": list(BUNDLES), "made": MADE}, results))


if __name__ == "__main__":
    main()
