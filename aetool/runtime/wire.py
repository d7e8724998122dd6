"""Protobuf's wire format, read without a schema and without trust, and written (protobuf.dev, Encoding).

Runs where the `onnx` package is not installed, and before onnxruntime sees a file: whatever the bytes are, the
result is fields or a `WireError`, in time and memory proportional to their number.
"""

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WIDTHS = {FIXED64: 8, FIXED32: 4}
_MAX_VARINT_BYTES = 10

Field = tuple[int, int, "int | memoryview"]
"""Number, wire type, and content: an unsigned integer for VARINT, else the bytes."""


class WireError(ValueError):
    """Bytes that are no protobuf message."""


def fields(message: memoryview) -> Iterator[Field]:
    """The fields of a message in order; contents are views, nothing is copied.

    Raises:
        WireError: truncated, or not a message.
    """
    place, end = 0, len(message)
    while place < end:
        tag = message[place]
        if tag < 128:  # nearly always, and a call costs as much as the rest
            place += 1
        else:
            tag, place = _varint(message, place, end)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise WireError(f"field number {number} does not exist")
        if kind == VARINT:
            value, place = _varint(message, place, end)
            yield number, kind, value
            continue
        if kind == BYTES:
            if place < end and message[place] < 128:
                size, place = message[place], place + 1
            else:
                size, place = _varint(message, place, end)
        elif kind in _WIDTHS:
            size = _WIDTHS[kind]
        else:
            raise WireError(f"wire type {kind} does not exist")
        if size > end - place:
            raise WireError(f"a field of {size:,} bytes where {end - place:,} are left")
        yield number, kind, message[place : place + size]
        place += size


def integer(number: int, value: int) -> bytes:
    """A field of VARINT as it is written."""
    return _written(number << 3 | VARINT) + _written(value)


def header(number: int, size: int) -> bytes:
    """What stands before the `size` bytes of a field of BYTES."""
    return _written(number << 3 | BYTES) + _written(size)


def field(number: int, content: bytes) -> bytes:
    """A field of BYTES as it is written."""
    return header(number, len(content)) + content


def varints(content: "int | memoryview") -> list[int]:
    """The integers of a repeated field, one or packed.

    Raises:
        WireError: truncated.
    """
    if isinstance(content, int):
        return [content]
    place, end, values = 0, len(content), []
    while place < end:
        value, place = _varint(content, place, end)
        values.append(value)
    return values


def signed(value: int) -> int:
    """An int64 from its varint: two's complement."""
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
