"""Conversion of columns of any type to numbers, labels and kept columns."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from aetool.errors import InputError
from aetool.runtime.categories import UNKNOWN, factorise, to_indexes
from aetool.tables._choice import ColumnChoice, command_option, listed
from aetool.tables._table import Table
from aetool.tables.formats import pa

F = TypeVar("F", np.float32, np.float64)

_REMEDIES = {"drop": "leave out", "categorical": "take as categories"}
MAX_CATEGORIES = 1_000
"""Largest number of categories in one column; more are rather names or numbers than kinds."""


def assemble(choice: ColumnChoice, data: Mapping[str, Any], source: str) -> Table:
    """Put the chosen columns, numpy or Arrow, into one table."""
    lengths = {name: len(data[name]) for name in choice.wanted}
    rows = lengths[choice.columns[0]]
    if other := next((name for name, length in lengths.items() if length != rows), None):
        raise InputError(
            f"{source}: columns of different lengths: {choice.columns[0]!r} has {rows} rows, "
            f"{other!r} has {lengths[other]}: all need the same number"
        )
    numbers, categories = _features(choice, data, source)
    unseen = {
        name: _unseen(data[key], categories[name])
        for key, name in zip(choice.columns, choice.names, strict=True)
        if name in categories and (numbers[key] == UNKNOWN).any()
    }
    values = _interleaved([numbers[name] for name in choice.columns], np.empty((rows, len(choice.columns))))
    labels = None if choice.label is None else _labels(data[choice.label], choice.label, source)
    kept = {name: _untouched(data[name]) for name in choice.keep}
    return Table(choice.names, values, labels, kept, source, choice.named, categories, unseen)


def assemble_float32(choice: ColumnChoice, data: Mapping[str, Any], source: str) -> NDArray[np.float32]:
    """Return the features as a model takes them, (rows, columns); what float32 cannot hold is infinite."""
    numbers, _ = _features(choice, data, source)
    columns = [numbers[name] for name in choice.columns]
    with np.errstate(over="ignore"):
        return _interleaved(columns, np.empty((len(columns[0]), len(columns)), np.float32))


def _interleaved(columns: Sequence[NDArray[Any]], values: NDArray[F]) -> NDArray[F]:
    """Write columns, (rows,) each, into `values`, (rows, columns)."""
    for start in range(0, len(values), 4096):  # in blocks that the cache holds: twice as fast as whole columns
        block = slice(start, start + 4096)
        for index, column in enumerate(columns):
            values[block, index] = column[block]
    return values


def _features(
    choice: ColumnChoice, data: Mapping[str, Any], source: str
) -> tuple[dict[str, NDArray[Any]], dict[str, tuple[str, ...]]]:
    """Return the feature columns as numbers, by the file's names, and the categories, by the table's."""
    numbers = {name: column for name in choice.columns if (column := _numbers(data[name])) is not None}
    categories: dict[str, tuple[str, ...]] = {}
    for key, name in zip(choice.columns, choice.names, strict=True):
        if choice.is_categorical(key, name, key not in numbers or _is_boolean(data[key])):
            known = None if choice.categories is None else choice.categories[name]
            categories[name], numbers[key] = _indexes(data[key], known, f"{source}: column {key!r}")
    if text := [name for name in choice.columns if name not in numbers]:
        described = ", ".join(f"{name!r} ({_describe(data[name])})" for name in text)
        remedies = [f"{_REMEDIES[name]} with {command_option(name, text)}" for name in choice.offered]
        remedy = ", or ".join(remedies) or "give numbers, as in the training table"
        raise InputError(f"{source}: not numbers: column{'s' * (len(text) > 1)} {described}: {remedy}")
    return numbers, categories


def _indexes(
    column: Any, categories: tuple[str, ...] | None, what: str
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Return the categories (those in the column, where none are given) and the index of each cell's."""
    column = column if isinstance(column, np.ndarray) else _decoded(column)
    if categories is None:
        texts, _ = factorise(column, what)
        categories = tuple(sorted({text for text in texts if text is not None}))
        if not 0 < len(categories) <= MAX_CATEGORIES:
            raise InputError(
                f"{what} holds {len(categories):,} categories, 1 to {MAX_CATEGORIES:,} are possible: "
                "leave the column out, or group its values"
            )
        try:
            "".join(categories).encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{what} holds half a surrogate pair, which is no text: mend it") from error
    return categories, to_indexes(column, categories, what)


def _unseen(column: Any, categories: tuple[str, ...]) -> NDArray[np.str_]:
    """Return the text of each cell that is none of the categories, "" for the others, (rows,)."""
    texts, places = factorise(column if isinstance(column, np.ndarray) else _decoded(column), "")
    known = frozenset(categories)
    return np.array(["" if text is None or text in known else text for text in texts])[places]


def _is_boolean(column: Any) -> bool:
    if isinstance(column, np.ndarray):
        return bool(column.dtype.kind == "b")
    return bool(pa.types.is_boolean(_decoded(column).type))


def _labels(column: Any, name: str, source: str) -> NDArray[np.bool_]:
    numbers = _numbers(column)
    if numbers is None:
        found = list(dict.fromkeys(str(label)[:40] for label in _untouched(column)))
        raise InputError(
            f"{source}: label column {name!r} holds {_describe(column)} ({listed(found, 3)}), not numbers: "
            "map the labels to 0 (normal) and 1 (anomaly)"
        )
    if (absent := np.isnan(numbers)).any():
        raise InputError(
            f"{source}: row {int(absent.argmax()) + 1}: no label in column {name!r} "
            f"({int(absent.sum())} rows lack one): fill in 0 (normal) or 1 (anomaly), or leave these rows out"
        )
    return np.asarray(numbers != 0)


def _numbers(column: Any) -> NDArray[Any] | None:
    """Return (rows,) numbers with NaN for missing ones, or None when the column's type is not numeric."""
    if isinstance(column, np.ndarray):
        return column if column.dtype.kind in "biuf" else None
    column = _decoded(column)
    kinds = pa.types
    if kinds.is_floating(column.type) and not column.null_count:
        whole: NDArray[Any] = column.to_numpy()
        return whole
    if any(
        is_kind(column.type)
        for is_kind in (kinds.is_boolean, kinds.is_integer, kinds.is_floating, kinds.is_decimal, kinds.is_null)
    ):
        # Unsafe on purpose: integers beyond 2**53 take the nearest float64, where a safe cast would refuse.
        numbers: NDArray[np.float64] = column.cast(pa.float64(), safe=False).to_numpy()
        return numbers
    return None


def _untouched(column: Any) -> NDArray[Any]:
    """Return the column as numpy, (rows,), unchanged."""
    if isinstance(column, np.ndarray):
        return column
    column = _decoded(column)
    if column.null_count and pa.types.is_integer(column.type):  # numpy would make floats of them
        whole = np.empty(len(column), object)
        whole[:] = column.to_pylist()
        return whole
    values: NDArray[Any] = column.to_numpy()
    return values


def _decoded(column: Any) -> Any:
    """Return an Arrow column without dictionary encoding, whose `to_numpy` loses nulls."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _describe(column: Any) -> str:
    if isinstance(column, np.ndarray):
        return "text" if column.dtype.kind in "US" else str(column.dtype)
    kind = _decoded(column).type
    return "text" if str(kind) in ("string", "large_string", "string_view") else str(kind)


def as_column(column: Any, name: str, source: str) -> Any:
    """Return a column from memory as a (rows,) numpy array or an Arrow column."""
    if isinstance(column, np.ma.MaskedArray) and column.dtype.kind in "biuf":
        column = np.ma.filled(column.astype(np.float64), np.nan)
    if getattr(column, "ndim", 1) != 1:
        raise InputError(f"{source}: column {name!r} has shape {np.shape(column)}: (rows,) is expected")
    if pa is None or (isinstance(column, np.ndarray) and column.dtype != object):
        return np.asarray(column)
    try:  # Arrow knows None, pandas' NA and categories
        converted = pa.array(column, from_pandas=True)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):  # a mixture: to keep, but no numbers
        return np.asarray(column)
    return converted if isinstance(converted, pa.ChunkedArray) else pa.chunked_array([converted])


_MOST_CODES, _LEAST_ROWS_OF_A_CODE = 10, 0.01


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
