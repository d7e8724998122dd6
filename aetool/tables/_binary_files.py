"""Readers of Parquet, NPY and NPZ."""

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from aetool.bundle.files import Limits
from aetool.bundle.npz import directory_bytes, members, read_array, read_members, shape_and_type
from aetool.errors import InputError
from aetool.tables._choice import ColumnChoice, Options
from aetool.tables.columns import Origin
from aetool.tables.formats import pa, pc, pq

MOST_ENTRY_BYTES = 256
"""Bytes of one array in the directory of a .npz file: its name, and what zip keeps of it."""


def read_parquet(path: Path, options: Options) -> tuple[ColumnChoice, Mapping[str, Any], Origin]:
    """Read the chosen columns of a Parquet file by name; also return the choice."""
    with pq.ParquetFile(str(path)) as file:
        names = parquet_names(file.schema_arrow)
        choice = options.choose(names, str(path))
        stored = {name.strip(): name for name in reversed(names)}
        wanted = [stored[name] for name in choice.wanted]
        _require_readable(file, wanted, str(path), options.limits)
        text = [name for name in wanted if is_text(file.schema_arrow.field(name).type)]
    # Text as a dictionary: what one byte of the file may stand for is known before it is spelled out.
    with pq.ParquetFile(str(path), read_dictionary=text) as file:
        table = file.read(columns=wanted)
    data = {name: table.column(stored[name]) for name in choice.wanted}
    size = spelled_out_bytes({name: table.column(name) for name in text}, str(path), options.limits)
    options.limits.require("table_bytes", size, "{:,} bytes of text", str(path))
    return choice, data, Origin(str(path), options, options.reading)


def is_text(kind: Any) -> bool:
    """Decide whether cells of an Arrow type may have any length."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(of(kind) for of in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary))


def _require_readable(file: Any, wanted: Sequence[str], source: str, limits: Limits) -> None:
    """Refuse, by its metadata alone, a Parquet file whose columns `wanted` would take more than `limits` allow."""
    metadata = file.metadata
    limits.require("columns", metadata.num_columns, "{:,} columns", source)
    numbers = metadata.num_rows * len(wanted) * 8
    groups, names = range(metadata.num_row_groups), set(wanted)
    pages = sum(
        chunk.total_uncompressed_size
        for group in map(metadata.row_group, groups)
        for chunk in map(group.column, range(group.num_columns))
        if chunk.path_in_schema.split(".")[0] in names
    )
    limits.require("table_bytes", max(numbers, pages), "{:,} bytes unpacked", source)


def spelled_out_bytes(columns: Mapping[str, Any], source: str, limits: Limits) -> int:
    """Return the bytes of text that columns, Arrow dictionaries, stand for.

    Raises:
        InputError: a cell is longer than `limits` allow.
    """
    size = 0
    for name, column in columns.items():
        for chunk in column.chunks:
            lengths = pc.binary_length(chunk.dictionary)
            longest = pc.max(lengths).as_py() or 0
            limits.require("cell_bytes", longest, "a cell of {:,} bytes", f"{source}: column {name!r}")
            size += pc.sum(lengths.take(chunk.indices)).as_py() or 0
    return size


def parquet_names(schema: Any) -> list[str]:
    """Return the columns of a Parquet file."""
    # An unnamed pandas index is stored as a column; pandas takes it out again, and so do we.
    return [name for name in schema.names if not re.fullmatch(r"__index_level_\d+__", name)]


def read_npy(path: Path, options: Options) -> tuple[ColumnChoice, Mapping[str, Any], Origin]:
    """Read an array, (rows, columns), as columns `X_0`, `X_1`, ..."""
    array = read_one(path, options.limits)
    if array.ndim != 2:
        raise InputError(f"{path}: shape {array.shape} found, (rows, columns) expected: reshape it")
    data = _split("X", array, path, options.limits)
    choice = options.choose(list(data), str(path), list(data))
    return choice, data, Origin(str(path), options, options.reading)


def read_npz(path: Path, options: Options) -> tuple[ColumnChoice, Mapping[str, Any], Origin]:
    """Read an archive of arrays: 2-D ones become columns `NAME_0`, ..., 1-D ones are columns."""
    names: list[str] = []
    data: dict[str, Any] = {}
    tables = []
    for name, array in read_archive(path, options.limits):
        if array.ndim not in (1, 2):
            raise InputError(
                f"{path}: array {name!r} has shape {array.shape}, (rows, columns) or (rows,) expected: drop it"
            )
        columns = {name.strip(): array} if array.ndim == 1 else _split(name, array, path, options.limits)
        tables += [list(columns)] if array.ndim == 2 else []
        names += columns
        data |= columns
    choice = options.choose(names, str(path), tables[0] if len(tables) == 1 else ())
    return choice, data, Origin(str(path), options, options.reading)


def read_one(path: Path, limits: Limits) -> NDArray[Any]:
    """Read the array of a .npy file, of any rank."""
    size = path.stat().st_size
    limits.require("table_bytes", size, "{:,} bytes", str(path))
    with path.open("rb") as stream:
        return read_array(stream, size, str(path))


def read_archive(path: Path, limits: Limits) -> Iterator[tuple[str, NDArray[Any]]]:
    """Read name and array of every member of a .npz file, of any rank."""
    with _open_archive(path, limits) as archive:
        yield from read_members(archive, str(path), limits, "table_bytes")


@contextmanager
def _open_archive(path: Path, limits: Limits) -> Iterator[zipfile.ZipFile]:
    """Open a .npz file, if it has no more arrays than columns are allowed."""
    with path.open("rb") as stream:
        # An entry takes ten times as much memory as in the file.
        if (size := directory_bytes(stream)) > MOST_ENTRY_BYTES * limits.columns:
            raise InputError(f"{path}: {limits.excess('columns', f'{size:,} bytes of names of arrays')}")
        with zipfile.ZipFile(stream) as archive:
            limits.require("columns", len(archive.infolist()), "{:,} arrays", str(path))
            yield archive


def array_shapes(path: Path, limits: Limits) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield name and shape of every array of a .npz file, or of a .npy file, called X, from the headers."""
    if path.suffix.lower() == ".npy":
        with path.open("rb") as stream:
            yield "X", shape_and_type(stream)[0]
        return
    with _open_archive(path, limits) as archive:
        for member in members(archive, str(path), limits, "table_bytes"):
            with archive.open(member) as stream:
                yield member.filename.removesuffix(".npy"), shape_and_type(stream)[0]


def _split(name: str, array: NDArray[Any], path: Path, limits: Limits) -> dict[str, NDArray[Any]]:
    limits.require("columns", array.shape[1], "{:,} columns", f"{path}: array {name!r}")
    return {f"{name.strip()}_{index}": array[:, index] for index in range(array.shape[1])}
