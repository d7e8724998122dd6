"""Faults of rows that nothing can be learnt from."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aetool.tables._problems import Problem, refuse

_SHOWN = 10


def problems_of_rows(rows: NDArray[np.float64], names: Sequence[str], impute: str | None) -> list[Problem]:
    """Return what keeps an autoencoder from being trained on normal rows, (rows, columns): gaps.

    Args:
        rows: columns that hold numbers.
        names: their names.
        impute: how missing values are filled, and infinite ones with them; None: they are not.
    """
    if impute is not None:
        return []
    problems = []
    with np.errstate(over="ignore"):
        infinite = np.isinf(rows.astype(np.float32))
    if infinite.any():
        counts = infinite.sum(axis=0)
        text = f"infinite values (or beyond float32) in {_counted(names, counts)}"
        problems.append(Problem(text, "mend the cells", _remedies(names, counts)))
    missing = np.isnan(rows)
    if missing.any():
        counts = missing.sum(axis=0)
        text = f"missing values in {_counted(names, counts)}"
        problems.append(Problem(text, "fill the cells", _remedies(names, counts)))
    return problems


def require_trainable(rows: NDArray[np.float64], names: Sequence[str], impute: str | None, source: str) -> None:
    """Refuse normal rows, (rows, columns), that an autoencoder cannot be trained on.

    Raises:
        InputError: missing or infinite values without `impute`; the message counts them by column.
    """
    if problems := problems_of_rows(rows, names, impute):
        refuse(problems, source)


def _remedies(names: Sequence[str], counts: NDArray[np.int64]) -> dict[str, list[str]]:
    found = [name for name, count in zip(names, counts, strict=True) if count]
    return {"impute": ["median"], **({"drop": found} if len(found) <= _SHOWN else {})}


def _counted(names: Sequence[str], counts: NDArray[np.int64]) -> str:
    """Return `a (3), b (1)` for the columns whose count is not 0."""
    found = [f"{name} ({count:,})" for name, count in zip(names, counts, strict=True) if count]
    shown = ", ".join(found[:_SHOWN])
    return shown if len(found) <= _SHOWN else f"{shown} and {len(found) - _SHOWN} more columns"
