"""Statistics of the training rows: scaling, and replacements of missing values."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aetool.choices import Constant
from aetool.errors import InputError
from aetool.model.network import Impute

Floats = NDArray[np.float32]

SMALLEST_SPREAD, LARGEST_SPREAD, LARGEST_VALUE = 1e-32, 1e32, 1e35
"""Beyond, the weights that hold the scale leave float32's normal range, or rows far out of range overflow."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """Per column, in raw units, each (n_features,) float32; mean and scale of each encoded column.

    float32 is their definition, not an approximation: the reference in float64 uses these very numbers.
    """

    mean: Floats
    scale: Floats
    """Standard deviation; of a column that never changed, see `learn_statistics`."""
    fill: Floats | None = None
    """Replacements of missing values; without one, or with NaN, a value stays NaN and its row is an anomaly."""
    scores_filled: bool = False
    """True if a filled-in value counts in the score like a present one, as in checkpoints of an older aetool and
    in pipelines of scikit-learn; if False, the score is that of the present values."""

    @property
    def leaves_out(self) -> bool:
        """Return True if missing values are left out of the score."""
        return self.fill is not None and not self.scores_filled


def learn_statistics(
    rows: NDArray[np.float64], names: Sequence[str], impute: Impute | None, constant_columns: Constant = "score"
) -> Statistics:
    """Compute statistics of the training rows, (rows, n_features), NaN where missing.

    A change in a column that never changed in n rows is evidence. Its scale is the standard deviation that one
    more row would give it, which differs by s, 1 or the constant itself where smaller: s sqrt(n) / (n + 1).
    With "ignore" it is 1.

    Raises:
        InputError: a column without any value, or one whose values or spread float32 cannot hold.
    """
    single = _as_single(rows)
    missing = np.isnan(single)
    empty = [name for name, column in zip(names, missing.T, strict=True) if column.all()]
    if empty:
        raise InputError(
            f"columns without any value in the training rows: {', '.join(empty)}; leave them out with "
            f"--drop {shlex.quote(','.join(empty))}"
        )
    fill = None
    if impute is not None:
        average = np.nanmean if impute == "mean" else np.nanmedian
        fill = average(single, axis=0).astype(np.float32)
        single = np.where(missing, fill, single)
    constant = np.ptp(single, axis=0) == 0
    spread = np.where(constant, _spread_of_a_change(single, constant_columns), single.std(axis=0))
    _require_resolution(rows, single, spread, constant, names)
    mean = np.where(constant, single[0], single.mean(axis=0)).astype(np.float32)
    return Statistics(mean, spread.astype(np.float32), fill)


def is_infinite(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return where values are infinite in float32, as a model receives them."""
    with np.errstate(over="ignore"):
        infinite: NDArray[np.bool_] = np.isinf(values.astype(np.float32))
    return infinite


def constant_columns(rows: NDArray[np.float64], names: Sequence[str]) -> list[str]:
    """Return the names of the columns that are the same in all rows, (rows, columns); missing values aside."""
    missing = np.isnan(rows)
    same = ((rows == rows[:1]) | missing).all(axis=0) & ~missing[0]
    return [name for name, is_same in zip(names, same, strict=True) if is_same]


def _spread_of_a_change(single: NDArray[np.float64], constant_columns: Constant) -> NDArray[np.float64]:
    """Return the scale of each column if it is constant, (columns,)."""
    size = np.abs(single[0])
    if constant_columns == "ignore":
        return np.ones_like(size)
    step = np.where(size == 0, 1.0, np.minimum(size, 1.0))
    spread = step * np.sqrt(len(single)) / (len(single) + 1)
    # Not below what float32 resolves at that size, nor below what its arithmetic holds.
    finest = np.maximum(100.0 * np.spacing(size.astype(np.float32)), SMALLEST_SPREAD)
    scale: NDArray[np.float64] = np.maximum(spread, finest)
    return scale


def _as_single(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round to float32 as a deployed model receives the values, and return them in float64."""
    with np.errstate(over="ignore"):
        return rows.astype(np.float32).astype(np.float64)


def _require_resolution(
    rows: NDArray[np.float64],
    single: NDArray[np.float64],
    spread: NDArray[np.float64],
    constant: NDArray[np.bool_],
    names: Sequence[str],
) -> None:
    largest = np.abs(single).max(axis=0)
    varies = np.nanmax(rows, axis=0) > np.nanmin(rows, axis=0)
    lost = varies & (constant | (np.spacing(largest.astype(np.float32)) > 0.01 * spread))
    # A constant column of zeros is fine; its scale is 1.
    beyond = (spread < SMALLEST_SPREAD) | (spread > LARGEST_SPREAD) | (largest > LARGEST_VALUE)
    for faulty, fault, remedy in (
        (
            lost & (largest >= SMALLEST_SPREAD),
            "values too large for their spread, so float32 cannot distinguish them",
            "subtract a constant from them before training",
        ),
        (
            beyond | (lost & (largest < SMALLEST_SPREAD)),
            f"values or a spread that float32 arithmetic cannot hold ({SMALLEST_SPREAD:g} to {LARGEST_SPREAD:g})",
            "give them in another unit",
        ),
    ):
        if faulty.any():
            found = [name for name, is_faulty in zip(names, faulty, strict=True) if is_faulty]
            option = f"--drop {shlex.quote(','.join(found))}"
            raise InputError(
                f"columns with {fault}: {', '.join(found)}; {remedy}, or leave them out with {option}"
            )
