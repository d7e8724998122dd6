"""`write_table` and `write_csv`: whole or not at all, and numbers read back exactly."""

import gzip
import os
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.atomic import require_new, scratch
from aetool.errors import AetoolError, InputError, OutputError, reason_of
from aetool.tables._choice import listed
from aetool.tables.formats import ARRAY_ENDINGS, ending_of, pa, pacsv, pq, require_pyarrow

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Characters that begin a formula, also after white space that is not shown, and in full width."""


def write_table(
    path: str | os.PathLike[str], columns: Mapping[str, NDArray[Any]], *, overwrite: bool = False
) -> None:
    """Write (rows,) columns by the ending of `path`, which appears whole or not at all.

    Numbers read back exactly. NPZ holds one array a column; NPY one float array, (rows, columns), or a single
    column in its own type, (rows,).

    Raises:
        OutputError: the path exists and `overwrite` is false, cannot be written, or cannot hold such columns.
        InputError: the columns are not (rows,) arrays of one length.
        DependencyError: a CSV or Parquet file without pyarrow.
    """
    _publish(Path(path), _arrays(columns), overwrite)


def write_arrays(
    path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]], *, overwrite: bool = False
) -> None:
    """Write arrays of any rank as .npz, or one as .npy; the file appears whole or not at all.

    Raises:
        OutputError: the path exists and `overwrite` is false, cannot be written, or cannot hold such arrays.
    """
    path = Path(path)
    require_array_ending(path)
    if path.name.lower().endswith(".npy") and len(arrays) != 1:
        raise OutputError(f"{path}: .npy holds one array, not {listed(list(arrays))}: write .npz")
    _publish(path, arrays, overwrite)


def require_array_ending(path: Path) -> None:
    """Refuse `path` if the format of its ending holds no arrays of any rank."""
    if ending_of(path, OutputError) not in ARRAY_ENDINGS:
        raise OutputError(
            f"{path}: the result is an array, no table: choose a name in {' or '.join(ARRAY_ENDINGS)}"
        )


def _publish(path: Path, arrays: Mapping[str, NDArray[Any]], overwrite: bool) -> None:
    ending = ending_of(path, OutputError)
    try:
        require_new(path, overwrite)
        with scratch(path.parent) as folder:
            temporary = folder / path.name
            with temporary.open("xb") as stream:
                _WRITERS[ending](stream, arrays)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
    except AetoolError:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or reason_of(error, 200)
        raise OutputError(
            f"{path}: could not be written: {reason}; nothing was changed; check the directory, its "
            "rights and free space, or choose another format"
        ) from error


def write_csv(stream: IO[bytes], columns: Mapping[str, NDArray[Any]]) -> None:
    """Write (rows,) columns as CSV to an open binary stream; numbers read back exactly.

    Raises:
        InputError: the columns are not (rows,) arrays of one length, or CSV cannot hold them.
        DependencyError: pyarrow is missing.
        OSError: the stream cannot be written to.
    """
    require_pyarrow()
    arrays = _arrays(columns)
    try:
        # An empty line is no row to a reader, so nulls become quoted empty cells.
        parts = [pa.array(array) for array in arrays.values()]
        parts = [part.cast(pa.string()).fill_null("") if part.null_count else part for part in parts]
        # A number is quoted, so that no reader takes it for a value; of a single column, words are, so that none
        # takes them for columns with spaces between.
        plain = r"[^\W\d][\w. -]*" if len(arrays) > 1 else r"[^\W\d][\w.-]*"
        quoted = (n if re.fullmatch(plain, n) else '"{}"'.format(n.replace('"', '""')) for n in arrays)
        stream.write((",".join(quoted) + "\n").encode())
        pacsv.write_csv(pa.table(parts, names=list(arrays)), stream, pacsv.WriteOptions(include_header=False))
    except (pa.ArrowException, UnicodeError) as error:
        raise InputError(
            f"columns that CSV cannot hold: {reason_of(error, 200)}; convert them to text or numbers"
        ) from error


def without_formulas(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return columns for a CSV file whose text no spreadsheet takes for a formula: `=1+1` becomes `'=1+1`.

    Names too. Numbers are left alone, also negative ones, unless they are text.
    """
    return {_as_text(name): _cells_as_text(np.asarray(column)) for name, column in columns.items()}


def _cells_as_text(column: NDArray[Any]) -> NDArray[Any]:
    if column.dtype.kind not in "OSU":
        return column
    cells = np.empty(len(column), object)
    cells[:] = [_as_text(cell.decode() if isinstance(cell, bytes) else cell) for cell in column.tolist()]
    return cells


def _as_text(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def _arrays(columns: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return columns as native (rows,) arrays."""
    arrays = {str(name): np.asarray(column) for name, column in columns.items()}
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise InputError(f"columns to write: one or more of one shape (rows,) expected, found {sorted(shapes)}")
    return {name: array.astype(array.dtype.newbyteorder("="), copy=False) for name, array in arrays.items()}


def _write_gzipped_csv(stream: IO[bytes], arrays: Mapping[str, NDArray[Any]]) -> None:
    with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as zipped:
        write_csv(zipped, arrays)  # type: ignore[arg-type]


def _write_parquet(stream: IO[bytes], arrays: Mapping[str, NDArray[Any]]) -> None:
    pq.write_table(pa.table({name: pa.array(array) for name, array in arrays.items()}), stream)


def _write_npy(stream: IO[bytes], arrays: Mapping[str, NDArray[Any]]) -> None:
    if text := [name for name, array in arrays.items() if array.dtype.kind not in "biuf"]:
        raise OutputError(f".npy holds numbers only, not columns {listed(text)}: write .npz, .csv or .parquet")
    columns = list(arrays.values())
    array = columns[0] if len(columns) == 1 else np.stack(columns, axis=1)
    if array.ndim == 2 and array.dtype.kind != "f":
        array = array.astype(np.float64)
    np.lib.format.write_array(stream, array, allow_pickle=False)


def _write_npz(stream: IO[bytes], arrays: Mapping[str, NDArray[Any]]) -> None:
    with zipfile.ZipFile(stream, "w") as archive:  # not np.savez: its keywords forbid a column called "file"
        for name, array in arrays.items():
            if array.dtype == object and all(isinstance(value, str) for value in array):
                array = array.astype(np.str_)  # noqa: PLW2901
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


_WRITERS: dict[str, Callable[[IO[bytes], Mapping[str, NDArray[Any]]], None]] = {
    ".csv": write_csv,
    ".csv.gz": _write_gzipped_csv,
    ".parquet": _write_parquet,
    ".npy": _write_npy,
    ".npz": _write_npz,
}
