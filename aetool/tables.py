"""Tables in and out: CSV (also .csv.gz), Parquet, NPY and NPZ.

Features become one C-ordered float64 array, (rows, columns), where NaN stands for a missing value; labels and id
columns travel beside it. CSV and Parquet need pyarrow; NPY and NPZ need numpy alone.
"""

import difflib
import gzip
import hashlib
import json
import math
import os
import re
import secrets
import shlex
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from aetool.errors import AetoolError, DependencyError, InputError, OutputError
from aetool.storage import require_new

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
    data: Mapping[str, Any],
    *,
    columns: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    label: str | None = None,
    keep: Sequence[str] = (),
    only: Sequence[str] | None = None,
    source: str = "table",
) -> Table:
    """Columns in memory, a dict of (rows,) arrays or a pandas DataFrame, as a table; options as in `read_table`.

    Raises:
        InputError: the columns are not what was asked for.
    """
    names = [str(name) for name in data]
    choice = _Options(columns, drop, label, keep, only).choose(names, source)
    keys = dict(zip(names, data, strict=True))
    return _assemble(choice, {name: _as_column(data[keys[name]], name, source) for name in choice.wanted}, source)


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
    path = Path(path)
    ending = _ending(path, OutputError)
    arrays = _arrays(columns)
    temporary = path.with_name(f".aetool-{secrets.token_hex(8)}.tmp")
    try:
        require_new(path, overwrite)
        try:
            with temporary.open("xb") as stream:
                _WRITERS[ending](stream, arrays)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        finally:  # also on Ctrl-C
            temporary.unlink(missing_ok=True)
    except AetoolError:
        raise
    except Exception as error:
        raise OutputError(
            f"{path}: could not be written: {_reason(error)}; nothing was changed; check the directory, its "
            "rights and free space, or choose another format"
        ) from error


def write_csv(stream: IO[bytes], columns: Mapping[str, NDArray[Any]]) -> None:
    """Write (rows,) columns as CSV to an open binary stream; numbers read back exactly.

    Raises:
        InputError: the columns are not (rows,) arrays of one length, or CSV cannot hold them.
        DependencyError: pyarrow is missing.
        OSError: what the stream raises.
    """
    _require_pyarrow()
    arrays = _arrays(columns)
    try:
        # An empty line is no row to a reader, so nulls become quoted empty cells.
        parts = [pa.array(array) for array in arrays.values()]
        parts = [part.cast(pa.string()).fill_null("") if part.null_count else part for part in parts]
        quoted = (n if re.fullmatch(r"[\w. -]+", n) else '"{}"'.format(n.replace('"', '""')) for n in arrays)
        stream.write((",".join(quoted) + "\n").encode())
        pacsv.write_csv(pa.table(parts, names=list(arrays)), stream, pacsv.WriteOptions(include_header=False))
    except (pa.ArrowException, UnicodeError) as error:
        raise InputError(
            f"columns that CSV cannot hold: {_reason(error)}; convert them to text or numbers"
        ) from error


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
            raise InputError(
                f"{source}: column names with NUL bytes, which is no text: rename them, or save the file as UTF-8"
            )
        labels = () if self.label is None else (self.label,)
        asked = {"columns": self.columns or (), "drop": self.drop, "label": labels, "keep": self.keep}
        for option, wanted in asked.items():
            _require(names, wanted, source, f"the option {option}")
        left_out = {*self.drop, *labels}
        if clash := [name for name in self.columns or () if name in left_out]:
            raise InputError(f"{source}: {_list(clash)} in columns and in drop or label too: choose one")
        if repeated := _repeated(self.columns or ()):
            raise InputError(f"{source}: {_list(repeated)} more than once in columns: name each column once")

        made_up = set(positional)
        if self.columns is None:
            left_out |= set(self.keep) - (set(self.only or ()) - made_up)
            picked = tuple(name for name in names if name not in left_out)
        else:
            picked = tuple(self.columns)
        if self.only is not None and not (set(self.only) - made_up and set(self.only).issubset(picked)):
            # An array's columns go by position, whatever named ones lie beside it.
            picked = tuple(name for name in picked if name in made_up) or picked
        features, named = picked, not made_up or not made_up.issuperset(picked)
        if self.only is not None:
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
            "columns must be the model's features in their order: pick them with columns or drop, or name them"
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


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


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
    numbers = {name: column for name in choice.columns if (column := _numbers(data[name])) is not None}
    if text := [name for name in choice.columns if name not in numbers]:
        described = ", ".join(f"{name!r} ({_describe(data[name])})" for name in text)
        raise InputError(
            f"{source}: not numbers: column{'s' * (len(text) > 1)} {described}: "
            f"leave out with {_drop(text)}, or encode as numbers"
        )
    values = np.empty((rows, len(choice.columns)))
    for start in range(0, rows, 4096):  # in blocks that the cache holds: twice as fast as whole columns
        block = slice(start, start + 4096)
        for index, name in enumerate(choice.columns):
            values[block, index] = numbers[name][block]
    labels = None if choice.label is None else _labels(data[choice.label], choice.label, source)
    kept = {name: _untouched(data[name]) for name in choice.keep}
    return Table(choice.names, values, labels, kept, source, choice.named)


def _labels(column: Any, name: str, source: str) -> NDArray[np.bool_]:
    numbers = _numbers(column)
    if numbers is None:
        found = list(dict.fromkeys(str(label)[:40] for label in _untouched(column)))
        raise InputError(
            f"{source}: label column {name!r} holds {_describe(column)} ({_list(found, 3)}), not numbers: "
            "map the labels to 0 (normal) and 1 (anomaly)"
        )
    if (absent := np.isnan(numbers)).any():
        raise InputError(
            f"{source}: row {int(absent.argmax()) + 1}: no label in column {name!r} "
            f"({int(absent.sum())} rows lack one): fill in 0 (normal) or 1 (anomaly), or leave these rows out"
        )
    return np.asarray(numbers != 0)


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
    if getattr(column, "ndim", 1) != 1:
        raise InputError(f"{source}: column {name!r} has shape {np.shape(column)}: (rows,) is expected")
    if pa is None or (isinstance(column, np.ndarray) and column.dtype != object):
        return np.asarray(column)
    try:  # Arrow knows None, pandas' NA and categories
        converted = pa.array(column, from_pandas=True)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):  # a mixture: to keep, but no numbers
        return np.asarray(column)
    return converted if isinstance(converted, pa.ChunkedArray) else pa.chunked_array([converted])


# ---- reading files


def _ending(path: Path, error: type[AetoolError]) -> str:
    """The ending that tells a file's format; CSV and Parquet need pyarrow."""
    for ending in _ENDINGS:
        if path.name.lower().endswith(ending):
            if ending not in (".npy", ".npz"):
                _require_pyarrow()
            return ending
    raise error(f"{path}: unknown ending, which tells the format: use one of {', '.join(_ENDINGS)}")


def _require_pyarrow() -> None:
    if pa is None:
        raise DependencyError("pyarrow", "tables", "reading CSV and Parquet")


def _reason(error: Exception) -> str:
    """What went wrong, on one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join((str(error) or type(error).__name__).split())[:200]


@contextmanager
def _reading(source: str, ending: str) -> Iterator[None]:
    """Turn whatever a reader raises into an InputError."""
    try:
        yield
    except AetoolError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise InputError(f"{source}: cannot be read: {error.strerror}; check its rights") from error
        raise InputError(
            f"{source}: not a sound {ending} file, perhaps cut short: {_reason(error)}; write or copy it again"
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

    def parse(stream: Any, block_size: int | None = None) -> Any:
        return pacsv.read_csv(
            stream,
            pacsv.ReadOptions(use_threads=block_size is None, block_size=block_size),
            pacsv.ParseOptions(newlines_in_values=True),
            pacsv.ConvertOptions(column_types=types),
        )

    compression = "gzip" if path.name.lower().endswith(".gz") else None
    try:
        with pa.input_stream(str(path), compression=compression) as stream:
            return parse(stream)
    except pa.ArrowInvalid:
        # Again, in one block and one thread: rows longer than a block then parse, a header without an end of line
        # too, and a ragged row tells its number.
        with pa.input_stream(str(path), compression=compression) as stream:
            whole = stream.read() + b"\n"
    if b"\0" in whole[:4096]:
        raise InputError(f"{path}: NUL bytes where CSV text is expected (UTF-16?): save the file as UTF-8")
    if not whole.strip(b"\xef\xbb\xbf\r\n"):
        raise InputError(f"{path}: the file is empty: a header and rows were expected; write it again")
    try:
        return parse(pa.BufferReader(whole), min(len(whole), 2**31 - 1))
    except pa.ArrowInvalid as error:
        # The message, for Arrow's handler of invalid rows cannot be given one that is not UTF-8.
        if not (ragged := re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", str(error))):
            raise
        row, expected, found = map(int, ragged.groups())
        raise InputError(
            f"{path}: row {row - 1}: {found} columns found, {expected} expected as in the header: mend the row "
            "(a quote left open does this too)"
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
    """The numbers of a CSV column that Arrow took for text; itself if most cells are text, InputError if some."""
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
        array = _read_array(stream, path.stat().st_size, str(path))
    if array.ndim != 2:
        raise InputError(f"{path}: shape {array.shape} found, (rows, columns) expected: reshape it")
    data = _split("X", array, path)
    return options.choose(list(data), str(path), list(data)), data


def _read_npz(path: Path, options: _Options) -> tuple[_Choice, Mapping[str, Any]]:
    names: list[str] = []
    data: dict[str, Any] = {}
    tables = []
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.filename.endswith(".npy"):
                continue
            name = member.filename.removesuffix(".npy")
            with archive.open(member) as stream:
                array = _read_array(stream, member.file_size, f"{path}: array {name!r}")
            if array.ndim not in (1, 2):
                raise InputError(
                    f"{path}: array {name!r} has shape {array.shape}, (rows, columns) or (rows,) expected: drop it"
                )
            columns = {name: array} if array.ndim == 1 else _split(name, array, path)
            tables += [list(columns)] if array.ndim == 2 else []
            names += columns
            data |= columns
    return options.choose(names, str(path), tables[0] if len(tables) == 1 else ()), data


def _read_array(stream: IO[bytes], size: int, what: str) -> NDArray[Any]:
    """The array of a .npy stream of `size` bytes."""
    version = np.lib.format.read_magic(stream)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(stream)
    if dtype.hasobject:
        raise InputError(f"{what}: holds Python objects, which could run code: save it as numbers")
    needed, there = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if needed > there:  # seen before numpy takes the memory that the header asks for
        raise InputError(
            f"{what}: its header tells of shape {shape}, {dtype}, {needed:,} bytes; {there:,} found: "
            "cut short or damaged, write or copy it again"
        )
    stream.seek(0)
    array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def _split(name: str, array: NDArray[Any], path: Path) -> dict[str, NDArray[Any]]:
    if not len(array) and array.shape[1] > 1_000_000:  # no bytes stand behind this width
        raise InputError(f"{path}: array {name!r} of shape {array.shape}: rows were expected; write it again")
    return {f"{name}_{index}": array[:, index] for index in range(array.shape[1])}


_READERS: dict[str, Callable[[Path, _Options], tuple[_Choice, Mapping[str, Any]]]] = {
    ".csv": _read_csv,
    ".csv.gz": _read_csv,
    ".parquet": _read_parquet,
    ".npy": _read_npy,
    ".npz": _read_npz,
}


# ---- writing files


def _arrays(columns: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Columns as native (rows,) arrays."""
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
        raise OutputError(f".npy holds numbers only, not columns {_list(text)}: write .npz, .csv or .parquet")
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
