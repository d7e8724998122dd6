"""Protobuf's wire format, read without a schema and without trust, and written (protobuf.dev, Encoding).

Used where the `onnx` package is not installed, and before onnxruntime gets a file: whatever the bytes are, the
result is fields or a `WireError`, in time and memory proportional to their number.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WIDTHS = {FIXED64: 8, FIXED32: 4}
_MAX_VARINT_BYTES = 10
_PART = 1 << 20
"""Bytes of packed integers that are spread out at a time: eight times as many are in memory."""

Field = tuple[int, int, "int | memoryview"]
"""Number, wire type, and content: an unsigned integer for VARINT, else the bytes."""


class WireError(ValueError):
    """Bytes that are not a protobuf message."""


class FieldBudget:
    """Number of fields that may still be read: a byte of a file can cost a hundred in memory."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        """Begin with `left` fields."""
        self.left = left

    def spend(self, fields: int) -> None:
        """Count fields that are not read again."""
        self.left -= fields
        if self.left < 0:
            raise WireError("more parts than any deployed graph has")


class Schema(NamedTuple):
    """Fields that a message may have."""

    name: str
    once: Mapping[int, bool]
    """Tag, 8 times the field's number plus its wire type -> whether it may occur once only."""


def fields(  # noqa: PLR0912 - one loop without calls: they cost more than what they would do
    message: memoryview, budget: FieldBudget | None = None, schema: Schema | None = None
) -> Iterator[Field]:
    """Yield the fields of a message in order; contents are views, nothing is copied.

    Raises:
        WireError: truncated, not a message, of more fields than `budget` has left, or not as `schema` says.
    """
    place, end, seen = 0, len(message), 0
    budget = budget or FieldBudget(end)
    while place < end:
        budget.left -= 1
        if budget.left < 0:
            raise WireError("more parts than any deployed graph has")
        tag = message[place]
        if tag < 128:  # nearly always, here and below, and a call costs as much as the rest
            place += 1
        else:
            tag, place = _varint(message, place, end)
        number, kind = tag >> 3, tag & 7
        if schema is not None:
            once = schema.once.get(tag)
            if once is None:
                raise WireError(_unexpected(schema, number, kind))
            if once:
                if seen >> number & 1:
                    raise WireError(
                        f"two graphs or other parts where one belongs: field {number} of a {schema.name}"
                    )
                seen |= 1 << number
        elif not 0 < number < 1 << 29:
            raise WireError(f"field number {number} does not exist")
        if kind in (VARINT, BYTES):
            if place < end and message[place] < 128:
                size, place = message[place], place + 1
            else:
                size, place = _varint(message, place, end)
            if kind == VARINT:
                yield number, kind, size
                continue
        elif kind in _WIDTHS:
            size = _WIDTHS[kind]
        else:
            raise WireError(f"wire type {kind} does not exist")
        if size > end - place:
            raise WireError(f"a field of {size:,} bytes where {end - place:,} are left")
        yield number, kind, message[place : place + size]
        place += size


def _unexpected(schema: Schema, number: int, kind: int) -> str:
    expected = " or ".join(str(tag & 7) for tag in schema.once if tag >> 3 == number) or "none"
    return f"field {number} of a {schema.name}: wire type {kind}, expected {expected}"


def integer(number: int, value: int) -> bytes:
    """Write a field of VARINT."""
    return _written(number << 3 | VARINT) + _written(value)


def header(number: int, size: int) -> bytes:
    """Write the bytes before the content of a field of BYTES with `size` bytes."""
    return _written(number << 3 | BYTES) + _written(size)


def field(number: int, content: bytes) -> bytes:
    """Write a field of BYTES."""
    return header(number, len(content)) + content


def count_varints(content: "int | memoryview") -> int:
    """Count the integers that a repeated field holds, one or packed: every one ends in a byte below 128."""
    return 1 if isinstance(content, int) else int(np.count_nonzero(np.frombuffer(content, np.int8) >= 0))


def varints(content: "int | memoryview") -> Iterator[NDArray[np.uint64]]:
    """Yield the integers of a repeated field, one or packed, in parts.

    Raises:
        WireError: truncated.
    """
    if isinstance(content, int):
        yield np.array([content], np.uint64)
        return
    place, end = 0, len(content)
    while place < end:
        after = min(place + _PART, end)
        for _ in range(_MAX_VARINT_BYTES):  # not in the midst of one
            after += after < end and content[after - 1] > 127
        yield _spread(np.frombuffer(content[place:after], np.uint8))
        place = after


def _spread(packed: NDArray[np.uint8]) -> NDArray[np.uint64]:
    ends = np.flatnonzero(packed < 128)
    starts = np.concatenate([[0], ends[:-1] + 1])[: len(ends)]
    sizes = ends - starts + 1
    if len(ends) == len(packed):  # nearly always
        return packed.astype(np.uint64)
    if not len(ends) or ends[-1] != len(packed) - 1 or sizes.max() > _MAX_VARINT_BYTES:
        raise WireError("an integer without an end")
    values = np.zeros(len(ends), np.uint64)
    for i in range(int(sizes.max())):
        longer = slice(None) if i < sizes.min() else sizes > i
        values[longer] |= (packed[starts[longer] + i] & 127).astype(np.uint64) << np.uint64(7 * i)
    return values


def signed(value: int) -> int:
    """Convert a varint to an int64: two's complement."""
    return value - (1 << 64) if value >= 1 << 63 else value


def _written(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def _varint(message: memoryview, place: int, end: int) -> tuple[int, int]:
    value = shift = 0
    for i in range(place, min(end, place + _MAX_VARINT_BYTES)):
        byte = message[i]
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFF_FFFF_FFFF_FFFF, i + 1
        shift += 7
    raise WireError("an integer without an end")
