"""The golden rows of four bundles on every host, by the rules of aetool/checks/parity.py; and what the C needs.

python benchmarks/conformance.py
"""

import functools
import sys
import tempfile
import time
import timeit
from pathlib import Path
from statistics import median
from typing import Any

import models
import numpy as np
import torch
from common import save
from hosts import HOSTS, ROOT, build_c, c_figures, deployed, missing, run_c, time_c
from numpy.typing import NDArray

from aetool import model
from aetool.bundle.bundle import Bundle
from aetool.bundle.golden import read_golden
from aetool.checks.parity import compare_graph
from aetool.deploy.c import c
from aetool.export import ExportOptions, export_checkpoint, export_module
from aetool.runtime.providers import onnxruntime
from aetool.tables import table_from_columns

sys.path.insert(0, str(ROOT / "examples"))
from conv_autoencoder import ConvAutoencoder

BUNDLES = ("reference", "tiny", "categories", "convolution")
ROUNDS, CALLS = 15, 500


def make(name: str, folder: Path) -> Bundle:
    """Trained for a moment: what is compared is arithmetic."""
    if name in models.NAMES:
        return Bundle.open(models.make(name, folder).bundle)
    path = folder / name
    if name == "categories":
        export_checkpoint(_customers(), path, ExportOptions(contamination=0.05))
    else:
        torch.manual_seed(0)
        export_module(ConvAutoencoder().eval(), path, rows=_images(256), options=ExportOptions(contamination=0.1))
    return Bundle.open(path)


def _customers() -> Any:
    random = np.random.default_rng(5)
    job = random.integers(0, 4, 400)
    size = job + random.normal(0, 0.1, 400)
    columns = {
        "job": [("clerk", "nurse", "pilot", "smith")[i] for i in job],
        "size": size,
        "region": random.choice([3, 10, 20], 400),
        "weight": 3 * size + random.normal(0, 0.3, 400) + 70,
    }
    table = table_from_columns(columns, categorical=["job", "region"], source="made")
    return model.train(table, model.TrainingConfig(epochs=20, batch_size=32))


def _images(count: int) -> NDArray[np.float32]:
    """(count, 1, 16, 16): a soft spot anywhere, and noise."""
    random = np.random.default_rng(0)
    axis = np.arange(16)
    x, y = random.uniform(3, 13, (2, count, 1, 1))
    spots = np.exp(-((axis[None, None, :] - x) ** 2 + (axis[None, :, None] - y) ** 2) / 8)
    return (spots + random.normal(0, 0.05, spots.shape)).astype(np.float32)[:, None]


def compare(bundle: Bundle, host: str) -> dict[str, Any]:
    """The largest difference of all outputs of all graphs, and the decisions that flipped."""
    golden = read_golden(bundle)
    threshold = bundle.manifest.variants["fp32"].threshold
    records = [
        record
        for graph, outputs in HOSTS[host](bundle).items()
        for record in compare_graph(
            graph, golden, {name: value for name, value in outputs.items() if name in golden},
            features=golden["features"], threshold=threshold,
        )
    ]  # fmt: skip
    return {
        "rows": len(golden["score"]),
        "anomalies": int(golden["is_anomaly"].sum()),
        "outputs": len(records),
        "max_scaled_difference": max(record.max_scaled for record in records if record.output != "is_anomaly"),
        "flipped": sum(record.flipped or 0 for record in records),
        "passed": all(record.passed for record in records),
    }


def c_needs(bundle: Bundle) -> dict[str, Any]:
    """Bytes, and the CPU time of one row beside onnxruntime's session.run, taking turns."""
    row = read_golden(bundle)["features"][:1].astype(np.float32)
    found: dict[str, Any] = {}
    made = c(bundle, ("encoder", "autoencoder", "detector"))
    with deployed(made) as folder:
        build_c(folder, bundle)
        for graph in made.figures:
            options = onnxruntime().SessionOptions()
            options.intra_op_num_threads = 1
            session = onnxruntime().InferenceSession(
                bundle.graph(graph), options, providers=["CPUExecutionProvider"]
            )
            run_c(folder, bundle, graph, row)
            call = functools.partial(session.run, None, {"features": row})
            times: list[tuple[float, float]] = []
            for _ in range(ROUNDS):
                ours = time_c(folder, bundle, graph, row, CALLS)
                theirs = timeit.timeit(call, timer=time.process_time, number=CALLS) / CALLS
                times.append((ours, theirs))
            found[graph] = {
                **made.figures[graph],
                **c_figures(folder, bundle, graph),
                "c_us": 1e6 * median(ours for ours, _ in times),
                "onnxruntime_us": 1e6 * median(theirs for _, theirs in times),
            }
    return found


def main() -> None:
    if absent := {host: missing(host) for host in HOSTS if missing(host)}:
        raise SystemExit(f"not installed: {absent}; run make .hosts")
    results: dict[str, Any] = {}
    needs: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in BUNDLES:
            bundle = make(name, Path(folder))
            results[name] = {host: compare(bundle, host) for host in HOSTS}
            if name in models.NAMES:
                needs[name] = c_needs(bundle)
    parameters = {"rounds": ROUNDS, "calls": CALLS, "bundles": list(BUNDLES)}
    print(save("conformance", parameters, {"hosts": results, "c": needs}))


if __name__ == "__main__":
    main()
