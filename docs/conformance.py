"""Write docs/conformance.md from benchmarks/results/conformance.json.

python docs/conformance.py
"""

import json
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_suffix(".md")
RESULT = Path(__file__).parents[1] / "benchmarks" / "results" / "conformance.json"
HEAD = """# One bundle, many hosts

Made from `benchmarks/results/conformance.json` by `python docs/conformance.py`; `make conformance` measures again.

The golden rows of a bundle, computed by every host that `aetool deploy` supports: the largest difference from
PyTorch in float64 over all graphs and outputs, as a share of the output's range (`aetool/checks/parity.py`), and
the number of decisions that flipped. At most 1e-5 and none are allowed.

"""
SHAPES = {
    "reference": "256-128-256",
    "tiny": "640-128x4-8-128x4-640 (MLPerf Tiny)",
    "categories": "numbers and categories",
    "convolution": "images, 1x16x16",
}
NEEDS = """
## What the generated C needs

gcc -O2 on {cpu}; onnxruntime {onnxruntime} in one thread, called through `session.run` in Python. Times are CPU
time. Sizes are in bytes: flash is code and constants, as `size` tells; stack is that of the whole chain of calls,
as `gcc -fstack-usage` tells; live are the most activations that are needed at once. Nothing is on the heap and
nothing is static.

| model | function | flash | weights | stack | live | one row, us | onnxruntime, us |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |
"""
VERBS = {"encoder": "encode", "autoencoder": "reconstruct", "detector": "detect"}


def page(document: dict[str, Any]) -> str:
    """The whole page."""
    results, needs = document["results"]["hosts"], document["results"]["c"]
    hosts = list(next(iter(results.values())))
    lines = [
        "| host | " + " | ".join(f"{SHAPES[name]}, {_rows(results[name])}" for name in results) + " |",
        "| --- | " + " | ".join("---:" for _ in results) + " |",
        f"| {hosts[0]} | " + " | ".join("the reference" for _ in results) + " |",
        *(
            f"| {host} | " + " | ".join(_cell(results[name][host]) for name in results) + " |"
            for host in hosts[1:]
        ),
    ]
    machine = document["machine"]
    text = HEAD + "\n".join(lines) + "\n"
    packages = machine["packages"]
    runtime = packages.get("onnxruntime") or packages["onnxruntime-gpu"]  # the CPU provider of either
    text += NEEDS.format(cpu=machine["cpu"], onnxruntime=runtime)
    for name, graphs in needs.items():
        for graph, found in graphs.items():
            numbers = [found[key] for key in ("flash", "weights_bytes", "stack", "largest_live_bytes")]
            times = [f"{found['c_us']:.0f}", f"{found['onnxruntime_us']:.1f}"]
            cells = [SHAPES[name], f"`{VERBS[graph]}`", *(f"{number:,}" for number in numbers), *times]
            text += f"| {' | '.join(cells)} |\n"
    return text


def _rows(hosts: dict[str, Any]) -> str:
    found = next(iter(hosts.values()))
    return f"{found['rows']} rows"


def _cell(found: dict[str, Any]) -> str:
    return f"{found['max_scaled_difference']:.1e}, {found['flipped']} flipped"


if __name__ == "__main__":
    PAGE.write_text(page(json.loads(RESULT.read_text(encoding="utf-8"))), encoding="utf-8")
