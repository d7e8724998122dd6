"""The ranges that integers must cover, from real rows, and the split into calibration and evaluation rows.

onnxruntime's calibrators write and run a file for each method, and observe no range for each column: the values
observed here once serve all methods, and `equalise` too. It has nothing that splits rows.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from aetool.bundle.golden import evenly
from aetool.choices import Calibration
from aetool.errors import InputError
from aetool.onnx_check.edit import with_outputs
from aetool.runtime.ort import open_session
from aetool.runtime.providers import PROVIDERS

Floats = NDArray[np.float32]
Values = dict[str, Floats]

_PERCENTILE = 99.9
"""Percentage of the numbers inside a range; the others are clipped."""
LEVELS, BINS = 128, 2048
"""Levels and histogram bins of the entropy method."""
MOST_ROWS = 4096
_MOST_NUMBERS = 1 << 26
"""Observed in memory at once; of models with more numbers in a row, fewer rows are looked at."""
_LEAST_KEPT = 0.99
"""Least share that the entropy method keeps: with no numbers near zero, cutting all would look perfect."""
_CHUNK = 256


def observe(model: ModelProto, names: Iterable[str], rows: Floats) -> Values:
    """Return the values `names` inside `model`, or features, for up to MOST_ROWS rows: name -> (rows, ...)."""
    wanted = sorted(set(names))
    inner = [name for name in wanted if name != "features"]
    session = open_session(
        with_outputs(model.SerializeToString(), inner), PROVIDERS["cpu"], where="the model, observed"
    )
    numbers = sum(value[0].size for value in session.run(inner, {"features": rows[:1]})) + rows[0].size
    count = min(MOST_ROWS, max(64, _MOST_NUMBERS // numbers))
    chosen = rows[evenly(len(rows), count)]
    parts = [session.run(inner, {"features": chosen[i : i + _CHUNK]}) for i in range(0, len(chosen), _CHUNK)]
    values = {name: np.concatenate([part[i] for part in parts]) for i, name in enumerate(inner)}
    return {name: values.get(name, chosen) for name in wanted}


def range_of(values: Floats, calibration: Calibration) -> tuple[float, float]:
    """Return the range that 8 bits should cover for `values`; it includes 0."""
    finite = values[np.isfinite(values)]
    if not finite.any():
        return 0.0, 0.0
    low, high = METHODS[calibration](finite)
    return min(0.0, low), max(0.0, high)


def _minmax(values: Floats) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _percentile(values: Floats) -> tuple[float, float]:
    low, high = np.percentile(values, [100 - _PERCENTILE, _PERCENTILE])
    return float(low), float(high)


def _entropy(values: Floats) -> tuple[float, float]:
    """Return the cut whose rounded distribution keeps the most information.

    Of all cuts, the one with the least Kullback-Leibler divergence between the histogram of magnitudes (what lies
    beyond counted to the last bin) and the same in LEVELS steps: S. Migacz, 8-bit inference with TensorRT, GTC
    2017.
    """
    magnitudes = np.abs(values[values != 0])  # zeros, which ReLU makes many of, are exact anyway
    counts, edges = np.histogram(magnitudes, bins=BINS, range=(0.0, float(magnitudes.max())))
    total = np.cumsum(counts)
    divergences = []
    cuts = [cut for cut in range(LEVELS, BINS + 1, 8) if total[cut - 1] >= _LEAST_KEPT * total[-1]]
    for cut in cuts:
        true = counts[:cut].astype(np.float64)
        true[-1] += total[-1] - total[cut - 1]
        starts = (np.arange(LEVELS) * cut) // LEVELS
        filled = (counts[:cut] > 0).astype(np.float64)
        sums, widths = np.add.reduceat(counts[:cut], starts), np.add.reduceat(filled, starts)
        level = np.repeat(sums / np.maximum(widths, 1), np.diff([*starts, cut]))
        rounded = np.where(filled > 0, level, 0.0)
        seen = (true > 0) & (rounded > 0)
        p, q = true[seen] / true.sum(), rounded[seen] / max(rounded.sum(), 1.0)
        lost = 1.0 - p.sum()  # mass where the rounded one has none
        divergences.append(float(np.sum(p * np.log(p / q))) + lost * 50.0)
    limit = float(edges[cuts[int(np.argmin(divergences))]])
    low, high = _minmax(values)
    return max(low, -limit), min(high, limit)


METHODS: dict[Calibration, Callable[[Floats], tuple[float, float]]] = {
    "minmax": _minmax,
    "percentile": _percentile,
    "entropy": _entropy,
}


# Split of the rows: some to calibrate with, others to evaluate on.

ENOUGH = 400
"""Normal rows from which on no row has both uses."""
_MOST_JUDGED = 20_000
Labels = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Split:
    """Rows to calibrate with, and rows to evaluate on."""

    calibration: Floats
    """Normal rows, (rows, ...)."""
    judged: Floats
    """(rows, ...)"""
    labels: Labels | None
    """Labels of the evaluation rows, True for anomalies."""
    disjoint: bool
    """True if no row is in both."""

    @property
    def normal(self) -> Labels:
        """Return a mask of the normal evaluation rows."""
        return np.ones(len(self.judged), bool) if self.labels is None else ~self.labels


def split_rows(rows: Floats, labels: Labels | None, seed: int) -> Split:
    """Draw half of the normal rows for each use from `seed`; if they are few, use all of them for both.

    Raises:
        InputError: no normal rows, or labels that are not one for each row.
    """
    if labels is not None and np.shape(labels) != (len(rows),):
        raise InputError(f"labels: one for each of {len(rows)} rows expected, found shape {np.shape(labels)}")
    normal = np.arange(len(rows)) if labels is None else np.flatnonzero(~labels)
    if len(normal) == 0:
        raise InputError("no normal rows, which calibration and threshold need; give a table with such rows")
    random = np.random.default_rng(seed)
    shuffled, disjoint = random.permutation(normal), len(normal) >= ENOUGH
    half = len(normal) // 2 if disjoint else len(normal)
    kept = shuffled[half:] if disjoint else shuffled
    anomalies = np.setdiff1d(np.arange(len(rows)), normal)
    judged = random.permutation(np.concatenate([kept, anomalies]))[:_MOST_JUDGED]
    if len(anomalies) and labels is not None and not (labels[judged].any() and not labels[judged].all()):
        judged = np.concatenate([kept[: _MOST_JUDGED // 2], anomalies[: _MOST_JUDGED // 2]])
    judged = np.sort(judged)
    return Split(
        calibration=np.ascontiguousarray(rows[np.sort(shuffled[:half])]),
        judged=np.ascontiguousarray(rows[judged]),
        labels=None if labels is None or not len(anomalies) else labels[judged],
        disjoint=disjoint,
    )
