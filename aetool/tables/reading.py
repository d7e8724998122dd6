"""Tables from files of every format and from columns in memory, and the header of a file."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from aetool.bundle.files import DEFAULT_LIMITS, Limits
from aetool.errors import InputError
from aetool.suggest import file_hint
from aetool.tables._binary_files import array_shapes, parquet_names, read_npy, read_npz, read_parquet
from aetool.tables._choice import ColumnChoice, Options, Trains
from aetool.tables._csv_files import open_file, read_csv
from aetool.tables._layout import AS_FOUND, Reading
from aetool.tables._table import Table
from aetool.tables.columns import Origin, as_column, as_columns, assemble
from aetool.tables.formats import ENDINGS, format_of, guarded, pq


class Header(NamedTuple):
    """Names of a file's columns."""

    names: tuple[str, ...]
    positional: tuple[str, ...] = ()
    """Names among them that are made up: an array has none, nor a text without a header."""


def _of_text(path: Path, options: Options) -> Header:
    layout = open_file(path, options).layout
    return Header(layout.names, () if layout.header else layout.names)


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


_READERS: dict[str, Callable[[Path, Options], tuple[ColumnChoice, Mapping[str, Any], Origin]]] = {
    ".csv": read_csv,
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
    reading: Reading = AS_FOUND,
    like: Reading = AS_FOUND,
    trains: Trains | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Table:
    """Read a file by its ending, or by what it holds.

    Args:
        path: a text file (.csv, .tsv, .txt, .data, ..., also with .gz), or a .parquet, .npy or .npz file. A 2-D
            array `X` becomes `X_0`, `X_1`, ...
        columns: the columns to use as features, in that order; all the others when None.
        drop: columns to leave out.
        label: the column of labels; never a feature. Numbers other than 0 mean an anomaly; of words, those such as
            normal or ok mean normal, others as `reading` says.
        keep: columns carried through untouched, of any type; features only if also named in columns or only.
        only: the features that a model needs: taken, as by `Table.align`, from what the other options leave; ():
            labels and kept columns alone.
        categorical: feature columns that hold categories, text or codes; "auto" among them: every column of text,
            or of true and false. Their values in the table are indexes into `Table.categories`, which are the
            distinct texts, sorted; an empty cell, or one such as NA, is missing. None: the network takes numbers
            only, and no message offers categories.
        categories: those of a model, by feature: no others are learnt, a value that is none of them becomes -1.
        reading: how text is read, where that is known: separator, decimal mark, encoding, missing words, labels.
        like: how the table was read that the model was trained on (`Table.reading`), for what is in doubt.
        trains: the rows are to be trained on: what keeps them from that is told with the rest.
        limits: of columns, cells, bytes and compression, checked before memory is taken.

    Raises:
        InputError: the file cannot be read, does not hold what was asked for, or leaves a doubt.
        DependencyError: a text or Parquet file without pyarrow.
    """
    return _read(
        Path(path),
        Options(columns, drop, label, keep, only, categorical, categories, reading, like, trains, limits),
    )


def _read(path: Path, options: Options) -> Table:
    kind = _require_file(path)
    with guarded(str(path), kind):
        choice, data, source = _READERS[kind](path, options)
    return assemble(choice, data, source)


class TableFile:
    """A file whose name and columns are checked at once, and whose rows are read later."""

    def __init__(self, path: str | os.PathLike[str], **options: Any) -> None:
        """Refuse what `read_table`, whose options these are, would refuse for the file's name or its columns.

        Raises:
            InputError: there is no such file, or its columns are not what was asked for.
            DependencyError: a CSV or Parquet file without pyarrow.
        """
        self._path, self._options = Path(path), Options(**options)
        if (header := _header(self._path, self._options)) is not None:
            self._options.choose(header.names, str(path), header.positional)

    def read(self) -> Table:
        """Read the rows as `read_table` does."""
        return _read(self._path, self._options)


def table_header(path: Path, limits: Limits = DEFAULT_LIMITS) -> Header | None:
    """Return the columns of a table as `read_table` names them; None where its first bytes do not show.

    Raises:
        InputError: there is no such file, or a damaged one.
        DependencyError: a text or Parquet file without pyarrow.
    """
    return _header(path, Options(limits=limits))


def _header(path: Path, options: Options) -> Header | None:
    kind = _require_file(path)
    with guarded(str(path), kind):
        if kind == ".parquet":
            return Header(tuple(parquet_names(pq.read_schema(str(path)))))
        return _of_text(path, options) if kind == ".csv" else _of_arrays(path, options.limits)


def _require_file(path: Path) -> str:
    """Return the format of a file that is there and not empty."""
    with guarded(str(path), "table"):
        kind = format_of(path)
        if not path.is_file():
            found = "a directory, not a file" if path.is_dir() else f"no such file{file_hint(path)}"
            raise InputError(f"{path}: {found}: give the path of a {', '.join(ENDINGS)} file")
        if path.stat().st_size == 0:
            raise InputError(f"{path}: the file is empty: a table was expected; write it again")
        return kind


def table_from_columns(
    data: Any,
    *,
    columns: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    label: str | None = None,
    keep: Sequence[str] = (),
    only: Sequence[str] | None = None,
    categorical: Sequence[str] = (),
    categories: Mapping[str, Sequence[str]] | None = None,
    reading: Reading = AS_FOUND,
    like: Reading = AS_FOUND,
    trains: Trains | None = None,
    source: str = "table",
) -> Table:
    """Make a table from rows in memory; options as in `read_table`.

    Args:
        data: a dict of (rows,) arrays, a DataFrame of pandas or polars, a table of Arrow, a list of dicts, or an
            array (rows, columns), whose columns are called X_0, X_1, ...
        columns: see `read_table`, as for all that follow.
        drop: see there.
        label: see there.
        keep: see there.
        only: see there.
        categorical: see there.
        categories: see there.
        reading: see there.
        like: see there.
        trains: the rows are to be trained on: what keeps them from that is told with the rest.
        source: what to call the rows in messages.

    Raises:
        InputError: the columns are not what was asked for.
    """
    named, positional = as_columns(data, source)
    options = Options(columns, drop, label, keep, only, categorical, categories, reading, like, trains)
    choice = options.choose(list(named), source, list(named) if positional else ())
    found = {name.strip(): column for name, column in reversed(named.items())}
    chosen = {name: as_column(found[name], name, source) for name in choice.wanted}
    return assemble(choice, chosen, Origin(source, options, reading))
