"""Training time and AUROC against PyOD's AutoEncoder at its defaults, on the same rows.

    python benchmarks/training.py DATA.npz        NPZ with X and y (1 = anomaly)

Each contestant trains in its own process, the processes take turns; imports and reading are not counted.
PyOD comes with the extra `peers`.
"""

import json
import statistics
import time
from pathlib import Path
from typing import Any

from common import contestant, parser, save, semi_supervised

CONTESTANTS = ("aetool", "pyod")


def run_aetool(path: Path, seed: int) -> dict[str, Any]:
    from aetool import model
    from aetool.checks.evaluation import ranking
    from aetool.tables import table_from_columns

    training, test, labels = semi_supervised(path)
    table = table_from_columns({f"X_{i}": column for i, column in enumerate(training.T)}, source=path.name)
    begin = time.perf_counter()
    trained = model.train(table, model.TrainingConfig(seed=seed))
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "auroc": ranking(trained.score(test), labels)["auroc"]}


def run_pyod(path: Path, seed: int) -> dict[str, Any]:
    from pyod.models.auto_encoder import AutoEncoder

    from aetool.checks.evaluation import ranking

    training, test, labels = semi_supervised(path)
    begin = time.perf_counter()
    detector = AutoEncoder(random_state=seed, verbose=0).fit(training)
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "auroc": ranking(detector.decision_function(test), labels)["auroc"]}


def main() -> None:
    arguments = parser(__doc__, CONTESTANTS)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    if options.contestant:
        run = run_aetool if options.contestant == "aetool" else run_pyod
        print(json.dumps(run(options.data, options.seed)))
        return
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTESTANTS}
    for seed in range(options.seeds):
        for name in CONTESTANTS:
            found = contestant(__file__, name, [str(options.data), "--seed", str(seed)])
            rounds[name].append(found)
            print(f"seed {seed} {name:8} {found['seconds']:7.2f} s  AUROC {found['auroc']:.4f}")
    medians = {
        name: {key: statistics.median(found[key] for found in runs) for key in ("seconds", "auroc")}
        for name, runs in rounds.items()
    }
    ratio = medians["aetool"]["seconds"] / medians["pyod"]["seconds"]
    print(f"time ratio {ratio:.3f} (1/{1 / ratio:.1f}); AUROC {medians['aetool']['auroc']:.4f}, ", end="")
    print(f"PyOD {medians['pyod']['auroc']:.4f}")
    results = {"medians": medians, "rounds": rounds, "time_ratio": ratio}
    save("training", {"data": options.data.name, "seeds": options.seeds}, results)


if __name__ == "__main__":
    main()
