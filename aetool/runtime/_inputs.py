"""Data of any kind to rows that onnxruntime reads correctly, and the memory for results."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.errors import InputError, reason_of
from aetool.runtime.categories import is_decimal, to_indexes

Rows = NDArray[np.float32]
ManyRows = np.ndarray[tuple[int, int], np.dtype[Any]]
"""Rows of a table; for types that tell no shape, such as NDArray, this comes before `OneRow`."""
OneRow = Sequence[float] | Mapping[str, float | str | None] | np.ndarray[tuple[int], np.dtype[Any]]
"""A row of a table without its batch axis, as far as types tell."""

_PLAIN = (np.ndarray, list, tuple, dict)
_SHOWN = 10  # names in a message
_COMPARED = 2000  # names among which the nearest is looked for: difflib is slow


def to_rows(
    data: Any,
    names: Sequence[str],
    shape: tuple[int, ...],
    what: str = "features",
    categories: Mapping[str, Mapping[str, float]] = MappingProxyType({}),
) -> Rows:
    """Convert `data` to float32, C-ordered, aligned, in the byte order of this machine.

    Args:
        data: array-like of real numbers, columns by name (dict, pandas, Arrow, numpy's structured arrays), or a
            list of dicts, one a row. None, masked and null cells are missing: NaN.
        names: the columns in order; empty where columns have no names.
        shape: shape of one row.
        what: name of the rows, for messages.
        categories: column -> category -> index. Columns by name hold their texts or codes, an array the indexes.

    Returns:
        (rows, *shape); `data` itself, uncopied, where it is that already. A single row without its batch
        axis comes back without it.

    Raises:
        InputError: wrong width, rank or type, ragged rows, a missing column.
    """
    array: Rows
    if _is_ready(data):
        array = data
    elif type(data) not in _PLAIN and (remedy := _when_computed(data)) is not None:
        raise InputError(
            f"{what}: expected rows, found {type(data).__name__}, which holds none before it is computed; {remedy}"
        )
    elif names and isinstance(data, list | tuple) and data and isinstance(data[0], Mapping):
        columns = _columns_of_rows(data, what)
        array = _from_columns(columns, list(columns), names, what, categories)
    elif names and (found := column_names(data)) is not None:
        array = _from_columns(data, found, names, what, categories)
    else:
        array = _convert(data, what)
    if array.shape == (0,):  # an empty list: no rows, and no width to be wrong
        return array.reshape(0, *shape)
    if array.shape[1:] != shape and array.shape != shape:
        raise InputError(
            f"{what}: expected {_describe(shape)}, found {array.shape}; {_remedy(array, shape, what)}"
        )
    return array


def _when_computed(data: Any) -> str | None:
    """Return what to do about a lazy table, such as polars' LazyFrame; None for data that hold their rows.

    Data that compute themselves when converted to an array once, as dask's arrays do, are taken.
    """
    kind = type(data)
    array, columns = hasattr(kind, "__array__"), hasattr(kind, "columns")
    if hasattr(kind, "__dask_graph__") and data.__dask_graph__() is not None:
        return None if array and not columns else "call .compute() first"  # asked for each column, it computes all
    if array:
        return None
    if hasattr(kind, "agg") and not isinstance(data, Mapping) and not hasattr(kind, "collect"):
        return "give the table itself, or what the aggregation of its groups or windows gives"
    calls = (name for name in ("toPandas", "collect", "compute", "to_table", "read_all") if hasattr(kind, name))
    if (call := next(calls, None)) is not None:
        return f"call .{call}() first"
    return "give a list of them" if hasattr(kind, "__next__") else None


def _is_ready(data: Any) -> bool:
    # The comparison of dtypes is also the check of the byte order: onnxruntime ignores it.
    return bool(
        type(data) is np.ndarray and data.dtype == np.float32 and data.flags.c_contiguous and data.flags.aligned
    )


def _describe(shape: tuple[int, ...]) -> str:
    return f"shape (rows, {', '.join(map(str, shape))})"


def _remedy(array: Rows, shape: tuple[int, ...], what: str) -> str:
    if what == "embedding":
        return "give what encode returns"
    if array.ndim == len(shape) + 1 == 2:
        return f"give the {shape[0]} columns the model was trained on, in its order, or name them"
    return f"give an array of {len(shape) + 1} dimensions, {' x '.join(map(str, shape))} per row"


def _convert(data: Any, what: str) -> Rows:
    if data is None:
        raise InputError(f"{what}: expected an array of numbers, found None; pass the rows")
    try:
        # The call itself is guarded, not a list of classes: it runs the methods of whatever was given.
        array = np.asarray(_plain(data))
    except Exception as error:
        reason = reason_of(error, 200)
        raise InputError(
            f"{what}: expected rows of equal length holding numbers, found {type(data).__name__} that numpy "
            f"refuses ({reason}); pass a plain array, every row of it equally long"
        ) from error
    masked = np.ma.getmaskarray(data) if isinstance(data, np.ma.MaskedArray) else None
    if array.dtype.kind == "O":
        array = _from_objects(array if masked is None else np.where(masked, np.nan, array), what)
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"{what}: expected real numbers, found {array.dtype!s:.60} ({_sample(array)}); convert it to float32"
        )
    with np.errstate(all="ignore"):  # beyond float32 is infinite, and an infinite row is an anomaly
        rows: Rows = np.require(array, np.float32, ["C", "A"])
    return rows if masked is None else np.where(masked, np.float32(np.nan), rows)


def _from_objects(array: NDArray[Any], what: str) -> NDArray[np.float64]:
    try:
        return np.fromiter(map(_number, array.ravel()), np.float64, array.size).reshape(array.shape)
    except _NotANumber as error:
        row, value = _worst(array)
        raise InputError(
            f"{what}: expected real numbers, found {type(value).__name__} {str(value)[:40]!r} in row {row}, "
            "counted from 0; use NaN for a missing value and encode text as numbers"
        ) from error


class _NotANumber(Exception):  # noqa: N818 - never leaves this file
    pass


def _worst(array: NDArray[Any]) -> tuple[int, Any]:
    """Return row and value of the first that is not a number, even as text; else of the first text."""
    wrong = [(i, value) for i, value in enumerate(array.ravel()) if not _is_number(value)]
    place, value = next((pair for pair in wrong if not _reads_as_number(str(pair[1]))), wrong[0])
    return place * len(np.atleast_1d(array)) // array.size, value


def _is_number(value: Any) -> bool:
    return isinstance(value, Real | np.bool_) or _is_missing(value) or is_decimal(value)


def _is_missing(value: Any) -> bool:
    """Return whether a cell is None or pandas' NA, whose module is not imported here."""
    return value is None or type(value).__name__ == "NAType"


def _number(value: Any) -> float:
    if _is_missing(value):
        return math.nan
    if not _is_number(value):
        raise _NotANumber
    try:
        return float(value)
    except OverflowError:  # an integer or a fraction beyond float64
        return -math.inf if value < 0 else math.inf
    except ValueError:  # a signalling NaN
        return math.nan


def _sample(array: NDArray[Any]) -> str:
    """Return one value that shows the fault: among numbers that became text, the text."""
    if array.size == 0:
        return "empty"
    texts = map(str, array.ravel())
    return repr(next((text for text in texts if not _reads_as_number(text)), str(array.ravel()[0]))[:40])


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def column_names(data: Any) -> list[str] | None:
    """Return the names of a table's columns; None for plain arrays and for tables that only number them."""
    if isinstance(data, Mapping):
        return list(data)
    found = getattr(getattr(data, "dtype", None), "names", None)  # numpy's structured arrays
    if found is None and hasattr(data, "__getitem__"):
        # pandas, also one row of it; Arrow; polars.
        sources = (getattr(data, attribute, None) for attribute in ("keys", "column_names", "columns"))
        found = next((source() if callable(source) else source for source in sources if source is not None), None)
    names = [] if found is None else list(found)
    return names if any(isinstance(name, str) for name in names) else None


def _columns_of_rows(rows: Sequence[Any], what: str) -> dict[str, list[Any]]:
    """Return rows, a dict each, as columns; what one row lacks and others have is missing there.

    Raises:
        InputError: a row that is no dict.
    """
    if (odd := next((i for i, row in enumerate(rows) if not isinstance(row, Mapping)), None)) is not None:
        raise InputError(
            f"{what}: expected one dict a row, found {type(rows[odd]).__name__} in row {odd}, counted from 0; "
            "give all rows alike"
        )
    return {name: [row.get(name) for row in rows] for name in dict.fromkeys(name for row in rows for name in row)}


def _from_columns(
    data: Any,
    found: list[str],
    names: Sequence[str],
    what: str,
    categories: Mapping[str, Mapping[str, float]],
) -> Rows:
    counts = Counter(found)
    if missing := [name for name in names if name not in counts]:
        raise InputError(
            f"{what}: columns missing: {_with_nearest(missing, found)}; all {len(names)} columns the model was "
            "trained on are needed, in any order"
        )
    if twice := [name for name in names if counts[name] > 1]:
        raise InputError(f"{what}: duplicate columns: {_listed(twice)}; give each its own name")
    get: Callable[[str], Any] = data.__getitem__
    columns = []
    for name in names:
        where = f"{what}, column {name!r}"
        known = categories.get(name)
        try:
            cells = get(name)
        except Exception as error:  # of whatever was given
            raise InputError(
                f"{where}: {type(data).__name__} does not give it ({reason_of(error, 200)}); pass a table that "
                "holds its columns"
            ) from error
        column = _convert(cells, where) if known is None else to_indexes(cells, known, where)
        columns.append(column.astype(np.float32, copy=False))
    shapes = {column.shape for column in columns}
    if len(shapes) != 1 or columns[0].ndim > 1:
        raise InputError(
            f"{what}: columns must be one-dimensional and equally long, found shapes "
            f"{_listed(sorted(shapes))}; give one value per row and column"
        )
    return np.ascontiguousarray(np.stack(columns, axis=-1))


def _with_nearest(missing: Sequence[str], found: Sequence[Any]) -> str:
    from aetool.suggest import hint  # here: it starts slowly, and mistakes alone need it

    others = [str(other) for other in found[:_COMPARED]]
    return _and_more([f"{name!r}{hint(name, others)}" for name in missing[:_SHOWN]], len(missing))


def _listed(values: Sequence[Any]) -> str:
    return _and_more([repr(value) for value in values[:_SHOWN]], len(values))


def _and_more(shown: Sequence[str], count: int) -> str:
    return ", ".join(shown) + (f" and {count - len(shown)} more" if count > len(shown) else "")


def _plain(data: Any) -> Any:
    # Arrow's columns and pandas' own types turn their nulls into NaN only when asked.
    if hasattr(data, "to_pylist") and hasattr(data, "null_count"):
        values = data.to_numpy(zero_copy_only=False)
        return [math.nan if value is None else value for value in values] if values.dtype == object else values
    dtype = getattr(data, "dtype", None)
    if hasattr(data, "isna") and dtype is not None and not isinstance(dtype, np.dtype):
        return data.to_numpy(dtype=float if dtype.kind in "biuf" else object, na_value=math.nan)
    return data


# The memory that a caller gives for a result.


def require_out(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], data: NDArray[Any]) -> None:
    """Refuse an array that cannot hold the result for `data`, before anything is computed.

    Raises:
        InputError: another shape, type or order, read-only, or in the memory of `data`.
    """
    if type(out) is not np.ndarray or out.shape != shape or out.dtype != dtype:
        what = f" of {out.dtype}, shape {out.shape}" if isinstance(out, np.ndarray) else ""
        raise InputError(
            f"out: expected ndarray of {dtype}, shape {shape}, found {type(out).__name__}{what}; give np.empty"
        )
    if not (out.flags.c_contiguous and out.flags.aligned and out.flags.writeable):
        raise InputError("out: expected C-ordered, aligned, writable memory, found another; give np.empty")
    if np.may_share_memory(out, data):
        raise InputError("out: lies in the memory of the rows, which would be overwritten; give another array")
