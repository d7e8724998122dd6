"""What is learnt from the training rows before the network: scaling, and values for the missing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aetool.errors import InputError
from aetool.model.config import Impute

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Statistics:
    """Per column, in raw units, each (n_features,) float32.

    float32 is their definition, not an approximation: the reference in float64 uses these very numbers.
    """

    mean: Floats
    scale: Floats
    """Standard deviation; 1 for a constant column."""
    fill: Floats | None = None
    """What replaces a missing value; None: a missing value stays NaN and makes its row an anomaly."""


def learn_statistics(rows: NDArray[np.float64], names: Sequence[str], impute: Impute | None) -> Statistics:
    """Statistics of the training rows, (rows, n_features), NaN where missing.

    Raises:
        InputError: infinite values, missing ones without `impute`, a column without any value, or one whose
            spread is lost in float32; the message counts them by column.
    """
    single = _as_single(rows, names)
    missing = np.isnan(single)
    fill = None
    if missing.any():
        if impute is None:
            raise InputError(
                f"missing values in {_counted(names, missing.sum(axis=0))}; fill them, leave the columns out "
                "with --drop, or pass --impute mean or --impute median"
            )
        empty = [name for name, column in zip(names, missing.T, strict=True) if column.all()]
        if empty:
            raise InputError(f"columns without any value: {', '.join(empty)}; leave them out with --drop")
    if impute is not None:
        average = np.nanmean if impute == "mean" else np.nanmedian
        fill = average(single, axis=0).astype(np.float32)
        single = np.where(missing, fill, single)
    constant = np.ptp(single, axis=0) == 0
    scale = np.where(constant, 1.0, single.std(axis=0)).astype(np.float32)
    _require_resolution(rows, single, scale, constant, names)
    mean = np.where(constant, single[0], single.mean(axis=0)).astype(np.float32)
    return Statistics(mean, scale, fill)


def _as_single(rows: NDArray[np.float64], names: Sequence[str]) -> NDArray[np.float64]:
    """The values as a deployed model will see them: rounded to float32, held in float64."""
    with np.errstate(over="ignore"):
        single = rows.astype(np.float32).astype(np.float64)
    infinite = np.isinf(single)
    if infinite.any():
        raise InputError(
            f"infinite values (or beyond float32) in {_counted(names, infinite.sum(axis=0))}; mend the cells "
            "or leave the columns out with --drop"
        )
    return single


def _require_resolution(
    rows: NDArray[np.float64],
    single: NDArray[np.float64],
    scale: Floats,
    constant: NDArray[np.bool_],
    names: Sequence[str],
) -> None:
    varies = np.nanmax(rows, axis=0) > np.nanmin(rows, axis=0)
    step = np.spacing(np.abs(single).max(axis=0).astype(np.float32))
    lost = varies & (constant | (step > 0.01 * scale))
    if lost.any():
        raise InputError(
            f"columns whose values are too large for their spread, so that float32 cannot tell them apart: "
            f"{', '.join(name for name, gone in zip(names, lost, strict=True) if gone)}; subtract a constant "
            "from them before training, or leave them out with --drop"
        )


def _counted(names: Sequence[str], counts: NDArray[np.int64]) -> str:
    found = [f"{name} ({count})" for name, count in zip(names, counts, strict=True) if count]
    shown = ", ".join(found[:10])
    return shown if len(found) <= 10 else f"{shown} and {len(found) - 10} more columns"
