"""AUROC of the bundle and of PyTorch, with default options, for seeds 0 to 2.

python benchmarks/quality.py DATA.npz...      NPZ with X and y (1 = anomaly)
"""

import statistics
from pathlib import Path
from typing import Any

from common import judged, of_every_table

import aetool
from aetool.checks.evaluation import ranking


def measure(path: Path, seed: int, folder: Path) -> dict[str, Any]:
    _, trained, exported, test, labels = judged(path, seed, folder)
    session = aetool.load(exported.bundle.path)
    torch_auroc = ranking(trained.score(test), labels)["auroc"]
    auroc = ranking(session.score(test), labels)["auroc"]
    return {
        "seed": seed,
        "auroc": auroc,
        "difference_to_torch": abs(auroc - torch_auroc),
        "max_scaled_difference": max(record.max_scaled for record in exported.parity),
        "false_positive_rate": float(session.detect(test)[~labels].mean()),
    }


def summary(name: str, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    median = statistics.median(figures["auroc"] for figures in rounds)
    difference = max(figures["difference_to_torch"] for figures in rounds)
    scaled = max(figures["max_scaled_difference"] for figures in rounds)
    print(f"{name:20} AUROC {median:.4f}  torch differs {difference:.0e}  parity {scaled:.0e}")
    return {"median_auroc": median, "rounds": rounds}


if __name__ == "__main__":
    of_every_table("quality", __doc__, measure, summary)
