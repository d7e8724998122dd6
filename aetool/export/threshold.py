"""Where normal ends: the threshold, from scores of held-out normal rows."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.errors import InputError

DEFAULT_CONTAMINATION = 0.01
CLEAR_GAP = 1e-4
"""Relative distance between two scores that rounding in float32 cannot bridge."""


@dataclass(frozen=True, slots=True)
class Threshold:
    value: float
    """Highest score that still counts as normal; a float32 number."""
    rule: dict[str, Any]
    """How it was chosen, for the manifest."""


def choose_threshold(
    scores: NDArray[np.float64], contamination: float | None, threshold: float | None
) -> Threshold:
    """The threshold given, or the one that flags a share of `contamination` of the held-out normal rows.

    A quantile that falls on a row's own score would leave that row's verdict to rounding: the threshold is
    put in the middle of the nearest clear gap between two scores instead.

    Args:
        scores: of held-out normal rows, ascending.
        contamination: share of normal rows that may be flagged; 0.01 by default.
        threshold: a fixed one; excludes `contamination`.

    Raises:
        InputError: both are given, or a value out of range.
    """
    if threshold is not None:
        if contamination is not None:
            raise InputError("--threshold and --contamination exclude each other; give one")
        if not (math.isfinite(threshold) and threshold >= 0):
            raise InputError(f"threshold: expected a finite number of 0 or more, found {threshold}")
        return Threshold(float(np.float32(threshold)), {"method": "given"})
    contamination = DEFAULT_CONTAMINATION if contamination is None else contamination
    if not 0 <= contamination < 1:
        raise InputError(f"contamination: expected 0 or more and below 1, found {contamination}")
    if len(scores) == 0 or not np.isfinite(scores).all():
        raise InputError("no finite scores of held-out rows to choose a threshold from; pass --threshold")
    value = _in_clear_gap(scores, contamination)
    flagged = float(np.mean(~(scores <= value)))
    rule = {
        "method": "quantile of held-out normal rows",
        "contamination": contamination,
        "rows": len(scores),
        "flagged_share": flagged,
    }
    return Threshold(float(np.float32(value)), rule)


def _in_clear_gap(scores: NDArray[np.float64], contamination: float) -> float:
    wanted = min(len(scores), max(0, math.ceil((1 - contamination) * len(scores) - 1e-9)))
    # gaps[k] lies between scores[k - 1] and scores[k]: k rows are normal, the rest is flagged.
    lower = np.concatenate([[0.0], scores])
    upper = np.concatenate([scores, [scores[-1] * 1.05 + np.finfo(np.float32).tiny]])
    clear = np.flatnonzero(upper - lower > CLEAR_GAP * upper)
    if clear.size == 0:
        return float(scores[-1])
    nearest = clear[np.argmin(np.abs(clear - wanted))]
    return float((lower[nearest] + upper[nearest]) / 2)
