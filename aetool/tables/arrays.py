"""Rows of more than one axis, images or windows of a series, from NPY and NPZ."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.files import DEFAULT_LIMITS, Limits
from aetool.errors import InputError
from aetool.suggest import file_hint
from aetool.tables._binary_files import array_shapes, read_archive, read_one
from aetool.tables._choice import listed
from aetool.tables._layout import AS_FOUND, Reading
from aetool.tables._table import Table
from aetool.tables.formats import ARRAY_ENDINGS, guarded
from aetool.tables.reading import read_table, table_from_columns

ROWS = "X"
"""Name of the array that holds the rows, where several could."""


def read_rows(
    path: str | os.PathLike[str],
    *,
    columns: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    label: str | None = None,
    reading: Reading = AS_FOUND,
    limits: Limits = DEFAULT_LIMITS,
) -> Table:
    """Read a table as `read_table` does, or the rows of an array of more axes as `read_array` does.

    Raises:
        InputError: the file cannot be read, or does not hold what was asked for.
        DependencyError: a CSV or Parquet file without pyarrow.
    """
    path = Path(path)
    if not _has_more_axes(path, limits):
        return read_table(
            path, columns=columns, drop=drop, label=label, categorical=None, reading=reading, limits=limits
        )
    if columns or drop:
        raise InputError(f"{path}: columns and drop choose columns of a table, this is an array: leave them out")
    return read_array(path, label=label, reading=reading, limits=limits)


def read_array(
    path: str | os.PathLike[str],
    *,
    label: str | None = None,
    keep: Sequence[str] = (),
    reading: Reading = AS_FOUND,
    limits: Limits = DEFAULT_LIMITS,
) -> Table:
    """Read the array of a .npy file, or from a .npz file the one called X or the only one that is no column.

    Args:
        path: its first axis is rows.
        label: an array (rows,) of the same .npz file, nonzero = anomaly, or words as in `read_table`.
        keep: arrays (rows,) carried through.
        reading: which labels mean normal.
        limits: of bytes and compression, checked before memory is taken.

    Returns:
        A table without names, whose values are the array, (rows, ...), in its own type.

    Raises:
        InputError: the file cannot be read, or does not hold such arrays.
    """
    path = Path(path)
    arrays = _arrays(path, limits)
    several = [name for name, array in arrays.items() if array.ndim > 1]
    name = ROWS if ROWS in several else several[0] if len(several) == 1 else None
    if name is None:
        raise InputError(
            f"{path}: one array of rows (rows, ...), or one called {ROWS}, is expected; found "
            f"{listed([f'{n} {a.shape}' for n, a in arrays.items()], 10)}: name it {ROWS}"
        )
    values = arrays[name]
    if values.dtype.kind not in "biuf":
        raise InputError(f"{path}: real numbers are expected, found {values.dtype}: save it as float32")
    # A table of the row numbers: labels and kept arrays are checked, and read, as a table's columns are.
    numbers = {name: np.arange(len(values)), **{n: a for n, a in arrays.items() if a.ndim == 1}}
    table = table_from_columns(numbers, columns=[name], label=label, keep=keep, reading=reading, source=str(path))
    return replace(table, names=(), values=values, named=False)


def _arrays(path: Path, limits: Limits) -> dict[str, NDArray[Any]]:
    ending = require_array(path)
    with guarded(str(path), ending):
        return {ROWS: read_one(path, limits)} if ending == ".npy" else dict(read_archive(path, limits))


def require_array(path: Path) -> str:
    """Return the file's ending.

    Raises:
        InputError: there is no such file, or it is not an array.
    """
    ending = path.suffix.lower()
    if ending not in ARRAY_ENDINGS:
        raise InputError(
            f"{path}: rows of more than one axis are expected, which a table cannot hold: give a "
            f"{' or '.join(ARRAY_ENDINGS)} file"
        )
    if not path.is_file():
        raise InputError(
            f"{path}: no such file{file_hint(path)}: give the path of a {' or '.join(ARRAY_ENDINGS)} file"
        )
    return ending


def _has_more_axes(path: Path, limits: Limits) -> bool:
    if path.suffix.lower() not in ARRAY_ENDINGS or not path.is_file() or path.stat().st_size == 0:
        return False  # a table, or nothing: read_table tells
    with guarded(str(path), path.suffix.lower()):
        return any(len(shape) > 2 for _, shape in array_shapes(path, limits))
