"""Whether thresholds and p-values keep what they promise, on rows that were not used to calibrate.

python benchmarks/false_alarms.py DATA.npz...      NPZ with X and y (1 = anomaly), beside tables made here

Each table: a model of a random half of the normal rows; the other half is split at random, many times, into rows
to calibrate with and rows to test on. Counts of false alarms are compared with the exact 95 % interval of a count
on so many test rows, given the calibration rows (beta-binomial; the interval of the rate itself is Clopper and
Pearson's, and leaves out that the test rows are few).
"""

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from common import parser, save
from numpy.typing import NDArray

import aetool
from aetool.checks.binomial import expected_counts, fewest_rows, interval
from aetool.decisions._calibrate import kept_of
from aetool.decisions._choice import Goal, choose
from aetool.decisions._graph import calibrator
from aetool.decisions._tail import fit_tail
from aetool.runtime.calibrator import discoveries

RATES = (0.001, 0.01, 0.05)
FDR = 0.05
SPLITS = 100
MOST_ROWS = 20_000
_BATCH = 1000
Rows = NDArray[np.float64]


def made_tables() -> Iterator[tuple[str, Rows, Rows]]:
    """Name, normal rows and anomalies of tables with different shapes and tails."""
    from sklearn.datasets import load_breast_cancer, load_digits, make_friedman1, make_swiss_roll

    cancer, digits = load_breast_cancer(), load_digits()
    yield "breast-cancer", cancer.data[cancer.target == 1], cancer.data[cancer.target == 0]
    yield "digits", digits.data[digits.target < 7], digits.data[digits.target >= 7]
    random = np.random.default_rng(0)
    count = 8000
    hidden = random.normal(size=(count, 3))
    low_rank = hidden @ random.normal(size=(3, 12)) + 0.2 * random.normal(size=(count, 12))
    heavy = random.standard_t(2.5, size=(count, 4)) @ random.normal(size=(4, 10))
    heavy += 0.3 * random.standard_t(3, size=(count, 10))
    roll = make_swiss_roll(count, noise=0.3, random_state=0)[0]
    features, target = make_friedman1(count, noise=0.5, random_state=0)
    clusters = random.normal(size=(6, 8))[random.integers(0, 6, count)] * 4 + random.normal(size=(count, 8))
    rounded = np.round(np.abs(low_rank[:, :6]) * 2)
    for name, values in (
        ("low rank", low_rank),
        ("heavy tails", heavy),
        ("swiss roll", roll),
        ("friedman", np.column_stack([features, target])),
        ("clusters", clusters),
        ("counts with ties", rounded),
    ):
        odd = values[random.permutation(count)[:400]].copy()
        for column in range(0, odd.shape[1], 2):
            odd[:, column] = random.permutation(odd[:, column])
        yield name, values, odd


def scores_of(name: str, normal: Rows, odd: Rows, folder: Path) -> dict[str, Any]:
    """Scores of the half of the normal rows that was not trained on, and of anomalies; the default threshold."""
    from aetool import model
    from aetool.export import export_checkpoint
    from aetool.tables import table_from_columns

    order = np.random.default_rng(0).permutation(len(normal))[:MOST_ROWS]
    training, rest = normal[order[: len(order) // 2]], normal[order[len(order) // 2 :]]
    table = table_from_columns({f"X_{i}": column for i, column in enumerate(training.T)}, source=name)
    exported = export_checkpoint(model.train(table), folder / name.replace(" ", "-"))
    with aetool.load(exported.bundle.path, provider="cpu") as session:
        rule = session.manifest.threshold
        return {
            "rest": session.score(rest).astype(np.float64),
            "odd": session.score(odd).astype(np.float64),
            "threshold": session.threshold,
            "rows": rule["rows"],
            "count": round(rule["flagged_share"] * rule["rows"]),
        }


def p_values(known: Rows, score: Rows) -> NDArray[np.float32]:
    kept = kept_scores(known)
    graph = calibrator(kept, fit_tail(known), None, opset=18, ir_version=10, producer="", metadata={})
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run(["p_value"], {"score": score.astype(np.float32)})[0]
    return found


def kept_scores(known: Rows) -> NDArray[np.float32]:
    kept = kept_of(known)
    assert kept is not None
    return kept


def uniform(p_value: NDArray[np.float32]) -> bool:
    """Whether Kolmogorov and Smirnov do not reject uniform p-values at 1 %."""
    from scipy.stats import kstest

    return bool(kstest(p_value, "uniform").pvalue >= 0.01)


def measure(found: dict[str, Any]) -> dict[str, Any]:
    rest, odd = found["rest"], found["odd"]
    bounds: dict[tuple[int, int, int], tuple[int, int]] = {}
    figures: dict[str, list[Any]] = {}
    for seed in range(SPLITS):
        random = np.random.default_rng(seed)
        order = random.permutation(len(rest))
        half = len(rest) // 2
        known, further = np.sort(rest[order[:half]]), rest[order[half:]]
        for rate in RATES:
            if half < fewest_rows(rate):
                continue
            threshold = choose(Goal(false_alarms=rate), known, np.empty(0))
            figures.setdefault(f"{rate:g}", []).append(
                _kept(int(np.sum(known > threshold)), half, further > threshold, rate, bounds)
            )
        alarms = further > found["threshold"]
        figures.setdefault("default", []).append(
            _kept(found["count"], found["rows"], alarms, found["count"] / found["rows"], bounds)
        )
        most = len(rest) - max(30, len(rest) // 11)  # few tested for those known, whose own chance counts too
        values = p_values(np.sort(rest[order[:most]]), rest[order[most:]])
        figures.setdefault("uniform", []).append(uniform(values))
        batch = further[:_BATCH]
        some = random.permutation(odd)[: max(1, len(batch) // 10)]
        counted = np.maximum(p_values(known, np.concatenate([batch, some])), 1 / (len(kept_scores(known)) + 1))
        flagged = discoveries(counted, FDR)
        figures.setdefault("fdp", []).append(float(flagged[: len(batch)].sum() / max(flagged.sum(), 1)))
        figures.setdefault("power", []).append(float(flagged[len(batch) :].mean()))
    return figures


def _kept(
    count: int,
    rows: int,
    alarms: NDArray[np.bool_],
    rate: float,
    bounds: dict[tuple[int, int, int], tuple[int, int]],
) -> tuple[bool, bool, float]:
    """Whether the count is within the interval of a count, the rate within that of the rate; and the rate."""
    key = count, rows, len(alarms)
    if key not in bounds:
        bounds[key] = expected_counts(*key)
    low, high = bounds[key]
    realised = int(alarms.sum())
    inner = interval(count, rows)
    return low <= realised <= high, inner[0] <= realised / len(alarms) <= inner[1], realised / len(alarms)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("data", type=Path, nargs="*")
    tables = list(made_tables())
    for path in arguments.parse_args().data:
        with np.load(path, allow_pickle=False) as archive:
            values, labels = archive["X"].astype(np.float64), archive["y"].astype(bool)
        tables.append((path.stem, values[~labels], values[labels]))
    results: dict[str, Any] = {}
    every: dict[str, list[Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, normal, odd in tables:
            found = scores_of(name, normal, odd, Path(folder))
            figures = measure(found)
            for key, values in figures.items():
                every.setdefault(key, []).extend(values)
            results[name] = {"rows": len(found["rest"]), **_summary(figures)}
            print(f"{name:20} {len(found['rest']):6,} rows  {results[name]}", flush=True)
    results["all"] = _summary(every)
    print(results["all"])
    save("false_alarms", {"splits": SPLITS, "rates": RATES, "fdr": FDR, "tables": len(tables)}, results)


def _summary(figures: dict[str, list[Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, values in figures.items():
        if key == "uniform":
            found["ks_rejected"] = 1 - float(np.mean(values))
        elif key in ("fdp", "power"):
            found[key] = float(np.mean(values))
            if key == "fdp":
                found["fdp_standard_error"] = float(np.std(values) / math.sqrt(len(values)))
        else:
            inside, strict, rates = zip(*values, strict=True)
            found[key] = {
                "splits": len(values),
                "within": float(np.mean(inside)),
                "within_interval_of_rate": float(np.mean(strict)),
                "mean_rate": float(np.mean(rates)),
            }
    return found


if __name__ == "__main__":
    main()
