"""AUROC of the bundle beside other detectors on the same rows, with default options, for seeds 0 to 2.

python benchmarks/quality.py DATA.npz...      NPZ with X and y (1 = anomaly)

Learnt from the first half of the normal rows in file order, tested on the rest and every anomaly. The others get
the same rows, standardised as aetool does it inside: scikit-learn's isolation forest, the mean distance to the 5
nearest neighbours, the error of a PCA that keeps 90 % of the variance, and PyOD's AutoEncoder; it comes with the
extra `peers`, and is left out where it is not installed. docs/speed.md tells where the tables come from.
"""

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import judged, parser, save, semi_supervised
from numpy.typing import NDArray

import aetool
from aetool.checks.evaluation import ranking

Rows = NDArray[Any]
Detector = Callable[[Rows, Rows, int], Rows]
SEEDS = range(3)
SEEDLESS = ("5 nearest neighbours", "PCA")


def forest(training: Rows, test: Rows, seed: int) -> Rows:
    from sklearn.ensemble import IsolationForest

    found: Rows = -IsolationForest(random_state=seed).fit(training).score_samples(test)
    return found


def neighbours(training: Rows, test: Rows, seed: int) -> Rows:
    from sklearn.neighbors import NearestNeighbors

    found: Rows = NearestNeighbors(n_neighbors=5).fit(training).kneighbors(test)[0].mean(axis=1)
    return found


def components(training: Rows, test: Rows, seed: int) -> Rows:
    from sklearn.decomposition import PCA

    pca = PCA(0.9).fit(training)
    found: Rows = np.square(test - pca.inverse_transform(pca.transform(test))).sum(axis=1)
    return found


def pyod(training: Rows, test: Rows, seed: int) -> Rows:
    from pyod.models.auto_encoder import AutoEncoder

    # It standardises by itself.
    found: Rows = AutoEncoder(random_state=seed, verbose=0).fit(training).decision_function(test)
    return found


PEERS: dict[str, Detector] = {
    "isolation forest": forest,
    "5 nearest neighbours": neighbours,
    "PCA": components,
    "PyOD AutoEncoder": pyod,
}


def ours(path: Path, seed: int, folder: Path) -> dict[str, Any]:
    _, trained, exported, test, labels = judged(path, seed, folder)
    session = aetool.load(exported.bundle.path)
    auroc = ranking(session.score(test), labels)["auroc"]
    alone = dataclasses.replace(trained, prototypes=None)
    return {
        "auroc": auroc,
        "by_reconstruction": ranking(alone.score(test), labels)["auroc"],
        "difference_to_torch": abs(auroc - ranking(trained.score(test), labels)["auroc"]),
        "max_scaled_difference": max(record.max_scaled for record in exported.parity),
        "false_alarms": int(session.detect(test)[~labels].sum()),
        "normal_rows": int((~labels).sum()),
        "threshold": dict(exported.bundle.manifest.threshold),
        "prototypes": len(trained.prototypes.rows),
        "weight_of_prototypes": trained.prototypes.weight,
    }


def training_seconds(path: Path, peer: bool) -> dict[str, list[float]]:
    """Time of training on a table, ours and PyOD's in turns, for each seed."""
    from aetool import model
    from aetool.tables import table_from_columns

    training = semi_supervised(path)[0]
    table = table_from_columns({f"X_{i}": column for i, column in enumerate(training.T)}, source=path.name)
    found: dict[str, list[float]] = {"aetool": []} | ({"PyOD AutoEncoder": []} if peer else {})
    for seed in SEEDS:
        begin = time.perf_counter()
        model.train(table, model.TrainingConfig(seed=seed))
        found["aetool"].append(round(time.perf_counter() - begin, 3))
        if peer:
            from pyod.models.auto_encoder import AutoEncoder

            detector = AutoEncoder(random_state=seed, verbose=0)
            begin = time.perf_counter()
            detector.fit(training)
            found["PyOD AutoEncoder"].append(round(time.perf_counter() - begin, 3))
    return found


def measure(path: Path, folder: Path, peers: dict[str, Detector]) -> dict[str, Any]:
    training, test, labels = semi_supervised(path)
    mean, scale = training.mean(axis=0), training.std(axis=0)
    scale = np.where(scale > 0, scale, 1)
    rounds = [ours(path, seed, folder) for seed in SEEDS]
    aurocs = {
        "aetool": [found["auroc"] for found in rounds],
        "reconstruction alone": [found["by_reconstruction"] for found in rounds],
    }
    for name, detector in peers.items():
        scores = (
            detector((training - mean) / scale, (test - mean) / scale, seed)
            for seed in (SEEDS if name not in SEEDLESS else SEEDS[:1])
        )
        aurocs[name] = [ranking(np.asarray(found, np.float64), labels)["auroc"] for found in scores]
    return {
        "rows": len(labels) + len(training),
        "columns": training.shape[1],
        "anomalies": int(labels.sum()),
        "median_auroc": {name: statistics.median(found) for name, found in aurocs.items()},
        "spread": {name: max(found) - min(found) for name, found in aurocs.items()},
        "training_seconds": training_seconds(path, "PyOD AutoEncoder" in peers),
        "rounds": rounds,
    }


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("data", type=Path, nargs="+")
    arguments.add_argument("--without", default="", help="peers to leave out, separated by commas")
    options = arguments.parse_args()
    peers = {name: detector for name, detector in PEERS.items() if name not in options.without.split(",")}
    tables: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for path in options.data:
            name = path.stem.split("_")[-1]
            tables[name] = measure(path, Path(folder), peers)
            figures = "  ".join(f"{key} {value:.4f}" for key, value in tables[name]["median_auroc"].items())
            print(f"{name:12} {figures}", flush=True)
    contestants = [*next(iter(tables.values()))["median_auroc"]]
    means = {
        figure: {one: statistics.mean(found[figure][one] for found in tables.values()) for one in contestants}
        for figure in ("median_auroc", "spread")
    }
    print(means)
    save("quality", {"seeds": len(SEEDS)}, {"tables": tables, "mean": means})


if __name__ == "__main__":
    main()
