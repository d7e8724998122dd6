"""The README's tables of speed, made from results/*.json.

python benchmarks/tables.py        writes them into README.md
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- benchmarks/tables.py -->\n", "<!-- end -->"
MODELS = {"reference": "256-128-256", "tiny": "MLPerf Tiny"}
GRAPHS = {"encode": "`encode`", "reconstruct": "`reconstruct`", "score": "`score`"}


def render() -> str:
    """All tables, as they stand in the README between BEGIN and END."""
    parts = [_machine(), _one_row(), _bulk(), _process(), _mlperf_tiny()]
    return "\n".join(parts)


def _machine() -> str:
    found = _read("bulk")
    machine, peak = found["machine"], found["results"]["matmul_gflops"]
    packages = machine["packages"]
    runtime = packages.get("onnxruntime") or packages["onnxruntime-gpu"]
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {max(peak.values()):.0f} GFLOP/s in float32 matrix "
        f"products; onnxruntime {runtime}, torch {packages['torch']}, OpenVINO {packages['openvino']}.\n"
    )


def _one_row() -> str:
    found = _read("one_row")["results"]
    peers = ("raw-onnxruntime", "torch", "openvino")
    rows = [
        [
            f"{MODELS[model]}, {name}",
            f"{found[model][graph]['aetool']['latency_us']['p50']:.1f}",
            *(f"{found[model][graph][peer]['to_it']['p50']:.2f}" for peer in peers),
        ]
        for model in MODELS
        for graph, name in GRAPHS.items()
    ]
    alone = [
        f"{GRAPHS[graph]} takes {found[model]['alone'][graph]['p50']:.2f} of the time of `reconstruct` "
        f"({MODELS[model]})"
        for graph, model in (("encode", "tiny"), ("score", "reference"))
    ]
    heads = ["one row", "aetool, p50, us", "time to bare onnxruntime's", "to PyTorch's", "to OpenVINO's"]
    return _table(heads, rows) + f"\n{alone[0]}; {alone[1]}.\n"


def _bulk() -> str:
    found = _read("bulk")["results"]
    peers = ("raw-onnxruntime", "torch", "torch-compile", "openvino")
    rows = [
        [
            f"{MODELS[model]}, {name}",
            f"{found[model][graph]['aetool']['rows_per_s'] / 1e6:.2f}",
            *(f"{found[model][graph][peer]['to_it']['throughput']:.2f}x" for peer in peers),
            f"{found[model][graph]['share_of_peak']:.0%}",
        ]
        for model in MODELS
        for graph, name in GRAPHS.items()
    ]
    heads = ["65,536 rows, float32", "aetool, million rows/s", "one `session.run`", "PyTorch", "torch.compile"]
    return _table([*heads, "OpenVINO", "share of the matrix-product peak"], rows)


def _process() -> str:
    start, memory = _read("cold_start")["results"], _read("memory")
    rows = [
        [
            MODELS[model],
            f"{start[model]['median_s']['aetool'] * 1e3:.0f} ms",
            f"{start[model]['to_raw-onnxruntime']:.2f}",
            f"{start[model]['to_torch']:.2f}",
            f"{memory['results'][model]['resident_mb']['aetool']:.0f} MB",
            f"{memory['results'][model]['more_than_raw_mb']:+.1f} MB",
            f"{memory['results'][model]['growth_mb']:+.1f} MB",
        ]
        for model in MODELS
    ]
    heads = ["a process that scores one row", "time", "to bare onnxruntime's", "to PyTorch's", "memory"]
    calls = memory["parameters"]["calls"]
    return _table([*heads, "to bare onnxruntime's", f"over {calls:,} calls of random sizes"], rows)


def _mlperf_tiny() -> str:
    found = _read("mlperf_tiny_latency")["results"]
    rate = found["inferences_per_s"]["aetool"]
    return (
        f"MLPerf Tiny's autoencoder by its single-stream rules: {rate:,.0f} inferences/s, "
        f"{found['time_ratio']:.2f} of bare onnxruntime's time.\n"
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def updated(text: str) -> str:
    """`text` with the tables of today's results."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{render()}{END}{after}"


def main() -> None:
    README.write_text(updated(README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
