"""AUROC and false positives of every precision beside fp32's, for seeds 0 to 2.

python benchmarks/quantize_quality.py DATA.npz...      NPZ with X and y (1 = anomaly)

A model is trained on the first half of the normal rows and quantised with the same rows; it is judged on the rest
and every anomaly, which neither training nor calibration nor threshold has seen. "forced" is what the threshold of
fp32 would flag of the scores of a precision.
"""

import statistics
from pathlib import Path
from typing import Any

from common import judged, of_every_table

import aetool
from aetool.checks.evaluation import ranking
from aetool.checks.fidelity import Budget
from aetool.quantize import PRECISIONS, quantize

ANY = Budget(max_auroc_drop=None, max_flips=None, min_speedup=0.0)


def measure(path: Path, seed: int, folder: Path) -> dict[str, Any]:
    table, _, exported, test, labels = judged(path, seed, folder)
    bundle = exported.bundle.path
    found: dict[str, Any] = {"seed": seed}
    exact = aetool.load(bundle)
    for precision in ("fp32", *PRECISIONS):
        if precision != "fp32":
            made = quantize(bundle, table.values, precision=precision, budget=ANY)
        session = aetool.load(bundle, precision=precision)
        score = session.score(test)
        found[precision] = {
            "auroc": ranking(score, labels)["auroc"],
            "false_positive_rate": float(session.detect(test)[~labels].mean()),
            "forced_false_positive_rate": float((~(score <= exact.threshold))[~labels].mean()),
        }
        if precision != "fp32":
            found[precision] |= {
                "recipe": made.figures["recipe"],
                "bytes_ratio": made.figures["bytes_ratio"]["all"],
                "speed": made.figures["speed"],
            }
    return found


def summary(name: str, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for precision in PRECISIONS:
        rates = [figures[precision]["false_positive_rate"] for figures in rounds]
        exact = [figures["fp32"]["false_positive_rate"] for figures in rounds]
        forced = [figures[precision]["forced_false_positive_rate"] for figures in rounds]
        drops = [figures["fp32"]["auroc"] - figures[precision]["auroc"] for figures in rounds]
        result[precision] = {
            "largest_auroc_drop": max(drops),
            "false_positive_ratio": statistics.median(a / b for a, b in zip(rates, exact, strict=True)),
            "forced_false_positive_ratio": statistics.median(a / b for a, b in zip(forced, exact, strict=True)),
        }
        print(
            f"{name:20} {precision:13} AUROC drop at most {max(drops):+.4f}  false positives "
            f"{result[precision]['false_positive_ratio']:.2f} of fp32's, with its threshold "
            f"{result[precision]['forced_false_positive_ratio']:.2f}"
        )
    return {**result, "rounds": rounds}


if __name__ == "__main__":
    of_every_table("quantize_quality", __doc__, measure, summary)
