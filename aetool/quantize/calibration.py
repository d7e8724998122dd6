"""Which numbers come up inside a graph: the ranges that integers must cover, from real rows."""

from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from aetool.runtime.inner_values import with_outputs
from aetool.runtime.providers import PROVIDERS
from aetool.runtime.session import open_session

Calibration = Literal["minmax", "percentile", "entropy"]
Floats = NDArray[np.float32]
Values = dict[str, Floats]

PERCENTILE = 99.9
"""Of the numbers between both ends of a range; the others are cut off."""
LEVELS, BINS = 128, 2048
"""Of the entropy method: what the magnitudes are rounded to, and the histogram that this is judged on."""
MOST_ROWS = 4096
MOST_NUMBERS = 1 << 26
"""Observed in memory at once; of models with more numbers in a row, fewer rows are looked at."""
LEAST_KEPT = 0.99
"""Of the numbers, by the entropy method: where none are near zero, a cut before all of them would look perfect."""
_CHUNK = 256


def observe(model: ModelProto, names: Iterable[str], rows: Floats) -> Values:
    """The values `names` inside `model`, or features, for up to MOST_ROWS rows: name -> (rows, ...)."""
    wanted = sorted(set(names))
    inner = [name for name in wanted if name != "features"]
    session = open_session(
        with_outputs(model.SerializeToString(), inner), PROVIDERS["cpu"], where="the model, observed"
    )
    numbers = sum(value[0].size for value in session.run(inner, {"features": rows[:1]})) + rows[0].size
    count = min(len(rows), MOST_ROWS, max(64, MOST_NUMBERS // numbers))
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, count).round().astype(int))]
    parts = [session.run(inner, {"features": chosen[i : i + _CHUNK]}) for i in range(0, len(chosen), _CHUNK)]
    found = {name: np.concatenate([part[i] for part in parts]) for i, name in enumerate(inner)}
    return {name: found.get(name, chosen) for name in wanted}


def range_of(values: Floats, calibration: Calibration) -> tuple[float, float]:
    """What 8 bits should cover of `values`; 0 is inside."""
    finite = values[np.isfinite(values)]
    if not finite.any():
        return 0.0, 0.0
    low, high = METHODS[calibration](finite)
    return min(0.0, low), max(0.0, high)


def _minmax(values: Floats) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _percentile(values: Floats) -> tuple[float, float]:
    low, high = np.percentile(values, [100 - PERCENTILE, PERCENTILE])
    return float(low), float(high)


def _entropy(values: Floats) -> tuple[float, float]:
    """Cut where the rounded distribution tells most of the true one.

    Of all cuts, the one with the least Kullback-Leibler divergence between the histogram of magnitudes (what lies
    beyond counted to the last bin) and the same in LEVELS steps: S. Migacz, 8-bit inference with TensorRT, GTC
    2017.
    """
    magnitudes = np.abs(values[values != 0])  # zeros, which ReLU makes many of, are exact anyway
    counts, edges = np.histogram(magnitudes, bins=BINS, range=(0.0, float(magnitudes.max())))
    total = np.cumsum(counts)
    divergences = []
    cuts = [cut for cut in range(LEVELS, BINS + 1, 8) if total[cut - 1] >= LEAST_KEPT * total[-1]]
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
