"""Parquet, NPY and NPZ in."""

import math
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from aetool.errors import InputError
from aetool.tables.arrow import pq
from aetool.tables.choice import Choice, Options


def read_parquet(path: Path, options: Options) -> tuple[Choice, Mapping[str, Any]]:
    """A Parquet file: what was chosen of it, and those columns by name."""
    with pq.ParquetFile(str(path)) as file:
        choice = options.choose(parquet_names(file.schema_arrow), str(path))
        table = file.read(columns=choice.wanted)
    return choice, {name: table.column(name) for name in choice.wanted}


def parquet_names(schema: Any) -> list[str]:
    """The columns of a Parquet file."""
    # An unnamed pandas index is stored as a column; pandas takes it out again, and so do we.
    return [name for name in schema.names if not re.fullmatch(r"__index_level_\d+__", name)]


def read_npy(path: Path, options: Options) -> tuple[Choice, Mapping[str, Any]]:
    """An array, (rows, columns), as columns `X_0`, `X_1`, ..."""
    array = read_array(path)
    if array.ndim != 2:
        raise InputError(f"{path}: shape {array.shape} found, (rows, columns) expected: reshape it")
    data = _split("X", array, path)
    return options.choose(list(data), str(path), list(data)), data


def read_npz(path: Path, options: Options) -> tuple[Choice, Mapping[str, Any]]:
    """An archive of arrays: 2-D ones become columns `NAME_0`, ..., 1-D ones are columns."""
    names: list[str] = []
    data: dict[str, Any] = {}
    tables = []
    for name, array in read_members(path):
        if array.ndim not in (1, 2):
            raise InputError(
                f"{path}: array {name!r} has shape {array.shape}, (rows, columns) or (rows,) expected: drop it"
            )
        columns = {name: array} if array.ndim == 1 else _split(name, array, path)
        tables += [list(columns)] if array.ndim == 2 else []
        names += columns
        data |= columns
    return options.choose(names, str(path), tables[0] if len(tables) == 1 else ()), data


def read_array(path: Path) -> NDArray[Any]:
    """The array of a .npy file, of any rank."""
    with path.open("rb") as stream:
        return _read_array(stream, path.stat().st_size, str(path))


def read_members(path: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    """Name and array of every member of a .npz file, of any rank."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.filename.endswith(".npy"):
                name = member.filename.removesuffix(".npy")
                with archive.open(member) as stream:
                    yield name, _read_array(stream, member.file_size, f"{path}: array {name!r}")


def array_shapes(path: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of every array of a .npy file, whose array is called X, or a .npz file: its headers alone."""
    if path.suffix.lower() == ".npy":
        with path.open("rb") as stream:
            yield "X", _shape_and_type(stream)[0]
        return
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.filename.endswith(".npy"):
                with archive.open(member) as stream:
                    yield member.filename.removesuffix(".npy"), _shape_and_type(stream)[0]


def _shape_and_type(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(stream)
    return shape, dtype


def _read_array(stream: IO[bytes], size: int, what: str) -> NDArray[Any]:
    """The array of a .npy stream of `size` bytes."""
    shape, dtype = _shape_and_type(stream)
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
