"""Reader of CSV: bytes are checked before Arrow parses them, and errors name row and column."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aetool.bundle.files import Limits
from aetool.errors import InputError
from aetool.tables._choice import ColumnChoice, Options, command_option
from aetool.tables.formats import pa, pacsv, pc

# CSV bytes looked at before Arrow has them: what would take more memory than is allowed never gets there.
#
# Not on their way to Arrow: its threads would call Python, and hang when the interpreter ends under them.

PART_BYTES = 1 << 20
_SEPARATORS = (b",", b";", b"\t")


def parts(stream: Any) -> Iterator[bytes]:
    """Return the rest of a stream, a part at a time."""
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
        limits.require("columns", max(counts) + 1, "{:,} columns or more", source)
        if ended:
            return


def _require_small(data: Iterable[bytes], source: str, limits: Limits, packed: Callable[[], int]) -> None:
    """Refuse an unpacked CSV text that is larger, or was packed more tightly, than is allowed.

    `packed` tells how many bytes of the compressed file were read so far.
    """
    total = 0
    cell = _Cell(source, limits)
    for part in data:
        total += len(part)
        limits.require("table_bytes", total, "{:,} bytes or more unpacked", source)
        limits.require_ratio(max(1, packed()), total, source)
        cell.look(part)


class _Cell:
    """Length of the current cell, over parts of a text.

    In quotes separators count as such: a longer cell may be left to whoever has parsed it.
    """

    def __init__(self, source: str, limits: Limits) -> None:
        self._source, self._limits = source, limits
        self._since = 0  # bytes since a separator

    def look(self, part: bytes) -> None:
        most = self._limits.cell_bytes
        for start in range(0, len(part), most):  # no cell within a piece can be too long
            piece = part[start : start + most]
            first = min((place for each in (*_SEPARATORS, b"\n") if (place := piece.find(each)) >= 0), default=-1)
            length = self._since + (len(piece) if first < 0 else first)
            self._limits.require("cell_bytes", length, "a cell of {:,} bytes or more", self._source)
            last = max(piece.rfind(each) for each in (*_SEPARATORS, b"\n"))
            self._since = length if last < 0 else len(piece) - last - 1


def read_csv(path: Path, options: Options) -> tuple[ColumnChoice, Mapping[str, Any]]:
    """Read the chosen columns of a CSV file by name; also return the choice."""
    source = str(path)
    # Kept columns are read as bytes, so that no type is guessed for them.
    keep = set(options.keep) - {options.label, *(options.columns or ()), *(options.only or ())}
    categorical = {*(options.categorical or ()), *(options.categories or ())}  # "1" and "01" are two
    table = _parse_csv(path, dict.fromkeys(keep | categorical, pa.binary()), options.limits)
    try:
        names = table.column_names
    except UnicodeDecodeError as error:
        raise InputError(f"{source}: the header is not UTF-8: save the file as UTF-8") from error
    require_commas(names, source)
    choice = options.choose(names, source)
    data: dict[str, Any] = {name: table.column(name) for name in choice.wanted}
    for name, column in data.items():
        if column.type in (pa.string(), pa.binary()):
            longest = pc.max(pc.binary_length(column)).as_py() or 0
            options.limits.require("cell_bytes", longest, "a cell of {:,} bytes", f"{source}: column {name!r}")
            text = _text(column, name, source)
            if name in keep:
                data[name] = _plain(text)
            elif name in categorical and name != choice.label:
                data[name] = text
            else:
                mend = "mend the cell"
                if name == choice.label:
                    mend += ", or write 0 or 1"
                elif "drop" in options.offered:
                    mend += f", or leave the column out with {command_option('drop', [name])}"
                data[name] = _cells(text, f"column {name!r}", source, mend)
    return choice, data


def require_commas(names: Sequence[str], source: str) -> None:
    """Refuse a header whose one column looks like several with another separator."""
    if len(names) == 1 and (separator := re.search(r"[;\t|]", names[0])):
        raise InputError(f"{source}: fields parted by {separator[0]!r}, where commas are expected: convert it")


def _require_allowed(path: Path, limits: Limits) -> None:
    """Refuse a file that would take more memory than `limits` allow."""
    size, source = path.stat().st_size, str(path)
    limits.require("table_bytes", size, "{:,} bytes", source)
    packed = path.name.lower().endswith(".gz")
    with pa.input_stream(source, compression="gzip" if packed else None) as text:
        require_narrow(parts(text), source, limits)
    if packed:
        with pa.OSFile(source) as raw, pa.CompressedInputStream(raw, "gzip") as text:
            _require_small(parts(text), source, limits, raw.tell)


def _parse_csv(path: Path, types: Mapping[str, Any], limits: Limits) -> Any:
    """Parse a CSV file to an Arrow table."""

    def parse(stream: Any, block_size: int | None = None) -> Any:
        return pacsv.read_csv(
            stream,
            pacsv.ReadOptions(use_threads=block_size is None, block_size=block_size),
            pacsv.ParseOptions(newlines_in_values=True),
            pacsv.ConvertOptions(column_types=types),
        )

    _require_allowed(path, limits)
    compression = "gzip" if path.name.lower().endswith(".gz") else None
    try:
        with pa.input_stream(str(path), compression=compression) as stream:
            return parse(stream)
    except pa.ArrowInvalid:
        # Again, in one block and one thread: rows longer than a block then parse, a header without an end of line
        # too, and a ragged row tells its number.
        with pa.input_stream(str(path), compression=compression) as stream:
            cell = _Cell(str(path), limits)
            for part in parts(stream):
                cell.look(part)
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
    """Return a CSV column as Arrow strings; raise InputError where it is not UTF-8."""
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
    """Return a kept CSV column, as numbers only where they spell the very same text ('007' stays text)."""
    for kind in (pa.int64(), pa.float64()):
        try:
            numbers = text.cast(kind)
        except pa.ArrowInvalid:
            continue
        if numbers.cast(pa.string()).equals(text):
            return numbers
    return text


def _cells(text: Any, where: str, source: str, mend: str) -> Any:
    """Return the numbers of a CSV column that Arrow took for text; itself if most cells are text.

    Raises:
        InputError: some cells are text.
    """
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
        raise InputError(f"{source}: row {odd[0] + 1}, {where}: {cell[:40]!r} is not a number; {mend}")
    return values
