"""AUROC of the bundle and of PyTorch, with default options, for seeds 0 to 2.

python benchmarks/quality.py DATA.npz...      NPZ with X and y (1 = anomaly)
"""

import statistics
import tempfile
from pathlib import Path
from typing import Any

from common import parser, save, semi_supervised

import aetool
from aetool import model
from aetool.checks.evaluation import ranking
from aetool.export import export_checkpoint
from aetool.tables import table_from_columns


def measure(path: Path, seed: int, folder: Path) -> dict[str, Any]:
    training, test, labels = semi_supervised(path)
    table = table_from_columns({f"X_{i}": column for i, column in enumerate(training.T)}, source=path.name)
    trained = model.train(table, model.TrainingConfig(seed=seed))
    exported = export_checkpoint(trained, folder / f"{path.stem}-{seed}")
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


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("data", type=Path, nargs="+")
    options = arguments.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for path in options.data:
            rounds = [measure(path, seed, Path(folder)) for seed in range(3)]
            median = statistics.median(found["auroc"] for found in rounds)
            results[path.stem] = {"median_auroc": median, "rounds": rounds}
            difference = max(found["difference_to_torch"] for found in rounds)
            scaled = max(found["max_scaled_difference"] for found in rounds)
            print(f"{path.stem:20} AUROC {median:.4f}  torch differs {difference:.0e}  parity {scaled:.0e}")
    save("quality", {"data": [path.name for path in options.data]}, results)


if __name__ == "__main__":
    main()
