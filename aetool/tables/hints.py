"""Hints about columns of a training table: numbers that may mean something else, and what a log's columns are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.files import DEFAULT_LIMITS, Limits
from aetool.errors import InputError
from aetool.tables._labels import NORMAL
from aetool.tables._layout import AS_FOUND, Reading
from aetool.tables._log_columns import read_groups, read_times
from aetool.tables._notation import read_texts
from aetool.tables._problems import command_option
from aetool.tables._table import Table
from aetool.tables.formats import pa
from aetool.tables.reading import table_header
from aetool.tables.streaming import first_table, streamed_ending

_MOST_CODES, _LEAST_ROWS_OF_A_CODE = 10, 0.01
_LEAST_ROWS = 20  # below, everything may rise or differ by chance
_SENTINEL_ROWS, _SENTINEL_SHARE = 3, 0.002
_CONTIGUOUS = 4  # ids are spread over no more than so many times their number
_SHOWN = 5
_LOG_ROWS = 20_000  # of a log that are looked at
_MOST_GROUPS, _MOST_WORDS = 1000, 20
_RISING, _REGULAR = 0.99, 0.5


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


class LogColumns(NamedTuple):
    """What the columns of a file would be if it is a log."""

    time: str | None
    """Dates that rise from row to row, or do so for each group."""
    group: str | None
    """Few texts, for each of which the times rise."""
    label: str | None
    """Words such as ok, and others."""
    text: tuple[str, ...]
    """All columns that hold no numbers, but for the times."""
    is_regular: bool
    """Most rows of a group are as far from each other in time."""

    def options(self) -> str:
        """Return the options that name the columns, to paste."""
        named = {"time": self.time, "group": self.group, "label": self.label}
        given = [command_option(name, [column]) for name, column in named.items() if column is not None]
        rest = [name for name in self.text if name not in named.values()]
        return " ".join([*given, *([command_option("drop", rest)] if rest else [])])


def log_columns(path: Path, reading: Reading = AS_FOUND, limits: Limits = DEFAULT_LIMITS) -> LogColumns | None:
    """Return what the columns of a file would be as a log, by its first rows; None where they cannot be read.

    Raises:
        DependencyError: pyarrow is missing.
    """
    try:
        if streamed_ending(path.name) is None or (header := table_header(path, limits)) is None:
            return None
        table = first_table(
            lambda: pa.OSFile(str(path), "rb"),
            str(path),
            only=(),
            keep=header.names,
            reading=reading,
            limits=limits,
        )
    except (InputError, OSError):
        return None  # who reads the file tells why
    columns = {name: pa.array(cells[:_LOG_ROWS]) for name, cells in table.kept.items()}
    times = {name: values for name, cells in columns.items() if (values := _dates(cells, name)) is not None}
    texts = {
        name: read_groups(cells, name)
        for name, cells in columns.items()
        if name not in times and pa.types.is_string(cells.type)
    }
    texts = {name: found for name, found in texts.items() if _is_text(found[0], table.reading)}
    label = next((name for name, (words, _) in texts.items() if _are_labels(words)), None)
    for name, values in times.items():
        groups = {None: None} | {
            key: places
            for key, (words, places) in texts.items()
            if key != label and 1 < len(words) <= min(_MOST_GROUPS, len(values) / 2)
        }
        for group, places in groups.items():
            steps = _steps(values, places)
            if len(steps) and (steps > 0).mean() >= _RISING:
                is_regular = bool((steps == np.median(steps)).mean() >= _REGULAR)
                return LogColumns(name, group, label, tuple(texts), is_regular)
    return LogColumns(None, None, label, tuple(texts), False)


def _dates(cells: Any, name: str) -> NDArray[np.int64] | None:
    """Return the times of a column that holds dates or Unix time, None for another."""
    try:
        times = read_times(cells, name, "", 0)
    except (InputError, pa.ArrowException):
        return None
    return None if times.kind == "number" or not len(times.values) else times.values


def _is_text(texts: Sequence[str], reading: Reading) -> bool:
    found = read_texts([text.strip() for text in texts], reading.na, reading.decimal)
    return found.values is None and not found.dates and not found.fault


def _are_labels(words: Sequence[str]) -> bool:
    return len(words) <= _MOST_WORDS and any(word.casefold().strip(" .") in NORMAL for word in words)


def _steps(times: NDArray[np.int64], places: NDArray[np.intp] | None) -> NDArray[np.int64]:
    """Return the times from each row to the next one of its group."""
    if places is None:
        return np.diff(times)
    order = np.argsort(places, kind="stable")
    steps: NDArray[np.int64] = np.diff(times[order])[np.diff(places[order]) == 0]
    return steps
