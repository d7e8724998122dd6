"""Reader of text tables: bytes are checked before Arrow parses them, and errors name row and column."""

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aetool.bundle.files import Limits
from aetool.errors import InputError
from aetool.runtime.cells import NO_VALUE
from aetool.tables._choice import ColumnChoice, Options
from aetool.tables._layout import Layout, Reading, cells_by_spaces, find_layout, words_of
from aetool.tables._problems import Problem, command_option
from aetool.tables.columns import Origin
from aetool.tables.formats import (
    ENDINGS,
    WESTERN,
    encoding_of,
    is_packed,
    is_western,
    pa,
    pacsv,
    pc,
    refuse_encoding,
)

# CSV bytes looked at before Arrow has them: what would take more memory than is allowed never gets there.
#
# Not on their way to Arrow: its threads would call Python, and hang when the interpreter ends under them.

PART_BYTES = 1 << 20
_SEPARATORS = (b",", b";", b"\t", b"|")


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


HEAD_BYTES = 1 << 20
"""Bytes from which the layout is found."""
_LONG_HEAD_BYTES = 32 << 20
"""The same where the first lines are longer."""
_UTF8 = ("utf-8", "utf-8-sig", "ascii")
_FOOTER = re.compile(
    r"|\x1a|[-+|=]{3,}|(?=\S*[^\W\d]|\d+ rows?\b)[^\"]*\s[^\"]*|\(.*\)"
)  # a blank, a rule, or words
_NO_SEPARATOR = "\x1f"
_TAIL_BYTES = 1 << 16
_MOST_WHOLE_BLOCK = 2**31 - 1


class TextTable(NamedTuple):
    """A text table whose layout is known, and whose rows are not read yet."""

    open: Callable[[], Any]
    """Opens it as an Arrow stream, unpacked."""
    source: str
    encoding: str
    layout: Layout

    @property
    def fits_in_a_stream(self) -> bool:
        """True if Arrow can read it as it is."""
        return self.encoding in _UTF8 and self.layout.separator != " "

    def rows(self) -> Any:
        """Return a stream of the rows alone, UTF-8 and one separator between cells."""
        stream = self.open()
        if self.fits_in_a_stream:
            skip(stream, self.layout.start)
            return stream
        with stream:
            content = stream.read()
        encoding = "utf-8" if self.encoding in _UTF8 else self.encoding  # a byte order mark counts as a character
        content = _decoded(content, encoding, self.source).encode()[self.layout.start :]
        return pa.BufferReader(_with_tabs(content) if self.layout.separator == " " else content)

    @property
    def names(self) -> list[str]:
        """Names by which Arrow knows the columns: the file's may stand twice."""
        return [str(place) for place in range(len(self.layout.names))]

    @property
    def places(self) -> dict[str, str]:
        """The file's names -> those by which Arrow knows the columns; the first of several alike."""
        return {name: str(place) for place, name in reversed([*enumerate(self.layout.names)])}

    @property
    def parsing(self) -> Any:
        """Arrow's options of parsing."""
        separator = {"": _NO_SEPARATOR, " ": "\t"}.get(self.layout.separator, self.layout.separator)
        return pacsv.ParseOptions(newlines_in_values=True, delimiter=separator)

    def conversion(self, choice: ColumnChoice, types: Mapping[str, Any], na: Iterable[str]) -> Any:
        """Return Arrow's options of conversion for the chosen columns."""
        places = self.places
        wanted = [*(places[name] for name in choice.wanted), *map(str, choice.unnamed)]
        return pacsv.ConvertOptions(
            column_types={places[name]: kind for name, kind in types.items()},
            include_columns=wanted if set(wanted) < set(self.names) else None,  # slow where they are many
            null_values=[*NO_VALUE, *na],
            decimal_point=self.layout.decimal or ".",
        )

    def reading(self, options: Options) -> Reading:
        """Return how the text is read, in full."""
        return Reading(
            sep=self.layout.separator or None,
            decimal=self.layout.decimal,
            na=tuple(dict.fromkeys(options.missing)),
            encoding=None if self.encoding in _UTF8 else self.encoding,
            header=self.layout.header,
        )

    def notes(self) -> tuple[str, ...]:
        """Return how the text is read, where that is not as usual, one line each."""
        found = (
            [] if self.layout.separator in ("", ",") else [f"{words_of(self.layout.separator)} between columns"]
        )
        if self.layout.decimal == ",":
            found.append("a decimal comma")
        if self.encoding not in _UTF8:
            found.append(f"encoding {self.encoding}")
        return (*([f"read with {', '.join(found)}"] if found else []), *self.layout.notes)


def open_text(opened: Callable[[], Any], source: str, options: Options) -> TextTable:
    """Find the layout of a text table from its first bytes.

    Args:
        opened: opens it as an Arrow stream, unpacked.
        source: the file, for messages.
        options: `reading`, `like` and `limits` matter.

    Raises:
        InputError: it is empty, or something about it is in doubt.
    """
    with opened() as stream:
        head, most = stream.read(HEAD_BYTES), HEAD_BYTES
        if len(head) == HEAD_BYTES and head.count(b"\n") < 3:
            head, most = head + stream.read(_LONG_HEAD_BYTES), HEAD_BYTES + _LONG_HEAD_BYTES
    whole = len(head) < most
    encoding = options.reading.encoding or encoding_of(head, whole=whole)
    if encoding is None:
        with opened() as stream:
            encoding = WESTERN if is_western(stream.read()) else None
    if encoding is None:  # in doubt, which matters where the columns that are needed are not UTF-8
        text = codecs.getincrementaldecoder("utf-8")("replace").decode(head)
    else:
        text = _decoded(head, "utf-8" if encoding in _UTF8 else encoding, source, whole=whole)
    start = text[:4096]
    odd = len(re.findall(r"[\1-\x08\x0e-\x1f]", start))
    if "\0" in start or 10 * odd > max(len(start), 500):
        what = "NUL bytes" if "\0" in start else "control characters"
        raise InputError(f"{source}: {what} where text is expected: give a table in {', '.join(ENDINGS)}")
    layout = find_layout(text, source, options.reading, options.like, options.limits)
    if encoding is None and any("\ufffd" in name for name in layout.names):
        refuse_encoding(head, source)
    return TextTable(opened, source, encoding or "utf-8", layout)


def _decoded(content: bytes, encoding: str, source: str, *, whole: bool = True) -> str:
    try:
        return codecs.getincrementaldecoder(encoding)().decode(content, final=whole)
    except (UnicodeDecodeError, UnicodeError) as error:
        place = content[: getattr(error, "start", 0)].count(b"\n") + 1
        raise InputError(f"{source}: line {place} is not {encoding}: name another --encoding") from error


def skip(stream: Any, count: int) -> None:
    """Read on by so many bytes."""
    while count > 0 and (part := stream.read(min(count, PART_BYTES))):
        count -= len(part)


def _with_tabs(content: bytes) -> bytes:
    """Return lines whose cells are separated by runs of spaces with one tab between cells."""
    if b'"' not in content:
        return re.sub(rb"(?m)^\t|\t(?=\r?$)", b"", re.sub(rb"[ \t]+", b"\t", content))
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerows(cells for line in content.decode().splitlines() if (cells := cells_by_spaces(line)))
    return text.getvalue().encode()


def open_file(path: Path, options: Options) -> TextTable:
    """Find the layout of a text file; see `open_text`."""
    compression = "gzip" if is_packed(path) else None
    return open_text(lambda: pa.input_stream(str(path), compression=compression), str(path), options)


def read_csv(path: Path, options: Options) -> tuple[ColumnChoice, Mapping[str, Any], Origin]:
    """Read the chosen columns of a text file by name; also return the choice, and what is to say."""
    source = str(path)
    _require_allowed(path, options.limits)
    text = open_file(path, options)
    choice = options.choose(text.layout.names, source, () if text.layout.header else text.layout.names)
    # Kept columns and categories are read as bytes, so that no type is guessed for them: "1" and "01" are two.
    keep = set(options.keep) - {options.label, *choice.columns}
    categorical = {
        key for key, name in zip(choice.columns, choice.names, strict=True) if choice.is_categorical(key, name)
    }
    types = dict.fromkeys(keep | categorical, pa.binary())
    table, footer = _parse(text, choice, types, options)
    if any(
        table.column(place).type == pa.binary() and not _is_utf8(table.column(place))
        for place in table.schema.names
    ):
        with text.open() as stream:
            content = stream.read()
        if not is_western(content):
            refuse_encoding(content, source)
        text = text._replace(encoding=WESTERN)
        table, footer = _parse(text, choice, types, options)
    places = text.places
    data = {name: table.column(places[name]) for name in choice.wanted}
    for name, column in data.items():
        if column.type in (pa.string(), pa.binary()):
            longest = pc.max(pc.binary_length(column)).as_py() or 0
            options.limits.require("cell_bytes", longest, "a cell of {:,} bytes", f"{source}: column {name!r}")
            cells = column.cast(pa.string())
            data[name] = _plain(cells) if name in keep else cells
    notes = [*text.notes(), *footer]
    empty, total = _tail(path, text)
    if empty:
        notes.append(f"{empty:,} empty rows at the end left out")
    if total:
        notes.append(f"the last row, {total[:40]}, left out (totals)")
    if end := empty + bool(total):
        data = {name: column.slice(0, len(column) - end) for name, column in data.items()}
        table = table.slice(0, len(table) - end)
    if (again := _names_again(data)) is not None:
        data = {name: column.filter(pc.invert(again)) for name, column in data.items()}
        table = table.filter(pc.invert(again))
        notes.append(f"the names stand again in {pc.sum(again).as_py():,} rows, left out")
    notes += _padded(text.layout, choice, options)
    left_out, problems = _unnamed(choice, table, text, options)
    return choice, data, Origin(source, options, text.reading(options), tuple(notes), left_out, problems)


_TOTALS = frozenset(
    {
        "total",
        "totals",
        "sum",
        "sums",
        "grand total",
        "total general",
        "total général",
        "totale",
        "totaux",
        "somme",
    }
    | {"summe", "gesamt", "gesamtsumme", "suma", "totaal"}
)


def _tail(path: Path, text: TextTable) -> tuple[int, str]:
    """Return what ends a file that is no row: rows that hold separators alone, and above them a line of totals.

    Spreadsheets write both. A line of totals is the only one whose first word says so; it is returned as it is.
    """
    separator = text.layout.separator
    if is_packed(path) or separator in ("", " "):
        return 0, ""
    if text.encoding in (*_UTF8, WESTERN):
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            tail = stream.read().decode(WESTERN if text.encoding == WESTERN else "utf-8", "replace")
    else:
        with text.rows() as rows:
            tail = rows.read()[-_TAIL_BYTES:].decode("utf-8", "replace")
    lines = tail.splitlines()[1:]
    filled = [line for line in lines if line]
    empty = 0
    while empty < len(filled) and not filled[-1 - empty].strip(separator + " "):
        empty += 1
    words = [
        line.lstrip(separator + ' "').split(separator)[0].strip(' ":').casefold()
        for line in filled[: len(filled) - empty]
    ]
    is_total = len(words) > 2 and words[-1] in _TOTALS and words[-1] not in words[:-1]
    return empty, ", ".join(filter(None, map(str.strip, filled[-1 - empty].split(separator)))) if is_total else ""


def _names_again(data: Mapping[str, Any]) -> Any:
    """Return a mask of the rows that hold the columns' names, as files put together have; None for no such row."""
    if len(data) < 2 or not all(pa.types.is_string(column.type) for column in data.values()):
        return None
    mask = None
    for name, column in data.items():
        same = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(column), name), False)
        mask = same if mask is None else pc.and_(mask, same)
    return mask if pc.any(mask).as_py() else None


def _padded(layout: Layout, choice: ColumnChoice, options: Options) -> list[str]:
    """Return a note for each feature whose numbers begin with 0, as codes do."""
    notes = []
    for key, name in zip(choice.columns, choice.names, strict=True):
        if key in layout.padded and not choice.is_categorical(key, name):
            remedy = f"; if these are codes: {command_option('categorical', [key])}" * (
                "categorical" in options.offered
            )
            notes.append(f"{key}: {layout.padded[key][:20]!r} read as a number{remedy}")
    return notes


def _is_utf8(column: Any) -> bool:
    try:
        column.cast(pa.string())
    except pa.ArrowInvalid:
        return False
    return True


def _unnamed(
    choice: ColumnChoice, table: Any, text: TextTable, options: Options
) -> tuple[dict[str, str], list[Problem]]:
    """Return columns without a name that are left out -> why, and the problem of others."""
    left_out, problems = {}, []
    for place in choice.unnamed:
        column, name = table.column(str(place)), f"column {place + 1}"
        counts = np.arange(len(column))
        if column.null_count == len(column) or pa.types.is_null(column.type):
            left_out[name] = "no name, no value"
        elif place == 0 and (text.layout.names_of_rows or _is_count(column, counts)):
            left_out[name] = "no name, row numbers" if _is_count(column, counts) else "no name, names of rows"
        else:
            what = f"{name} has no name (an index that pandas wrote?)"
            problems.append(Problem(what, "name it", {"drop": [""]} if options.offered else {}))
    return left_out, problems


def _is_count(column: Any, counts: Any) -> bool:
    """Return whether a column holds 0, 1, 2, ... or 1, 2, 3, ..."""
    if not pa.types.is_integer(column.type) or column.null_count:
        return False
    numbers = column.to_numpy()
    return bool(np.array_equal(numbers, counts) or np.array_equal(numbers, counts + 1))


def _require_allowed(path: Path, limits: Limits) -> None:
    """Refuse a file that would take more memory than `limits` allow."""
    size, source = path.stat().st_size, str(path)
    limits.require("table_bytes", size, "{:,} bytes", source)
    packed = is_packed(path)
    with pa.input_stream(source, compression="gzip" if packed else None) as text:
        require_narrow(parts(text), source, limits)
    if packed:
        with pa.OSFile(source) as raw, pa.CompressedInputStream(raw, "gzip") as text:
            _require_small(parts(text), source, limits, raw.tell)


def _parse(
    text: TextTable, choice: ColumnChoice, types: Mapping[str, Any], options: Options
) -> tuple[Any, list[str]]:
    """Parse the rows to an Arrow table, whose columns are called by their places; also return what is to say."""

    def parse(stream: Any, block_size: int | None = None) -> Any:
        return pacsv.read_csv(
            stream,
            pacsv.ReadOptions(use_threads=block_size is None, block_size=block_size, column_names=text.names),
            text.parsing,
            text.conversion(choice, types, options.missing),
        )

    try:
        with text.rows() as stream:
            return parse(stream), []
    except pa.ArrowInvalid:
        # Again, in one block and one thread: rows longer than a block then parse, a last line without an end too,
        # and a ragged row tells its number.
        with text.rows() as stream:
            cell = _Cell(text.source, options.limits)
            for part in parts(stream):
                cell.look(part)
        with text.rows() as stream:
            whole = stream.read() + b"\n"
    if not whole.strip(b"\r\n"):
        return pa.table({name: pa.nulls(0) for name in text.names}), []
    if b"\0" in whole[:4096]:
        raise InputError(f"{text.source}: NUL bytes where text is expected: write the file again")
    rows, footer = _without_footer(whole, text.layout.separator)
    try:
        return parse(pa.BufferReader(rows), min(len(rows), _MOST_WHOLE_BLOCK)), footer
    except pa.ArrowInvalid as error:
        # The message, for Arrow's handler of invalid rows cannot be given one that is not UTF-8.
        if not (ragged := re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", str(error))):
            raise
        row, expected, found = map(int, ragged.groups())
        raise InputError(
            f"{text.source}: row {row}: {found} columns found, {expected} expected as in the header: fix the row "
            "(a quote left open does this too)"
        ) from error


def _without_footer(rows: bytes, separator: str) -> tuple[bytes, list[str]]:
    """Return rows without lines of text, or rules, at their end that are no rows, and a note about them."""
    lines = rows.decode("utf-8", "surrogateescape").splitlines(keepends=True)
    end = len(lines)
    while (
        end > 2
        and separator not in ("", " ")
        and _FOOTER.fullmatch(line := lines[end - 1].strip())
        and separator not in line
    ):
        end -= 1
    left_out = [line.strip() for line in lines[end:] if line.strip("\x1a\r\n\t ")]
    if not left_out:
        return "".join(lines[:end]).encode("utf-8", "surrogateescape") if end < len(lines) else rows, []
    note = f"the last {len(left_out)} lines" if len(left_out) > 1 else "the last line"
    return "".join(lines[:end]).encode("utf-8", "surrogateescape"), [
        f"{note}, {left_out[0][:40]}, left out (below the table)"
    ]


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
