"""Layout of a text table, found from its first lines: encoding, separator, header, decimal mark.

What can be found without a doubt is found and told in `Layout.notes`; a doubt is an error that names the option.
"""

import codecs
import csv
import dataclasses
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, NoReturn

from aetool.bundle.files import Limits
from aetool.errors import InputError
from aetool.tables._notation import decimal_mark, is_date, is_missing, is_number

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
"""Separators that are looked for, in words; a space stands for runs of spaces and tabs."""
_ALONE = ""  # no separator: one column
_SAMPLE_LINES = 200
_SAMPLE_CELLS = 100_000
_MOST_ABOVE = 50  # lines above the header
_RANKED_CELLS = 10_000
_RAGGED = 0.5  # share of rows, at least, with as many cells as the header


@dataclass(frozen=True, slots=True)
class Reading:
    """How the text of a table is read; None, or empty: as the file shows."""

    sep: str | None = None
    """Separator between columns, one character; a space stands for runs of spaces."""
    decimal: str | None = None
    """Decimal mark, "." or ","; the other one groups digits."""
    na: tuple[str, ...] = ()
    """Cells that mean a missing value, besides the common words: `-999`."""
    encoding: str | None = None
    """Encoding of a text file, as Python calls it."""
    header: bool | None = None
    """False: the first line is a row, the columns are column_1, column_2, ..."""
    normal: tuple[str, ...] = ()
    """Labels that mean normal; all others are anomalies."""
    anomaly: tuple[str, ...] = ()
    """Labels that mean an anomaly; all others are normal."""

    def __post_init__(self) -> None:
        """Check the values; a single text becomes a tuple."""
        for name in ("na", "normal", "anomaly"):
            value = getattr(self, name)
            object.__setattr__(self, name, (str(value),) if isinstance(value, str | int | float) else tuple(value))
        if self.sep is not None and (len(self.sep) != 1 or self.sep in '\r\n"'):
            raise InputError(f"sep: expected one character such as ; or a tab, found {self.sep!r}")
        if self.decimal not in (None, ".", ","):
            raise InputError(f"decimal: expected . or , found {self.decimal!r}")
        if self.normal and self.anomaly:
            raise InputError("normal and anomaly both say what labels mean; give one of them")
        if self.encoding is not None:
            try:
                codecs.lookup(self.encoding)
            except LookupError as error:
                raise InputError(
                    f"encoding: {self.encoding!r} is unknown; expected one such as utf-8, cp1252 or utf-16"
                ) from error

    @classmethod
    def of(cls, provenance: Mapping[str, Any]) -> "Reading":
        """Return the reading that a checkpoint or a bundle keeps as a hint; nothing where it is odd."""
        kept = provenance.get("reading")
        if not isinstance(kept, Mapping):
            return cls()
        fields = {entry.name: entry for entry in dataclasses.fields(cls)}
        try:
            return cls(**{name: value for name, value in kept.items() if name in fields})
        except (InputError, TypeError, ValueError):
            return cls()

    def to_dict(self) -> dict[str, Any]:
        """Return what is not as usual, as plain values."""
        values = {**dataclasses.asdict(self)}
        usual = {"sep": (None, ","), "decimal": (None, "."), "header": (None, True)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if value not in usual.get(name, (None, ()))
        }


AS_FOUND = Reading()
"""Nothing is known beforehand."""


class Layout(NamedTuple):
    """Layout of a text table."""

    separator: str  # "" for one column
    names: tuple[str, ...]  # one a column, without spaces around; made up where there is no header
    header: bool
    start: int  # bytes of UTF-8 before the first row
    decimal: str | None  # None: no number shows one
    names_of_rows: bool  # the first column has no name: it names the rows, as R writes them
    notes: tuple[str, ...]  # what was found, for people


# Encodings


_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
WESTERN = "cp1252"
_FOREIGN_RUN = re.compile(rb"[\x80-\xff]{3}")
_MULTIBYTE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")


def encoding_of(content: bytes, *, whole: bool) -> str | None:
    """Return the encoding of a text; None where it is not UTF-8 and does not show which.

    Args:
        content: its first bytes.
        whole: they are all there are.
    """
    for mark, encoding in _BOMS.items():
        if content.startswith(mark):
            return encoding
    few = content[:4096]
    if few.count(0) >= max(2, len(few) // 4):  # ASCII in two bytes each
        return "utf-16-be" if few[::2].count(0) > few[1::2].count(0) else "utf-16-le"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(content, final=whole)
    except UnicodeDecodeError:
        return None
    return "utf-8"


def is_western(content: bytes) -> bool:
    """Return whether text that is no UTF-8 is Windows-1252 without a doubt.

    Letters with accents and signs such as the degree stand alone between others; where several stand in a row it
    is another alphabet, and where some of them are UTF-8 the file is a mixture.
    """
    if _MULTIBYTE.search(content) or _FOREIGN_RUN.search(content):
        return False
    try:
        content.decode(WESTERN)
    except UnicodeDecodeError:
        return False
    return True


def refuse_encoding(content: bytes, source: str) -> NoReturn:
    """Raise an error that shows a cell that is not UTF-8.

    Raises:
        InputError: always.
    """
    start = 0
    try:
        content.decode()
    except UnicodeDecodeError as error:
        start = error.start
    line = content[:start].count(b"\n") + 1
    before = re.split(rb"[,;\t|\r\n]", content[max(0, start - 20) : start])[-1]
    cell = before + re.split(rb"[,;\t|\r\n]", content[start : start + 20])[0]
    also = ", while other cells are" if _MULTIBYTE.search(content) else ""
    raise InputError(
        f"{source}: line {line}: {cell!r} is not UTF-8{also}: save the file as UTF-8, or name its encoding, "
        f"as in --encoding {WESTERN} (Western Europe) or --encoding cp1251 (Cyrillic)"
    )


# Separator and header


def find_layout(text: str, source: str, asked: Reading, like: Reading, limits: Limits) -> Layout:
    """Find the layout of a table from its first lines.

    Args:
        text: whole lines, as far as the table is longer.
        source: the file, for messages.
        asked: what the caller knows.
        like: how the model's own table was read, for what is in doubt.
        limits: of columns.

    Raises:
        InputError: there is no line, or a doubt.
    """
    notes = []
    named, start = re.match(r"\ufeff?sep=(.)\r?\n", text), 0  # Excel's
    separator = asked.sep
    if named:
        start, separator = named.end(), separator or named[1]
    elif text.startswith("\ufeff"):
        start = 1
    if not text[start:].strip("\r\n\ufeff"):
        raise InputError(f"{source}: the file is empty: a header and rows were expected; write it again")
    choices = [*SEPARATORS, _ALONE] if separator is None else [separator]
    least = 1 if separator is not None else 2
    grids = [grid for each in choices if (grid := _grid(text[start:], each, least, limits, source)) is not None]
    is_open = text[start:].lstrip("\r\n").splitlines()[0].count('"') % 2 == 1
    if is_open and separator is None and all(grid.separator in (" ", _ALONE) for grid in grids):
        raise InputError(f"{source}: a quote is left open in the first line: mend it")
    if not grids:
        raise InputError(f"{source}: the first lines hold no header: write one name a column, then the rows")
    grid = grids[0] if len(grids) == 1 else _best(grids, source, like)
    if grid.above:
        notes.append(f"the first {_count(grid.above, 'line')}, above the table, left out")
    begins = [0, *grid.ends][grid.above]
    lines = text[start + begins :].lstrip("\r\n").splitlines()[:2]
    only_quoted = len(lines) > 1 and '"' in lines[0] and '"' not in lines[1]  # text above numbers
    header = asked.header if asked.header is not None else only_quoted or _has_header(grid, source, like)
    start += grid.ends[grid.above if header else grid.above - 1] if header or grid.above else 0
    if header and _is_line_of_units(grid):
        start += grid.ends[grid.above + 1] - grid.ends[grid.above]
        units = ", ".join(grid.rows[0][:3]) + ", ..." * (len(grid.rows[0]) > 3)
        notes.append(f"the line below the header, {units}, left out (units)")
    first = grid.lines[grid.above]
    names = [_name(cell) for cell in first] if header else [f"column_{i + 1}" for i in range(len(first))]
    missing = grid.width - len(names)
    if missing == 1 and all(not line[-1].strip() for line in grid.rows if len(line) == grid.width):
        names.append("")  # a separator at the end of each row
    elif missing == 1:
        names.insert(0, "")
    if not header:
        notes.append(f"no header line: columns are called column_1 to column_{len(names)}")
    decimal = asked.decimal or _decimal(grid, like)
    return Layout(
        separator=grid.separator,
        names=tuple(names),
        header=header,
        start=len(text[:start].encode()),
        decimal=decimal,
        names_of_rows=missing == 1 and names[0] == "",
        notes=tuple(notes),
    )


class _Grid(NamedTuple):
    """The first lines, cut into cells by one separator."""

    separator: str
    lines: list[list[str]]
    ends: list[int]  # characters up to the end of each line
    above: int  # lines above the table
    width: int  # cells of a row
    share: float  # of the lines that have as many cells as the header

    @property
    def rows(self) -> list[list[str]]:
        return self.lines[self.above + 1 :]

    def rank(self) -> tuple[float, float, bool, float]:
        """Return how well the separator explains the lines: shares of whole lines, sound cells, numbers."""
        cells = [cell.strip() for row in self.rows or self.lines for cell in row][:_RANKED_CELLS]
        sound = [cell for cell in cells if is_missing(cell) or is_number(cell) or is_date(cell)]
        text = sum(not any(mark in cell for mark in ",;\t|") for cell in set(cells) - set(sound))
        whole = (len(sound) + text) / max(1, len(sound) + len(set(cells) - set(sound)))
        numbers = sum(map(is_number, sound)) / max(1, len(cells))
        return round(self.share, 2), round(whole, 2), not self.above, round(numbers, 2)


def _grid(text: str, separator: str, least: int, limits: Limits, source: str) -> _Grid | None:
    """Cut the first lines into cells; None where the separator does not make `least` of them."""
    lines: list[list[str]] = []
    ends: list[int] = []
    cells, cut = 0, not text.endswith(("\n", "\r"))
    for row, end in _split(text, separator):
        if row and (len(row) > 1 or row[0].strip()):
            lines.append(row)
            ends.append(end)
            cells += len(row)
        if len(lines) >= _SAMPLE_LINES or cells > _SAMPLE_CELLS:
            cut = False
            break
    if cut and len(lines) > 2:  # the last line, perhaps
        lines, ends = lines[:-1], ends[:-1]
    if not lines:
        return None
    widths = [len(line) for line in lines]
    limits.require("columns", max(widths), "{:,} columns or more", source)
    above, width = _table_within(widths, [not line[-1].strip() for line in lines])
    if separator and width < least:
        return None
    share = sum(found == width for found in widths[above + 1 :]) / max(1, len(widths) - above - 1)
    if len(widths) == 1:
        share = 1.0
    elif above and all(map(is_number, lines[above])):  # no header below the lines above: one column, rather
        share = 0.0
    return _Grid(separator, lines, ends, above, width, share)


def _table_within(widths: Sequence[int], open_ended: Sequence[bool]) -> tuple[int, int]:
    """Return the lines above the table and the cells of its rows; `open_ended`: the last cell is empty."""

    def is_header(place: int, width: int) -> bool:
        """Return whether the line at `place` has one name less than rows have cells."""
        below = range(place + 1, len(widths))
        alike = len(below) > 1 and width > 2 and all(widths[i] == width for i in below)
        return widths[place] == width - 1 and (alike or all(open_ended[i] for i in below if widths[i] == width))

    body = widths[len(widths) // 3 :]
    width = max(body, key=lambda found: (body.count(found), found == widths[0]))
    above = widths.index(width)
    if len(widths) == 2 and widths[1] == widths[0] + 1 and open_ended[1]:
        return 0, widths[1]
    if above and is_header(above - 1, width):
        above -= 1
    if above > _MOST_ABOVE or any(found >= width for found in widths[:above]) or above == len(widths) - 1:
        return 0, widths[0]
    return above, width


def _split(text: str, separator: str) -> Iterator[tuple[list[str], int]]:
    """Yield the cells of each line, and the characters up to its end."""
    end = 0
    if separator in (" ", _ALONE):
        for line in re.findall(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+", text):
            end += len(line)
            yield _uncommented(cells_by_spaces(line) if separator else [line.strip('" \t\r\n')], separator), end
        return
    stream = io.StringIO(text, newline="")
    lines = iter(stream.readline, "")

    def counted() -> Iterator[str]:
        nonlocal end
        for line in lines:
            end += len(line)
            yield line

    try:
        for row in csv.reader(counted(), delimiter=separator):
            yield _uncommented(row, separator), end
    except csv.Error:  # a cell beyond csv's limit: a quote is left open
        return


def _uncommented(row: list[str], separator: str) -> list[str]:
    """Return a line's cells without the `# ` that numpy writes before the names."""
    if separator == " " and len(row) > 1 and row[0] == "#":
        return row[1:]
    if row and (mark := re.match(r"#\s+(?=\S)", row[0])):
        return [row[0][mark.end() :], *row[1:]]
    return row


_BY_SPACES = re.compile(r'"((?:[^"]|"")*)"|(\S+)')


def cells_by_spaces(line: str) -> list[str]:
    """Return the cells of a line that are separated by runs of spaces and tabs."""
    return [
        found[1].replace('""', '"') if found[1] is not None else found[2] for found in _BY_SPACES.finditer(line)
    ]


def _best(grids: Sequence[_Grid], source: str, like: Reading) -> _Grid:
    """Return the grid that explains the lines best; refuse a doubt between two separators."""
    by = {grid.separator: grid for grid in grids}
    real = [grid for mark, grid in by.items() if mark not in (" ", _ALONE) and grid.share >= _RAGGED]
    spaces = by.get(" ")
    if not real and spaces is None:
        others = [grid for mark, grid in by.items() if mark != _ALONE]
        return by[_ALONE] if not others or by[_ALONE].rank()[1] == 1 else max(others, key=lambda grid: grid.share)
    if len(real) == 1 and spaces is None:
        return real[0]
    if not real and spaces is not None:
        return by[_ALONE] if spaces.share < 1 or by[_ALONE].rank() >= spaces.rank() else spaces
    ranks = [(grid.rank(), grid) for grid in real]
    best = max(rank for rank, _ in ranks)
    if spaces is not None and spaces.rank() > best:
        return spaces
    ties = [grid for rank, grid in ranks if rank == best]
    if len(ties) > 1 and (hinted := [grid for grid in ties if grid.separator == like.sep]):
        return hinted[0]
    if len(ties) > 1:
        one, two = ties[:2]
        raise InputError(
            f"{source}: {words_of(one.separator)} or {words_of(two.separator)} may separate its columns, as in "
            f"{one.lines[one.above][0][:40]!r} or {two.lines[two.above][0][:40]!r}: say which with "
            f"--sep '{one.separator}' or --sep '{two.separator}'"
        )
    return ties[0]


def _has_header(grid: _Grid, source: str, like: Reading) -> bool:
    """Decide whether the first line holds names."""
    first, rows = [cell.strip() for cell in grid.lines[grid.above]], grid.rows[:_SAMPLE_LINES]
    if not rows:
        return True
    shift = 1 if len(first) == grid.width - 1 and any(row[-1].strip() for row in rows if row) else 0
    numbers, words, repeated = 0, 0, 0
    for index, cell in enumerate(first):
        if is_number(cell):
            numbers += 1
            continue
        if is_missing(cell) and not cell.isidentifier():
            continue
        below = (row[index + shift].strip() for row in rows if len(row) > index + shift)
        known = [text for text in below if not is_missing(text)]
        if is_date(cell):
            words += 1
            repeated += all(map(is_date, known))
        elif known and all(is_number(text) or is_date(text) for text in known):
            return True  # a word above numbers
        else:
            words += 1
            repeated += cell in known
    if not numbers:
        return repeated < max(2, words)
    return _are_counted(first, source, like)


def _are_counted(first: Sequence[str], source: str, like: Reading) -> bool:
    """Decide whether numbers in the first line are names, as pandas and numpy count columns, or a row."""
    values = [float(cell) for cell in first if cell.isdecimal()]
    if len(values) < len(first) or len(values) < 2 or not all(a < b for a, b in pairwise(values)):
        return False
    if values[0] in (0, 1) and values[-1] - values[0] == len(values) - 1:
        return True
    if like.header is not None:
        return like.header
    raise InputError(
        f"{source}: the first line, {', '.join(first[:3])}{', ...' * (len(first) > 3)}, may hold names or the "
        "first row: say which with --header or --no-header"
    )


def _is_line_of_units(grid: _Grid) -> bool:
    """Return whether the line below the header holds words, or nothing, above columns of numbers alone."""
    if len(grid.rows) < 3 or any(len(row) != grid.width for row in grid.rows):
        return False
    units, *rows = grid.rows
    columns = [place for place in range(grid.width) if all(map(_is_value, (row[place].strip() for row in rows)))]
    words = [units[place].strip() for place in columns]
    return (
        2 * len(columns) > grid.width
        and not any(is_number(word) or is_date(word) for word in words)
        and 2 * sum(not is_missing(word) for word in words) > len(words)
    )


def _is_value(cell: str) -> bool:
    return is_number(cell) or is_missing(cell)


def _decimal(grid: _Grid, like: Reading) -> str | None:
    """Return the decimal mark of most numbers that show one; None where none does."""
    counts = {".": 0, ",": 0}
    for cell in [cell for row in grid.rows for cell in row][:_RANKED_CELLS]:
        if (mark := decimal_mark(cell.strip())) is not None:
            counts[mark] += 1
    if counts["."] == counts[","]:
        # Where commas are in the numbers, semicolons are between them.
        has_commas = any("," in cell for row in grid.rows for cell in row)
        known = like.decimal if (like.sep or ",") == (grid.separator or ",") else None
        return known or ("," if grid.separator == ";" and has_commas else None)
    return max(counts, key=counts.__getitem__)


def _name(cell: str) -> str:
    return cell.strip().strip("\ufeff").strip()


def words_of(separator: str) -> str:
    """Return the name of a separator."""
    return SEPARATORS.get(separator, repr(separator))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}s" if number != 1 else noun
