"""From whatever the caller has to rows that onnxruntime reads correctly."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.errors import InputError

Rows = NDArray[np.float32]


def to_rows(data: Any, names: Sequence[str], shape: tuple[int, ...], what: str = "features") -> Rows:
    """`data` as float32, C-ordered, aligned, in the byte order of this machine.

    Args:
        data: array-like of real numbers, or columns by name (dict, pandas, Arrow).
        names: the columns in order; empty where columns have no names.
        shape: of one row.
        what: what the rows are, for messages.

    Returns:
        (rows, *shape); `data` itself, uncopied, where it is that already. A single row without its batch
        axis comes back without it.

    Raises:
        InputError: wrong width, rank or type, ragged rows, a missing column.
    """
    array: Rows
    if _is_ready(data):
        array = data
    elif names and (column_names := _column_names(data)) is not None:
        array = _from_columns(data, column_names, names, what)
    else:
        array = _convert(data, what)
    if array.shape[1:] != shape and array.shape != shape:
        raise InputError(f"{what}: expected {_describe(shape)}, found {array.shape}; {_remedy(array, shape)}")
    return array


def _is_ready(data: Any) -> bool:
    # The comparison of dtypes is also the check of the byte order: onnxruntime ignores it.
    return bool(
        type(data) is np.ndarray and data.dtype == np.float32 and data.flags.c_contiguous and data.flags.aligned
    )


def _describe(shape: tuple[int, ...]) -> str:
    return f"shape (rows, {', '.join(map(str, shape))})"


def _remedy(array: Rows, shape: tuple[int, ...]) -> str:
    if array.ndim == len(shape) + 1:
        return f"give the {shape[0]} columns the model was trained on, in its order, or name them"
    return f"give an array of {len(shape) + 1} dimensions, one row of it per sample"


def _convert(data: Any, what: str) -> Rows:
    if data is None:
        raise InputError(f"{what}: expected an array of numbers, found None; pass the rows")
    if isinstance(data, np.ma.MaskedArray):
        data = np.ma.filled(data.astype(np.float64), np.nan)  # what is masked is missing
    try:
        array = np.asarray(data)
    except (ValueError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{what}: expected rows of equal length holding numbers, found {type(data).__name__} that numpy "
            f"refuses ({reason}); make every row the same length"
        ) from error
    if array.dtype.kind == "O":
        array = _from_objects(array, what)
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"{what}: expected real numbers, found {array.dtype} ({_sample(array)}); convert it to float32"
        )
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and an infinite row is an anomaly
        return np.ascontiguousarray(array, dtype=np.float32).reshape(array.shape)


def _from_objects(array: NDArray[Any], what: str) -> NDArray[np.float64]:
    for value in array.ravel():
        if not isinstance(value, Real | Decimal | np.bool_):
            raise InputError(
                f"{what}: expected real numbers, found {type(value).__name__} {str(value)[:40]!r}; use NaN for "
                "a missing value and encode text as numbers"
            )
    return array.astype(np.float64)


def _sample(array: NDArray[Any]) -> str:
    return repr(str(array.ravel()[0])[:40]) if array.size else "empty"


def _column_names(data: Any) -> list[str] | None:
    """Names of the columns, for tables; None for plain arrays."""
    if isinstance(data, Mapping):
        return list(data)
    for attribute in ("column_names", "columns"):  # Arrow; pandas and polars
        names = getattr(data, attribute, None)
        if names is not None and hasattr(data, "__getitem__"):
            return list(names)
    return None


def _from_columns(data: Any, found: list[str], names: Sequence[str], what: str) -> Rows:
    missing = [name for name in names if name not in found]
    if missing:
        raise InputError(
            f"{what}: columns missing: {', '.join(missing)}; expected {', '.join(names)}; found "
            f"{', '.join(map(str, found))}"
        )
    get: Callable[[str], Any] = data.__getitem__
    columns = [_convert(_plain(get(name)), f"{what}, column {name!r}") for name in names]
    lengths = {column.shape for column in columns}
    if len(lengths) != 1 or columns[0].ndim > 1:
        raise InputError(
            f"{what}: columns must be one-dimensional and equally long, found shapes "
            f"{', '.join(sorted(map(str, lengths)))}"
        )
    return np.stack(columns, axis=-1)


def _plain(column: Any) -> Any:
    # pandas' nullable and Arrow's chunked columns turn their nulls into NaN only when asked.
    if hasattr(column, "to_pylist"):
        return [float("nan") if value is None else value for value in column.to_pylist()]
    if hasattr(column, "to_numpy") and hasattr(column, "isna"):
        return column.to_numpy(dtype=None, na_value=np.nan)
    return column
