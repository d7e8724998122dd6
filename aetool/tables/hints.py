"""Hints about columns of a training table that are read as numbers but may mean something else."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aetool.tables._problems import command_option
from aetool.tables._table import Table

_MOST_CODES, _LEAST_ROWS_OF_A_CODE = 10, 0.01
_LEAST_ROWS = 20  # below, everything may rise or differ by chance
_SENTINEL_ROWS, _SENTINEL_SHARE = 3, 0.002
_CONTIGUOUS = 4  # ids are spread over no more than so many times their number
_SHOWN = 5


def hints(table: Table) -> list[str]:
    """Return hints, one line each with an option to paste: codes, sentinels, ids and counters."""
    found = []
    if codes := like_codes(table):
        option = command_option("categorical", codes)
        found.append(f"{_names(codes)}: few different whole numbers; if they are codes: {option}")
    numbers = [
        (name, column)
        for name, column in zip(table.names, table.values.T, strict=True)
        if name not in table.categories
    ]
    for name, column in numbers:
        if (value := _sentinel(column)) is not None:
            rows = int((column == value).sum())
            found.append(
                f"{name}: {value:g} in {rows:,} rows, far from all other values; if it means missing: "
                f"{command_option('na', [f'{value:g}'])} --impute median"
            )
    if counts := [name for name, column in numbers if _is_count(column)]:
        option = command_option("drop", counts)
        found.append(
            f"{_names(counts)}: all values differ, rise steadily or are like Unix times; if it is an id or a "
            f"clock: {option}"
        )
    return found


def like_codes(table: Table) -> list[str]:
    """Return columns of numbers that may be codes.

    These are whole numbers without a gap, from 0 or 1 to _MOST_CODES at most, each of them in many rows, but not 0
    and 1 alone. A count mostly has a few large values, too.
    """
    names = []
    for name, column in zip(table.names, table.values.T, strict=True):
        known = column[np.isfinite(column)]
        if name in table.categories or not known.size or known.max() > _MOST_CODES or known.min() not in (0, 1):
            continue
        values, counts = np.unique(known, return_counts=True)
        in_a_row = np.array_equal(values, np.arange(values[0], values[0] + len(values)))
        if (
            in_a_row
            and len(values) > 1
            and values.tolist() != [0, 1]
            and counts.min() >= _LEAST_ROWS_OF_A_CODE * len(known)
        ):
            names.append(name)
    return names


def _sentinel(column: NDArray[np.float64]) -> float | None:
    """Return an extreme value that repeats, farther from the others than they are from each other."""
    known = np.sort(column[np.isfinite(column)])
    if len(known) < _LEAST_ROWS:
        return None
    least = max(_SENTINEL_ROWS, _SENTINEL_SHARE * len(known))
    for value, others in (
        (known[0], known[np.searchsorted(known, known[0], "right") :]),
        (known[-1], known[: np.searchsorted(known, known[-1], "left")]),
    ):
        if len(others) < 2 or len(known) - len(others) < least or value == 0:
            continue
        nearest = others[0] if value < others[0] else others[-1]
        spread = others[-1] - others[0]
        if spread > 0 and abs(value - nearest) > spread:
            return float(value)
    return None


def _is_count(column: NDArray[np.float64]) -> bool:
    """Return whether a column is like row numbers, ids or a clock."""
    known = column[np.isfinite(column)]
    if len(known) < _LEAST_ROWS or len(known) < len(column):
        return False
    steps = np.diff(known)
    if (steps > 0).all() or (steps < 0).all():
        return True
    whole = bool((known == np.round(known)).all())
    if whole and any(1e9 * unit <= known.min() and known.max() <= 2.2e9 * unit for unit in (1, 1e3, 1e6, 1e9)):
        return True  # Unix time, in seconds to nanoseconds
    return whole and len(np.unique(known)) == len(known) and float(np.ptp(known)) < _CONTIGUOUS * len(known)


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")
