"""NPY and NPZ arrays in, by their headers first: no more memory than is allowed, and no Python objects."""

import math
import zipfile
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.files import Limits
from aetool.errors import InputError

_ENDING = ".npy"
_TAIL = 22 + 20 + (1 << 16)
"""Largest end of a zip file, in bytes: its record, that of zip64, and a comment."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Compression methods of numpy; others can expand a block to gigabytes before it can be counted."""


def shape_and_type(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read the header of a .npy stream.

    Raises:
        ValueError: not a .npy stream.
    """
    version = np.lib.format.read_magic(stream)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(stream)
    return shape, dtype


def read_array(stream: IO[bytes], size: int, what: str) -> NDArray[Any]:
    """Read the array of a .npy stream of `size` bytes.

    Raises:
        InputError: it holds Python objects, or its header promises more than `size`.
        ValueError: not an array.
    """
    shape, dtype = shape_and_type(stream)
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


def members(archive: zipfile.ZipFile, where: str, limits: Limits, most: str) -> list[zipfile.ZipInfo]:
    """Return the arrays of a .npz archive, after a check of their total size.

    Args:
        archive: the open archive.
        where: its name, for messages.
        limits: bounds on size and compression.
        most: the name of the limit of their bytes together, unpacked.

    Raises:
        InputError: more than `limits` allow, or packed in a way that numpy does not write.
    """
    arrays = [member for member in archive.infolist() if member.filename.endswith(_ENDING)]
    if odd := next((member for member in arrays if member.compress_type not in _METHODS), None):
        raise InputError(
            f"{where}: {odd.filename!r:.80} is packed in a way that numpy does not write: save it again"
        )
    # What each promises; zipfile gives no more, and what stands twice in the file is counted twice.
    unpacked, packed = sum(member.file_size for member in arrays), max(1, _length(archive))
    limits.require(most, unpacked, "{:,} bytes unpacked", where)
    limits.require_ratio(packed, unpacked, where)
    return arrays


def read_members(
    archive: zipfile.ZipFile, where: str, limits: Limits, most: str
) -> Iterator[tuple[str, NDArray[Any]]]:
    """Read name and array of every member of a .npz archive, of any rank; arguments and errors as in `members`."""
    for member in members(archive, where, limits, most):
        name = member.filename.removesuffix(_ENDING)
        with archive.open(member) as stream:
            yield name, read_array(stream, member.file_size, f"{where}: array {name!r}")


def _length(archive: zipfile.ZipFile) -> int:
    assert archive.fp is not None  # it is open
    return archive.fp.seek(0, 2)


def directory_bytes(stream: IO[bytes]) -> int:
    """Return the size of a zip file's central directory, as its end tells; 0 where there is none."""
    size = stream.seek(0, 2)
    stream.seek(max(0, size - _TAIL))
    tail = stream.read(_TAIL)
    end = tail.rfind(b"PK\x05\x06")
    found = 0 if end < 0 else int.from_bytes(tail[end + 12 : end + 16], "little")
    if end >= 20 and tail[end - 20 : end - 16] == b"PK\x06\x07":  # zip64 tells where its own end is
        stream.seek(min(size, int.from_bytes(tail[end - 12 : end - 4], "little")))
        found = int.from_bytes(stream.read(48)[40:48], "little")
    stream.seek(0)
    return found
