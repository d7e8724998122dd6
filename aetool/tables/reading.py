"""Tables from files of every format and from columns in memory, and the header of a file."""

import csv
import gzip
import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from aetool.bundle.files import DEFAULT_LIMITS, Limits
from aetool.errors import InputError
from aetool.suggest import file_hint
from aetool.tables._binary_files import array_shapes, parquet_names, read_npy, read_npz, read_parquet
from aetool.tables._choice import ColumnChoice, Options
from aetool.tables._csv_files import read_csv, require_commas
from aetool.tables._table import Table
from aetool.tables.columns import as_column, assemble
from aetool.tables.formats import ENDINGS, ending_of, pq, reading

# What columns a file has, by its first bytes: to refuse a wrong one before anything is done, or written.

HEAD_BYTES = 1 << 20
"""Bytes of a CSV file in which its header must end."""


class Header(NamedTuple):
    """Names of a file's columns."""

    names: tuple[str, ...]
    positional: tuple[str, ...] = ()
    """Names among them that are made up: an array has none."""


def _of_csv(path: Path, ending: str) -> Header | None:
    with (gzip.open if ending == ".csv.gz" else Path.open)(path, "rb") as stream:
        head = stream.read(HEAD_BYTES)
    try:
        text = head[: head.rfind(b"\n") + 1 or None].decode("utf-8-sig")
        lines = io.StringIO(text, newline="")
        names = next(filter(None, csv.reader(lines)), None)
    except (UnicodeDecodeError, csv.Error):
        return None
    cut = len(head) == HEAD_BYTES and lines.read(1) == ""  # a quote that is left open takes in all that follows
    if names is None or cut or "\0" in text:
        return None
    require_commas(names, str(path))
    return Header(tuple(names))


def _of_arrays(path: Path, limits: Limits) -> Header | None:
    names: list[str] = []
    tables = []
    for name, shape in array_shapes(path, limits):
        if len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] > limits.columns):
            return None  # `read_table` tells why
        columns = [name] if len(shape) == 1 else [f"{name}_{index}" for index in range(shape[1])]
        tables += [columns] if len(shape) == 2 else []
        names += columns
    return Header(tuple(names), tuple(tables[0]) if len(tables) == 1 else ())


_READERS: dict[str, Callable[[Path, Options], tuple[ColumnChoice, Mapping[str, Any]]]] = {
    ".csv": read_csv,
    ".csv.gz": read_csv,
    ".parquet": read_parquet,
    ".npy": read_npy,
    ".npz": read_npz,
}


def read_table(
    path: str | os.PathLike[str],
    *,
    columns: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    label: str | None = None,
    keep: Sequence[str] = (),
    only: Sequence[str] | None = None,
    categorical: Sequence[str] | None = (),
    categories: Mapping[str, Sequence[str]] | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Table:
    """Read a file by its ending.

    Args:
        path: a .csv, .csv.gz, .parquet, .npy or .npz file. A 2-D array `X` becomes `X_0`, `X_1`, ...
        columns: the columns to use as features, in that order; all the others when None.
        drop: columns to leave out.
        label: the column of labels, bool or numeric, nonzero = anomaly; never a feature.
        keep: columns carried through untouched, of any type; features only if also named in columns or only.
        only: the features that a model needs: taken, as by `Table.align`, from what the other options leave.
        categorical: feature columns that hold categories, text or codes; "auto" among them: every column of text,
            or of true and false. Their values in the table are indexes into `Table.categories`, which are the
            distinct texts, sorted; an empty cell, or one such as NA, is missing. None: the network takes numbers
            only, and no message offers categories.
        categories: those of a model, by feature: no others are learnt, a value that is none of them becomes -1.
        limits: of columns, cells, bytes and compression, checked before memory is taken.

    Raises:
        InputError: the file cannot be read, or does not hold what was asked for.
        DependencyError: a CSV or Parquet file without pyarrow.
    """
    return _read(Path(path), Options(columns, drop, label, keep, only, categorical, categories, limits))


def _read(path: Path, options: Options) -> Table:
    ending = ending_of(path, InputError)
    with reading(str(path), ending):
        _require_file(path)
        choice, data = _READERS[ending](path, options)
    return assemble(choice, data, str(path))


class TableFile:
    """A file whose name and columns are checked at once, and whose rows are read later."""

    def __init__(self, path: str | os.PathLike[str], **options: Any) -> None:
        """Refuse what `read_table`, whose options these are, would refuse for the file's name or its columns.

        Raises:
            InputError: there is no such file, or its columns are not what was asked for.
            DependencyError: a CSV or Parquet file without pyarrow.
        """
        self._path, self._options = Path(path), Options(**options)
        if (header := table_header(self._path, self._options.limits)) is not None:
            self._options.choose(header.names, str(path), header.positional)

    def read(self) -> Table:
        """Read the rows as `read_table` does."""
        return _read(self._path, self._options)


def table_header(path: Path, limits: Limits = DEFAULT_LIMITS) -> Header | None:
    """Return the columns of a table as `read_table` names them; None where its first bytes do not show.

    Raises:
        InputError: there is no such file, or a damaged one.
        DependencyError: a CSV or Parquet file without pyarrow.
    """
    ending = ending_of(path, InputError)
    with reading(str(path), ending):
        _require_file(path)
        if ending == ".parquet":
            return Header(tuple(parquet_names(pq.read_schema(str(path)))))
        return _of_csv(path, ending) if ending.startswith(".csv") else _of_arrays(path, limits)


def _require_file(path: Path) -> None:
    if not path.is_file():
        found = "a directory, not a file" if path.is_dir() else f"no such file{file_hint(path)}"
        raise InputError(f"{path}: {found}: give the path of a {', '.join(ENDINGS)} file")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty: a table was expected; write it again")


def table_from_columns(
    data: Mapping[str, Any],
    *,
    columns: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    label: str | None = None,
    keep: Sequence[str] = (),
    only: Sequence[str] | None = None,
    categorical: Sequence[str] = (),
    categories: Mapping[str, Sequence[str]] | None = None,
    source: str = "table",
) -> Table:
    """Make a table from columns in memory, a dict of (rows,) arrays or a DataFrame; options as in `read_table`.

    Raises:
        InputError: the columns are not what was asked for.
    """
    names = [str(name) for name in data]
    choice = Options(columns, drop, label, keep, only, categorical, categories).choose(names, source)
    keys = dict(zip(names, data, strict=True))
    return assemble(choice, {name: as_column(data[keys[name]], name, source) for name in choice.wanted}, source)
