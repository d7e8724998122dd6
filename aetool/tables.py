"""Tables in and out: CSV (also .csv.gz), Parquet, NPY and NPZ.

Features become one C-ordered float64 array, (rows, columns), where NaN stands for a missing value; a label column and
id columns travel beside it. CSV and Parquet need pyarrow; NPY and NPZ need numpy alone.
"""

import csv
import difflib
import gzip
import hashlib
import io
import json
import math
import os
import re
import secrets
import shlex
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from aetool.errors import AetoolError, DependencyError, InputError, OutputError

try:
    import pyarrow as pa
    import pyarrow.csv as pacsv
    import pyarrow.parquet as pq
except ImportError:  # an app machine may lack it: NPY and NPZ go on working
    pa = None

_ENDINGS = (".csv", ".csv.gz", ".parquet", ".npy", ".npz")
_SHOWN = 20  # names listed of what a file holds, so that a wide file's message stays readable


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Rows of numbers, and what travels beside them."""

    names: tuple[str, ...]  # the numeric feature columns, in order
    values: NDArray[np.float64]  # (rows, columns), C-ordered; a missing value is NaN
    labels: NDArray[np.bool_] | None = None  # (rows,), True = anomaly
    kept: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # (rows,) each: ids carried through
    source: str = ""  # what to call it in messages
    named: bool = True  # False: the names are made up (a bare array), so columns are matched by position

    def __len__(self) -> int:
        return len(self.values)

    def select(self, rows: Any) -> "Table":
        """The rows that an index array, a boolean mask or a slice picks, labels and kept columns too."""
        return replace(
            self,
            values=np.ascontiguousarray(self.values[rows]),
            labels=None if self.labels is None else self.labels[rows],
            kept={name: column[rows] for name, column in self.kept.items()},
        )

    def missing(self) -> dict[str, int]:
        """How many values are missing, for the columns that miss any."""
        counts = np.isnan(self.values).sum(axis=0)
        return {name: int(count) for name, count in zip(self.names, counts, strict=True) if count}

    def align(self, names: Sequence[str]) -> "Table":
        """The features `names`, in that order; other features are dropped.

        Matched by name, or by position where the table's own names are made up.

        Raises:
            InputError: features are missing (all are listed), or a nameless table has another width.
        """
        place = {name: index for index, name in enumerate(self.names)}
        picked = [place[name] for name in _match(self.names, names, self.named, self.source)]
        return replace(self, names=tuple(names), values=np.ascontiguousarray(self.values[:, picked]), named=True)


def read_table(
    path: str | os.PathLike[str],
    *,
    columns: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    label: str | None = None,
    keep: Sequence[str] = (),
    only: Sequence[str] | None = None,
) -> Table:
    """Read a file by its ending.

    Args:
        path: a .csv, .csv.gz, .parquet, .npy or .npz file. A 2-D array `X` becomes `X_0`, `X_1`, ...
        columns: the columns to use as features, in that order; all the others when None.
        drop: columns to leave out.
        label: the column of labels, bool or numeric, nonzero = anomaly; never a feature.
        keep: columns carried through untouched, of any type; features only if also named in columns or only.
        only: the features that a model needs: taken, as by `Table.align`, from what the other options leave.

    Raises:
        InputError: the file cannot be read, or does not hold what was asked for.
        DependencyError: a CSV or Parquet file without pyarrow.
    """
    path, options = Path(path), _Options(columns, drop, label, keep, only)
    source = str(path)
    ending = _ending(path, InputError)
    with _reading(source, ending):
        if not path.is_file():
            found = "a directory, not a file" if path.is_dir() else "no such file"
            raise InputError(f"{source}: {found}: give the path of a {', '.join(_ENDINGS)} file")
        if path.stat().st_size == 0:
            raise InputError(f"{source}: the file is empty: a table was expected; write it again")
        choice, data = _READERS[ending](path, options)
    return _assemble(choice, data, source)


def table_from_columns(
    columns: Mapping[str, Any],
    *,
    features: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    label: str | None = None,
    keep: Sequence[str] = (),
    only: Sequence[str] | None = None,
    source: str = "table",
) -> Table:
    """Make a table of columns in memory: a dict of (rows,) arrays, a pandas DataFrame.

    `features` is what `read_table` calls `columns`; the other options are the same.

    Raises:
        InputError: the columns are not what was asked for.
    """
    names = [str(name) for name in columns]
    choice = _Options(features, drop, label, keep, only).choose(names, source)
    originals = dict(zip(names, columns, strict=True))
    data = {name: _as_column(columns[originals[name]], name, source) for name in choice.wanted}
    return _assemble(choice, data, source)


def fingerprint(table: Table) -> str:
    """The sha256, in hex, of the feature names, the shape and the values (labels and kept columns left out)."""
    # Every NaN has the same bytes here: how a file spelled a missing value is no part of the data.
    values = np.where(np.isnan(table.values), np.nan, table.values).astype("<f8")
    head = json.dumps([table.names, values.shape]).encode()
    return hashlib.sha256(head + b"\n" + values.tobytes()).hexdigest()


# ---- which columns


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which columns of a file are used, and what for."""

    columns: tuple[str, ...]  # the features, as the file names them
    names: tuple[str, ...]  # the features, as the table names them
    label: str | None
    keep: tuple[str, ...]
    named: bool

    @property
    def wanted(self) -> list[str]:
        return list(dict.fromkeys([*self.columns, *self.keep, *([] if self.label is None else [self.label])]))


@dataclass(frozen=True, slots=True)
class _Options:
    """The options of `read_table`."""

    columns: Sequence[str] | None
    drop: Sequence[str]
    label: str | None
    keep: Sequence[str]
    only: Sequence[str] | None

    def choose(self, names: Sequence[str], source: str, positional: Sequence[str] = ()) -> _Choice:
        """Apply the options to a file's columns; `positional` are those whose names are made up."""
        if repeated := _repeated(names):
            raise InputError(f"{source}: repeated column names {_list(repeated)}: give each column its own name")
        if any("\0" in name for name in names):
            raise InputError(f"{source}: column names with NUL bytes: this is no text file; save it as UTF-8")
        labels = () if self.label is None else (self.label,)
        asked = {"columns": self.columns or (), "drop": self.drop, "label": labels, "keep": self.keep}
        for option, wanted in asked.items():
            _require(names, wanted, source, f"the option {option}")
        left_out = {*self.drop, *labels}
        if clash := [name for name in self.columns or () if name in left_out]:
            raise InputError(f"{source}: {_list(clash)} in columns and in drop or label too: choose one")
        if repeated := _repeated(self.columns or ()):
            raise InputError(f"{source}: {_list(repeated)} more than once in columns: name each column once")

        if self.columns is None:
            left_out |= set(self.keep) - set(self.only or ())
            picked = tuple(name for name in names if name not in left_out)
        else:
            picked = tuple(self.columns)
        made_up = set(positional)
        features, named = picked, not picked or not made_up.issuperset(picked)
        if self.only is not None:
            needed = set(self.only)
            if not (needed - made_up and needed.issubset(picked)):
                # Not asked for by name: then an array's columns go by position, whatever named ones lie beside it.
                picked = tuple(name for name in picked if name in made_up) or picked
                named = not made_up.issuperset(picked)
            picked, features, named = _match(picked, self.only, named, source), tuple(self.only), True
        if not picked:
            raise InputError(f"{source}: no feature columns are left of {_list(names, _SHOWN)}: leave fewer out")
        if "" in picked:
            raise InputError(
                f"{source}: column {list(names).index('') + 1} has no name (an index that pandas wrote?): "
                "name it, or leave it out with --drop ''"
            )
        return _Choice(picked, features, self.label, tuple(self.keep), named)


def _match(found: Sequence[str], wanted: Sequence[str], named: bool, source: str) -> tuple[str, ...]:
    """Those of `found` that stand for `wanted`: by name, or by position where the names found are made up."""
    if named:
        _require(found, wanted, source, "the model")
        return tuple(wanted)
    if len(found) != len(wanted):
        raise InputError(
            f"{source}: {len(wanted)} columns expected, {len(found)} found; an array has no column names, so its "
            "columns must be the model's features in their order: pick them with columns or drop, or use named columns"
        )
    return tuple(wanted) if set(wanted) == set(found) else tuple(found)


def _require(found: Sequence[str], wanted: Sequence[str], source: str, who: str) -> None:
    have = set(found)
    if not (missing := [name for name in wanted if name not in have]):
        return
    named = []
    for index, name in enumerate(missing):  # difflib is slow on wide tables: a few hints show what is wrong
        near = difflib.get_close_matches(name, found, n=1) if index < 10 else []
        named.append(f"{name!r} (nearest: {near[0]!r})" if near else repr(name))
    raise InputError(
        f"{source}: missing column{'s' * (len(missing) > 1)} {', '.join(named)}, asked for by {who}; "
        f"found {_list(found, _SHOWN)}: correct the names"
    )


def _repeated(names: Sequence[str]) -> list[str]:
    seen: set[str] = set()
    return list(dict.fromkeys(name for name in names if name in seen or seen.add(name)))  # type: ignore[func-returns-value]


def _list(names: Sequence[str], most: int | None = None) -> str:
    more = f" and {len(names) - most:,} more" if most is not None and len(names) > most else ""
    return (", ".join(map(repr, names[:most])) or "no columns") + more


def _drop(names: Iterable[str]) -> str:
    return " ".join(f"--drop {shlex.quote(name if name.isprintable() else repr(name))}" for name in names)


# ---- columns to numbers


def _assemble(choice: _Choice, data: Mapping[str, Any], source: str) -> Table:
    """Put the chosen columns, numpy or Arrow, into one table."""
    lengths = {name: len(data[name]) for name in choice.wanted}
    rows = lengths[choice.columns[0]]
    if other := next((name for name, length in lengths.items() if length != rows), None):
        raise InputError(
            f"{source}: columns of different lengths: {choice.columns[0]!r} has {rows} rows, "
            f"{other!r} has {lengths[other]}: all need the same number"
        )
    values = np.empty((rows, len(choice.columns)))
    text = []
    for index, name in enumerate(choice.columns):
        numbers = _numbers(data[name])
        if numbers is None:
            text.append(name)
        else:
            values[:, index] = numbers
    if text:
        described = ", ".join(f"{name!r} ({_describe(data[name])})" for name in text)
        raise InputError(
            f"{source}: not numbers: column{'s' * (len(text) > 1)} {described}: "
            f"leave out with {_drop(text)}, or encode as numbers"
        )
    labels = None if choice.label is None else _labels(data[choice.label], choice.label, source)
    kept = {name: _untouched(data[name]) for name in choice.keep}
    return Table(choice.names, values, labels, kept, source, choice.named)


def _labels(column: Any, name: str, source: str) -> NDArray[np.bool_]:
    numbers = _numbers(column)
    if numbers is None:
        shown = ", ".join(map(repr, dict.fromkeys(map(str, _untouched(column)[:1000])))) if len(column) else ""
        raise InputError(
            f"{source}: label column {name!r} holds {_describe(column)} ({shown[:80]}), "
            "not numbers: map the labels to 0 (normal) and 1 (anomaly)"
        )
    numbers = np.asarray(numbers, np.float64)
    if (absent := np.isnan(numbers)).any():
        raise InputError(
            f"{source}: row {int(absent.argmax()) + 1}: no label in column {name!r} "
            f"({int(absent.sum())} rows lack one): fill in 0 (normal) or 1 (anomaly), or leave these rows out"
        )
    return numbers != 0


def _numbers(column: Any) -> NDArray[Any] | None:
    """(rows,) numbers with NaN for missing ones, or None when the column's type is no number."""
    if isinstance(column, np.ndarray):
        return column if column.dtype.kind in "biuf" else None
    column = _decoded(column)
    kinds = pa.types
    if any(
        is_kind(column.type)
        for is_kind in (kinds.is_boolean, kinds.is_integer, kinds.is_floating, kinds.is_decimal, kinds.is_null)
    ):
        # Unsafe on purpose: integers beyond 2**53 take the nearest float64, where a safe cast would refuse.
        numbers: NDArray[np.float64] = column.cast(pa.float64(), safe=False).to_numpy()
        return numbers
    return None


def _untouched(column: Any) -> NDArray[Any]:
    """(rows,) the column as numpy, nothing changed."""
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
    """An Arrow column without dictionary encoding, whose `to_numpy` loses nulls."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _describe(column: Any) -> str:
    if isinstance(column, np.ndarray):
        return "text" if column.dtype.kind in "US" else str(column.dtype)
    kind = _decoded(column).type
    return "text" if str(kind) in ("string", "large_string", "string_view") else str(kind)


def _as_column(column: Any, name: str, source: str) -> Any:
    """A column from memory as a (rows,) numpy array or an Arrow column."""
    if isinstance(column, np.ma.MaskedArray) and column.dtype.kind in "biuf":
        column = np.ma.filled(column.astype(np.float64), np.nan)
    if np.ndim(column) != 1:
        raise InputError(f"{source}: column {name!r} has shape {np.shape(column)}: (rows,) is expected")
    if pa is None or (isinstance(column, np.ndarray) and column.dtype != object):
        return np.asarray(column)
    try:  # Arrow knows None, pandas' NA and categories
        converted = pa.array(column, from_pandas=True)
    except pa.ArrowException:  # a mixture: good enough to keep, no numbers
        return np.asarray(column)
    return converted if isinstance(converted, pa.ChunkedArray) else pa.chunked_array([converted])


# ---- reading files


def _ending(path: Path, error: type[AetoolError]) -> str:
    """The ending that tells a file's format; CSV and Parquet need pyarrow."""
    for ending in _ENDINGS:
        if path.name.lower().endswith(ending):
            if pa is None and ending not in (".npy", ".npz"):
                raise DependencyError("pyarrow", "tables", "reading CSV and Parquet")
            return ending
    raise error(f"{path}: the format is told by the name's ending: use one of {', '.join(_ENDINGS)}")


@contextmanager
def _reading(source: str, ending: str) -> Iterator[None]:
    """Turn whatever a reader raises into an InputError."""
    try:
        yield
    except AetoolError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise InputError(f"{source}: cannot be read: {error.strerror}") from error
        reason = " ".join((str(error) or type(error).__name__).split())[:200]
        raise InputError(
            f"{source}: not a sound {ending} file, perhaps cut short: {reason}; write or copy it again"
        ) from error


def _read_csv(path: Path, options: _Options) -> tuple[_Choice, Mapping[str, Any]]:
    source = str(path)
    # Kept columns are read as bytes, so that no type is guessed for them.
    keep = set(options.keep) - {options.label, *(options.columns or ()), *(options.only or ())}
    table = _parse_csv(path, dict.fromkeys(keep, pa.binary()))
    try:
        names = table.column_names
    except UnicodeDecodeError as error:
        raise InputError(f"{source}: the header is not UTF-8: save the file as UTF-8") from error
    if len(names) == 1 and (separator := re.search(r"[;\t|]", names[0])):
        raise InputError(f"{source}: fields parted by {separator[0]!r}, where commas are expected: convert it")
    choice = options.choose(names, source)
    data: dict[str, Any] = {name: table.column(name) for name in choice.wanted}
    for name, column in data.items():
        if column.type in (pa.string(), pa.binary()):
            text = _text(column, name, source)
            if name in keep:
                data[name] = _plain(text)
            else:
                mend = "write 0 or 1" if name == choice.label else f"leave the column out with {_drop([name])}"
                data[name] = _cells(text, f"column {name!r}", source, mend)
    return choice, data


def _parse_csv(path: Path, types: Mapping[str, Any]) -> Any:
    """An Arrow table of a CSV file."""
    ragged: list[Any] = []

    def note(row: Any) -> str:
        ragged.append(row)
        return "error"

    def parse(stream: Any, block_size: int | None, careful: bool) -> Any:
        return pacsv.read_csv(
            stream,
            pacsv.ReadOptions(use_threads=not careful, block_size=block_size),
            pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=note if careful else None),
            pacsv.ConvertOptions(column_types=types),
        )

    compression = "gzip" if path.name.lower().endswith(".gz") else None
    try:
        with pa.input_stream(str(path), compression=compression) as stream:
            return parse(stream, None, careful=False)
    except pa.ArrowInvalid:
        # Again, in one block and one thread: rows longer than a block then parse, a header without an end of line
        # too, and a ragged row tells its number.
        with pa.input_stream(str(path), compression=compression) as stream:
            whole = stream.read() + b"\n"
    if not whole.strip(b"\xef\xbb\xbf\r\n"):
        raise InputError(f"{path}: the file is empty: a header and rows were expected; write it again")
    try:
        return parse(pa.BufferReader(whole), min(len(whole), 2**31 - 1), careful=True)
    except pa.ArrowInvalid as error:
        if not ragged:
            raise
        row = ragged[0]
        raise InputError(
            f"{path}: row {row.number - 1}: {row.actual_columns} columns found, {row.expected_columns} expected "
            "as in the header: mend the row (a quote left open does this too)"
        ) from error


def _text(column: Any, name: str, source: str) -> Any:
    """A CSV column as Arrow strings; raises InputError where it is not UTF-8."""
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        for row, cell in enumerate(column.to_pylist(), 1):
            try:
                (cell or b"").decode()
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{source}: row {row}, column {name!r}: {cell[:40]!r} is not UTF-8: save the file as UTF-8"
                ) from error
        raise


def _plain(text: Any) -> Any:
    """A kept CSV column: as numbers only where they spell the very same text ('007' stays text)."""
    for kind in (pa.int64(), pa.float64()):
        try:
            numbers = text.cast(kind)
        except pa.ArrowInvalid:
            continue
        if numbers.cast(pa.string()).equals(text):
            return numbers
    return text


def _cells(text: Any, where: str, source: str, mend: str) -> Any:
    """The numbers of a CSV column that Arrow took for text: itself if most cells are text, InputError if a few are."""
    nulls = frozenset(pacsv.ConvertOptions().null_values)
    values = np.full(len(text), np.nan)
    numbers, odd = 0, []
    for row, cell in enumerate(text.to_pylist()):
        if cell is None or cell.strip() in nulls:
            continue
        try:
            values[row] = float(cell.replace("_", "?"))  # Python reads 1_0 as 10; tables do not
            numbers += 1
        except ValueError:
            odd.append(row)
    if numbers <= len(odd):
        return text if odd else values
    if odd:
        cell = text[odd[0]].as_py()
        raise InputError(
            f"{source}: row {odd[0] + 1}, {where}: {cell[:40]!r} is not a number; mend the cell, or {mend}"
        )
    return values


def _read_parquet(path: Path, options: _Options) -> tuple[_Choice, Mapping[str, Any]]:
    with pq.ParquetFile(str(path)) as file:
        # An unnamed pandas index is stored as a column; pandas takes it out again, and so do we.
        names = [name for name in file.schema_arrow.names if not re.fullmatch(r"__index_level_\d+__", name)]
        choice = options.choose(names, str(path))
        table = file.read(columns=choice.wanted)
    return choice, {name: table.column(name) for name in choice.wanted}


def _read_npy(path: Path, options: _Options) -> tuple[_Choice, Mapping[str, Any]]:
    with path.open("rb") as stream:
        array = _read_array(lambda: stream, path.stat().st_size, str(path))
    if array.ndim != 2:
        raise InputError(f"{path}: shape {array.shape} found, (rows, columns) expected: reshape it")
    data = _split("X", array)
    return options.choose(list(data), str(path), list(data)), data


def _read_npz(path: Path, options: _Options) -> tuple[_Choice, Mapping[str, Any]]:
    names: list[str] = []
    data: dict[str, Any] = {}
    arrays = []
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.filename.endswith(".npy"):
                continue
            name = member.filename.removesuffix(".npy")
            ...
    return options.choose(names, str(path)), data
