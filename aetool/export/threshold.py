"""The choice of the threshold, from scores of normal rows."""

import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.errors import InputError

_DEFAULT_CONTAMINATION = 0.01
HELD_OUT = "held-out normal rows"
AS_IF_HELD_OUT = "normal rows, as if all were held out"
CLEAR_GAP = 1e-4
"""Relative distance between two scores that rounding in float32 cannot bridge."""
ROUNDING = 1e-5
"""Relative difference between a score in float32 and in float64 that rounding explains."""
LARGEST_SCORE = 1e38
SMALLEST, LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold and its origin."""

    value: float
    """Highest score that still counts as normal; a float32 number."""
    rule: dict[str, Any]
    """Rule that chose it, for the manifest."""


def choose_threshold(
    scores: NDArray[np.float64],
    contamination: float | None,
    threshold: float | None,
    *,
    rows: str = HELD_OUT,
    rounding: float = 0.0,
    counted: NDArray[np.float64] | None = None,
) -> Threshold:
    """Return the given threshold, or one that flags a share of `contamination` of the rows.

    A quantile that falls on a row's own score would leave that row's verdict to rounding: the threshold is
    put in the middle of the nearest clear gap between two scores instead.

    Args:
        scores: of normal rows, ascending.
        contamination: share of normal rows that may be flagged; 0.01 by default.
        threshold: a fixed one; excludes `contamination`.
        rows: what to call them.
        rounding: how far rounding alone may move a score, relative to it; a gap must be wider.
        counted: scores on which the flagged share is counted; `scores` themselves by default.

    Raises:
        InputError: both are given, or a value out of range.
    """
    if threshold is not None:
        if contamination is not None:
            raise InputError("--threshold and --contamination exclude each other; give one")
        if not (_is_number(threshold) and (threshold == 0 or SMALLEST <= threshold <= LARGEST)):
            raise InputError(
                f"threshold: expected 0, or a number that float32 can hold ({SMALLEST:.1e} to "
                f"{LARGEST:.1e}), found {reprlib.repr(threshold)}"
            )
        return Threshold(float(np.float32(threshold)), {"method": "given"})
    contamination = _DEFAULT_CONTAMINATION if contamination is None else contamination
    if not (_is_number(contamination) and 0 <= contamination < 1):
        raise InputError(f"contamination: expected 0 or more and below 1, found {reprlib.repr(contamination)}")
    if len(scores) == 0:
        raise InputError(f"no scores of {rows} to choose a threshold from; pass --threshold")
    if not scores[-1] < LARGEST_SCORE:
        raise InputError(
            f"a score of {scores[-1]:.1e} among those of {rows}; all must be below {LARGEST_SCORE:.0e} to choose "
            "a threshold; mend or leave out the row with the extreme value, or pass --threshold"
        )
    value = float(np.float32(_in_clear_gap(scores, contamination, max(CLEAR_GAP, rounding))))
    counted = scores if counted is None else counted
    rule = {
        "method": f"quantile of {rows}",
        "contamination": contamination,
        "rows": len(counted),
        "flagged_share": float(np.mean(~(counted <= value))),
    }
    return Threshold(value, rule)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def rounding_of(known: Mapping[str, NDArray[Any]], rounded: Mapping[str, NDArray[Any]]) -> float:
    """Return how far float32 alone moves most scores, relative to each: twice the worst of nine in ten."""
    alone = np.asarray(rounded["score"], np.float64)
    exact = known["score"][: len(alone)]
    with np.errstate(all="ignore"):
        moved = np.abs(alone - exact) / exact
    moved = moved[np.isfinite(moved)]
    return 2 * float(np.quantile(moved, 0.9)) if moved.size else 0.0


def _in_clear_gap(scores: NDArray[np.float64], contamination: float, least: float) -> float:
    wanted = min(len(scores), max(0, math.ceil((1 - contamination) * len(scores) - 1e-9)))
    # gaps[k] lies between scores[k - 1] and scores[k]: k rows are normal, the rest is flagged.
    lower = np.concatenate([[0.0], scores])
    upper = np.concatenate([scores, [scores[-1] * 1.05 + SMALLEST]])
    clear = np.flatnonzero(upper - lower > least * upper)
    if clear.size == 0:
        return float(scores[-1])
    nearest = clear[np.argmin(np.abs(clear - wanted))]
    return float((lower[nearest] + upper[nearest]) / 2)


def keep_decisions(scores: NDArray[np.float64], threshold: float) -> float:
    """Return the float32 number nearest to `threshold`; moved only where rounding would decide a row's verdict.

    A score at or just below the threshold could be rounded above it, or one just above it below. Then the
    threshold moves as little as gives both sides their margin, or to the middle of a gap too small for that.
    """
    below, above = scores[scores <= threshold], scores[scores > threshold]
    least = float(below.max()) * (1 + ROUNDING) if len(below) else 0.0
    most = float(above.min()) * (1 - ROUNDING) if len(above) else LARGEST
    value = min(max(threshold, least), most) if least <= most else float(below.max() + above.min()) / 2
    return float(np.float32(value))
