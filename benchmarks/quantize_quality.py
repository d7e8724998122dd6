"""AUROC and false positives of every precision beside fp32's, for seeds 0 to 2.

python benchmarks/quantize_quality.py DATA.npz...      NPZ with X and y (1 = anomaly)

A model is trained on the first half of the normal rows and quantised with the same rows; it is judged on the rest
and every anomaly, which neither training nor calibration nor threshold has seen. "forced" is what the threshold of
fp32 would flag of the scores of a precision.
"""

import statistics
import tempfile
from pathlib import Path
from typing import Any

from common import parser, save, semi_supervised

import aetool
from aetool import model
from aetool.checks.evaluation import ranking
from aetool.checks.fidelity import Budget
from aetool.export import export_checkpoint
from aetool.quantize import PRECISIONS, quantize
from aetool.tables import table_from_columns

ANY = Budget(max_auroc_drop=None, max_flips=None, min_speedup=0.0)


def measure(path: Path, seed: int, folder: Path) -> dict[str, Any]:
    training, test, labels = semi_supervised(path)
    table = table_from_columns({f"X_{i}": column for i, column in enumerate(training.T)}, source=path.name)
    trained = model.train(table, model.TrainingConfig(seed=seed))
    bundle = export_checkpoint(trained, folder / f"{path.stem}-{seed}").bundle.path
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


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("data", type=Path, nargs="+")
    options = arguments.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for path in options.data:
            rounds = [measure(path, seed, Path(folder)) for seed in range(3)]
            summary = {}
            for precision in PRECISIONS:
                rates = [found[precision]["false_positive_rate"] for found in rounds]
                exact = [found["fp32"]["false_positive_rate"] for found in rounds]
                forced = [found[precision]["forced_false_positive_rate"] for found in rounds]
                drops = [found["fp32"]["auroc"] - found[precision]["auroc"] for found in rounds]
                summary[precision] = {
                    "largest_auroc_drop": max(drops),
                    "false_positive_ratio": statistics.median(a / b for a, b in zip(rates, exact, strict=True)),
                    "forced_false_positive_ratio": statistics.median(
                        a / b for a, b in zip(forced, exact, strict=True)
                    ),
                }
                print(
                    f"{path.stem:20} {precision:13} AUROC drop at most {max(drops):+.4f}  false positives "
                    f"{summary[precision]['false_positive_ratio']:.2f} of fp32's, with its threshold "
                    f"{summary[precision]['forced_false_positive_ratio']:.2f}"
                )
            results[path.stem] = {**summary, "rounds": rounds}
    save("quantize_quality", {"data": [path.name for path in options.data]}, results)


if __name__ == "__main__":
    main()
