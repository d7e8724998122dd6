"""CSV bytes looked at before Arrow has them: what would take more memory than is allowed never gets there.

Not on their way to Arrow: its threads would call Python, and hang when the interpreter ends under them.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from aetool.errors import InputError
from aetool.limits import FEW_BYTES, Limits

PART_BYTES = 1 << 20
_SEPARATORS = (b",", b";", b"\t")


def parts(stream: Any) -> Iterator[bytes]:
    """The bytes that are left of a stream, a part at a time."""
    return iter(lambda: stream.read(PART_BYTES), b"")


def require_narrow(data: Iterable[bytes], source: str, limits: Limits) -> None:
    """Refuse, by its first line alone, a CSV text of more columns, or with a longer name, than is allowed.

    Raises:
        InputError: naming the limit.
    """
    counts = [0] * len(_SEPARATORS)
    cell, quoted, ended = _Cell(source, limits), False, False
    for part in data:
        cell.look(part)
        for i, piece in enumerate(part.split(b'"')):
            quoted ^= i > 0  # a quote that is doubled turns it twice
            if quoted:
                continue
            line, newline, _ = piece.partition(b"\n")
            for j, separator in enumerate(_SEPARATORS):
                counts[j] += line.count(separator)
            if ended := bool(newline):
                break
        if (columns := max(counts) + 1) > limits.columns:
            raise InputError(f"{source}: {limits.excess('columns', f'{columns:,} columns or more')}")
        if ended:
            return


def require_small(data: Iterable[bytes], source: str, limits: Limits, packed: Callable[[], int]) -> None:
    """Refuse an unpacked CSV text that is larger, or was packed more tightly, than is allowed.

    Args:
        packed: bytes of the compressed file that were read so far.

    Raises:
        InputError: naming the limit; at the first byte above it.
    """
    total = 0
    cell = _Cell(source, limits)
    for part in data:
        total += len(part)
        if total > limits.table_bytes:
            raise InputError(f"{source}: {limits.excess('table_bytes', f'{total:,} bytes or more unpacked')}")
        if total > FEW_BYTES and total > limits.compression_ratio * (size := max(1, packed())):
            ratio = f"{size:,} bytes that become {total:,}, {total // size:,} times as many"
            raise InputError(f"{source}: {limits.excess('compression_ratio', ratio)}")
        cell.look(part)


def require_short(data: Iterable[bytes], source: str, limits: Limits) -> None:
    """Refuse a CSV text with a longer cell than is allowed.

    In quotes separators count as such: a longer cell may be left to whoever has parsed it.

    Raises:
        InputError: naming the limit.
    """
    cell = _Cell(source, limits)
    for part in data:
        cell.look(part)


class _Cell:
    """The length of the cell at hand, over parts of a text."""

    def __init__(self, source: str, limits: Limits) -> None:
        self._source, self._limits = source, limits
        self._since = 0  # bytes since a separator

    def look(self, part: bytes) -> None:
        most = self._limits.cell_bytes
        for start in range(0, len(part), most):  # no cell within a piece can be too long
            piece = part[start : start + most]
            first = min((place for each in (*_SEPARATORS, b"\n") if (place := piece.find(each)) >= 0), default=-1)
            length = self._since + (len(piece) if first < 0 else first)
            if length > most:
                found = self._limits.excess("cell_bytes", f"a cell of {length:,} bytes or more")
                raise InputError(f"{self._source}: {found}")
            last = max(piece.rfind(each) for each in (*_SEPARATORS, b"\n"))
            self._since = length if last < 0 else len(piece) - last - 1
