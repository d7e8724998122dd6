"""Write docs/conformance.md from benchmarks/results/conformance.json and chips.json.

python docs/conformance.py
"""

import json
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_suffix(".md")
CHIPS = Path(__file__).parents[1] / "benchmarks" / "results" / "chips.json"
RESULT = Path(__file__).parents[1] / "benchmarks" / "results" / "conformance.json"
HEAD = """# One bundle, many hosts

Made from `benchmarks/results/conformance.json` and `chips.json` by `python docs/conformance.py`; `make
conformance` and `make chips` measure again.

The golden rows of a bundle, computed by every host that `aetool deploy` supports: the largest difference from
PyTorch in float64 over all graphs and outputs, as a share of the output's range (`aetool/checks/parity.py`), and
the number of decisions that flipped. At most 1e-5 and none are allowed.

"""
SHAPES = {
    "breast-cancer": "30-120-30",
    "reference": "256-128-256",
    "tiny": "640-128x4-8-128x4-640 (MLPerf Tiny)",
    "categories": "numbers and categories",
    "convolution": "images, 1x16x16",
}
PROCESSORS = """
## Processors

The same C, compiled for other processors by `make chips`. There `check.c` prints a SHA-256 of all outputs for
golden rows and for rows with NaN or infinity, for {count} bundles in fp32 and in int8. "Run" means on hardware,
"emulated" by QEMU. No real microcontroller was used.

| processor and compiler | how | same SHA-256 as on x86-64 |
| --- | --- | ---: |
"""
ARM = """
Python on 64-bit ARM: emulated. `make arm64` builds the wheel with Debian's Python under QEMU, the core in it with
NEON, and runs `tests/runtime/test_native.py` and `test_results.py` on it: 195 passed, 1 skipped.
"""
BOARDS = """
## What the generated C needs

The detector on an emulated Cortex-M4F, compiled with gcc -Os. Flash is the whole program: code, weights and
constants. Memory is the row, its outputs and the stack, which was painted beforehand. QEMU counted the
instructions for one row; they are not cycles. Nothing is on the heap.

| model | precision | flash, bytes | memory, bytes | of it stack | instructions |
| --- | --- | ---: | ---: | ---: | ---: |
"""
BOARD = "Cortex-M4F -Os"


def page(document: dict[str, Any]) -> str:
    """The whole page."""
    results = document["results"]["hosts"]
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
    return HEAD + "\n".join(lines) + "\n" + processors(json.loads(CHIPS.read_text(encoding="utf-8")))


def processors(document: dict[str, Any]) -> str:
    """The sections on other processors."""
    results, how = document["results"], document["parameters"]["targets"]
    first = next(iter(how))
    text = PROCESSORS.format(count=len(results) // 2)
    for title, kind in how.items():
        found = [found["sha256"] for found in results.values()]
        run = [hashes for hashes in found if title in hashes]
        same = sum(hashes[title] == hashes[first] for hashes in run)
        text += f"| {title} | {kind if run else 'not run'} | {f'{same} of {len(run)}' if run else ''} |\n"
    text += ARM + BOARDS
    for name, found in results.items():
        model, precision = name.rsplit(" ", 1)
        needs = found["boards"][BOARD]
        numbers = [needs["flash"], needs["stack"] + needs["static_ram"], needs["stack"], needs["instructions"]]
        cells = [SHAPES[model], precision, *(f"{number:,}" for number in numbers)]
        text += f"| {' | '.join(cells)} |\n"
    return text


def _rows(hosts: dict[str, Any]) -> str:
    found = next(iter(hosts.values()))
    return f"{found['rows']} rows"


def _cell(found: dict[str, Any]) -> str:
    return f"{found['max_scaled_difference']:.1e}, {found['flipped']} flipped"


if __name__ == "__main__":
    PAGE.write_text(page(json.loads(RESULT.read_text(encoding="utf-8"))), encoding="utf-8")
