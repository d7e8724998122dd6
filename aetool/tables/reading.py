"""`read_table` and `table_from_columns`."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aetool.errors import InputError
from aetool.limits import DEFAULT_LIMITS, Limits
from aetool.nearest import file_hint
from aetool.tables.binary_files import read_npy, read_npz, read_parquet
from aetool.tables.choice import Choice, Options
from aetool.tables.columns import as_column, assemble
from aetool.tables.csv_files import read_csv
from aetool.tables.faults import ENDINGS, ending_of, reading
from aetool.tables.header import Header, header
from aetool.tables.table import Table

_READERS: dict[str, Callable[[Path, Options], tuple[Choice, Mapping[str, Any]]]] = {
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
    path, options = Path(path), Options(columns, drop, label, keep, only, categorical, categories, limits)
    ending = ending_of(path, InputError)
    with reading(str(path), ending):
        _require_file(path)
        choice, data = _READERS[ending](path, options)
    return assemble(choice, data, str(path))


def check_table(
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
) -> None:
    """Refuse early what `read_table`, whose options these are, would refuse for the file's name or its columns.

    Raises:
        InputError: there is no such file, or its columns are not what was asked for.
        DependencyError: a CSV or Parquet file without pyarrow.
    """
    path, options = Path(path), Options(columns, drop, label, keep, only, categorical, categories, limits)
    if (found := table_header(path, limits)) is not None:
        options.choose(found.names, str(path), found.positional)


def table_header(path: Path, limits: Limits = DEFAULT_LIMITS) -> Header | None:
    """The columns of a table, without its rows; None where they cannot be told so.

    Raises:
        InputError: there is no such file, or a damaged one.
        DependencyError: a CSV or Parquet file without pyarrow.
    """
    ending = ending_of(path, InputError)
    with reading(str(path), ending):
        _require_file(path)
        return header(path, ending, limits)


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
    """Columns in memory, a dict of (rows,) arrays or a pandas DataFrame, as a table; options as in `read_table`.

    Raises:
        InputError: the columns are not what was asked for.
    """
    names = [str(name) for name in data]
    choice = Options(columns, drop, label, keep, only, categorical, categories).choose(names, source)
    keys = dict(zip(names, data, strict=True))
    return assemble(choice, {name: as_column(data[keys[name]], name, source) for name in choice.wanted}, source)
