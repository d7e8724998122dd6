"""Layout of a text table, found from its first lines: separator, header, decimal mark.

What can be found without a doubt is found and told in `Layout.notes`; a doubt is an error that names the option.
"""

import codecs
import contextlib
import csv
import dataclasses
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from aetool.bundle.files import Limits
from aetool.errors import InputError
from aetool.tables._notation import decimal_mark, is_date, is_missing, is_number, may_be_grouped

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
"""Separators that are looked for, in words; a space stands for runs of spaces and tabs."""
_ALONE = ""  # no separator: one column
_SAMPLE_LINES = 200
_SAMPLE_CELLS = 100_000
_MOST_ABOVE = 50  # lines above the header
_RANKED_CELLS = 10_000
_RULE = re.compile(r"[-+|=: ]*[-=]{4,}[-+|=: ]*")  # as SAP and SQL clients draw them around a table
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
    time: str | None = None
    """Form of dates that are not ISO 8601, as strptime has it."""

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
    padded: Mapping[str, str]  # columns of whole numbers that begin with 0, as codes do -> a cell


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
    start, separator = _beginning(text, asked.sep)
    grid = _cut(text[start:], separator, source, like, limits)
    notes = []
    if grid.above:
        above = "line" if grid.above == 1 else f"{grid.above} lines"
        notes.append(f"the first {above}, above the table, left out")
    begins = [0, *grid.ends][grid.above]
    lines = text[start + begins :].lstrip("\r\n").splitlines()[:2]
    only_quoted = len(lines) > 1 and '"' in lines[0] and '"' not in lines[1]  # text above numbers
    header = asked.header if asked.header is not None else only_quoted or _has_header(grid, source, like)
    if not header and asked.header is None:
        _require_no_names_above(grid, source)
    if header and _is_line_of_groups(grid):
        grid = grid._replace(above=grid.above + 1)
        notes.append(
            f"the line above the names, {_shown(grid.lines[grid.above - 1])}, left out (groups of columns)"
        )
    start += grid.ends[grid.above if header else grid.above - 1] if header or grid.above else 0
    if header:
        below, units = _below_names(grid, text[start:])
        start, notes = start + below, notes + units
    names, names_of_rows = _names(grid, header=header)
    if not header:
        called = "column_1" + f" to column_{len(names)}" * (len(names) > 1)
        notes.append(f"no header line: {'columns are' if len(names) > 1 else 'the column is'} called {called}")
    decimal = asked.decimal or _decimal(grid, source, like, notes)
    return Layout(
        separator=grid.separator,
        names=tuple(names),
        header=header,
        start=len(text[:start].encode()),
        decimal=decimal,
        names_of_rows=names_of_rows,
        notes=tuple(notes),
        padded={
            name: cell.strip()
            for row in grid.rows
            for name, cell in zip(names, row, strict=False)
            if re.fullmatch(r"\s*0\d+\s*", cell)
        },
    )


def _beginning(text: str, separator: str | None) -> tuple[int, str | None]:
    """Return the characters before the table that programs write, and the separator where it is known."""
    if named := re.match(r"\ufeff?sep=(.)\r?\n", text):  # Excel's
        return named.end(), separator or named[1]
    if logger := re.match(r'\ufeff?"?TOA5"?,.*\r?\n', text):  # Campbell's: about the station
        return logger.end(), separator
    return int(text.startswith("\ufeff")), separator


def _cut(text: str, separator: str | None, source: str, like: Reading, limits: Limits) -> "_Grid":
    """Cut the first lines into cells, by the separator that explains them best where none is known."""
    if not text.strip("\r\n\ufeff"):
        raise InputError(f"{source}: the file is empty: a header and rows were expected; write it again")
    choices, least = ([*SEPARATORS, _ALONE], 2) if separator is None else ([separator], 1)
    grids = [grid for each in choices if (grid := _grid(text, each, least, limits, source)) is not None]
    is_open = text.lstrip("\r\n").splitlines()[0].count('"') % 2 == 1
    if is_open and separator is None and all(grid.separator in (" ", _ALONE) for grid in grids):
        raise InputError(f"{source}: a quote is left open in the first line: fix it")
    if not grids:
        raise InputError(f"{source}: the first lines hold no header: write one name a column, then the rows")
    return grids[0] if len(grids) == 1 else _best(grids, source, like)


def _names(grid: "_Grid", *, header: bool) -> tuple[list[str], bool]:
    """Return the names of the columns, and whether the first has none since it names the rows."""
    first = grid.lines[grid.above]
    names = [_name(cell) for cell in first] if header else [f"column_{i + 1}" for i in range(len(first))]
    if len(names) != grid.width - 1:
        return names, False
    if all(not line[-1].strip() for line in grid.rows if len(line) == grid.width):
        return [*names, ""], False  # a separator at the end of each row
    return ["", *names], True


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
        if row and (len(row) > 1 or row[0].strip()) and not _RULE.fullmatch(separator.join(row)):
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
    begin = end = 0
    if separator in (" ", _ALONE):
        for line in re.findall(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+", text):
            end += len(line)
            cells = cells_by_spaces(line) if separator else [line.strip('" \t\r\n')]
            yield cells if line[0] == '"' else _uncommented(cells, separator), end
        return
    stream = io.StringIO(text, newline="")

    def counted() -> Iterator[str]:
        nonlocal end
        for line in iter(stream.readline, ""):
            end += len(line)
            yield line

    with contextlib.suppress(csv.Error):  # a cell beyond csv's limit: a quote is left open
        for row in csv.reader(counted(), delimiter=separator):
            yield row if text[begin : begin + 1] == '"' else _uncommented(row, separator), end
            begin = end


def _uncommented(row: list[str], separator: str) -> list[str]:
    """Return a line's cells without the `# ` that numpy writes before the names; in quotes it is part of one."""
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
    # Runs of spaces are tabs too: where tabs alone part the lines, the spaces are in the cells.
    spaces = None if any(grid.separator == "\t" for grid in real) else by.get(" ")
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
            f"--sep {_option(one.separator)} or --sep {_option(two.separator)}"
        )
    return ties[0]


def _has_header(grid: _Grid, source: str, like: Reading) -> bool:
    """Decide whether the first line holds names."""
    first = [cell.strip() for cell in grid.lines[grid.above]]
    rows = grid.rows[:_SAMPLE_LINES]
    if not any(map(is_number, first)):  # names may stand again
        rows = [row for row in rows if row != grid.lines[grid.above]]
    if not rows:
        return like.header is not False
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
    return not repeated and _are_counted(first, source, like)


def _require_no_names_above(grid: _Grid, source: str) -> None:
    """Refuse to take a line of names for a title because each row below has more cells than it has names."""
    names, row = (grid.lines[grid.above - 1], grid.lines[grid.above]) if grid.above else ([], [])
    if len(names) > 1 and not any(is_missing(name.strip()) or is_number(name.strip()) for name in names):
        raise InputError(
            f"{source}: {len(names)} names, {_shown(names)}, above rows of {len(row)} cells, {_shown(row)}: put "
            "numbers with decimal commas in quotes, or give each column its name, or say that there are no names "
            "with --no-header"
        )


def _are_counted(first: Sequence[str], source: str, like: Reading) -> bool:
    """Decide whether numbers in the first line are names, as pandas and numpy count columns, or a row."""
    values = [float(cell) for cell in first if re.fullmatch(r"\d+(?:\.\d+)?", cell)]
    steps = [b - a for a, b in pairwise(values)]
    if not steps or min(steps) <= 0 or like.header is False:
        return False
    has_words = len(values) < len(first)
    is_even = max(steps) - min(steps) < 1e-6 * max(steps)  # 400, 402.5, 405: wavelengths
    if has_words or not all(map(str.isdecimal, first)):
        are_years = steps == [1] * len(steps) and 1900 <= values[0] <= values[-1] <= 2100
        if not is_even or not (are_years or len(steps) > 1):
            return False
    elif values[0] in (0, 1) and values[-1] - values[0] == len(steps):
        return True
    raise InputError(
        f"{source}: the first line, {_shown(first)}, may be names or a row: say which with --header or --no-header"
    )


def _is_line_of_groups(grid: _Grid) -> bool:
    """Return whether the first line names groups of columns, and the second one, above numbers, each column."""
    groups = {_name(cell) for cell in grid.lines[grid.above]}
    names = [_name(cell) for cell in grid.rows[0]] if grid.rows else []
    return (
        len(groups) < len(names) == len(set(names)) == grid.width
        and all(name.isidentifier() and not is_missing(name) for name in names)
        and _is_line_of_units(grid)
    )


def _below_names(grid: _Grid, text: str) -> tuple[int, list[str]]:
    """Return the characters of a rule, as SQL clients draw it, or a line of units below the names, and a note."""
    if rule := re.match(r"[\r\n]*[-+|=:\t ]*---[-+|=:\t ]*(?:\r\n|\r|\n)", text):
        return rule.end(), []
    count = next((count for count in (1, 2, 3) if _is_line_of_units(grid, count)), 0)
    if not count:
        return 0, []
    which = "line" if count == 1 else f"{count} lines"
    units = f"the {which} below the header, {_shown(grid.rows[0])}, left out (units)"
    return grid.ends[grid.above + count] - grid.ends[grid.above], [units]


def _is_line_of_units(grid: _Grid, count: int = 1) -> bool:
    """Return whether `count` lines below the header hold words, or nothing, above columns of numbers alone."""
    if len(grid.rows) < count + 2 or any(len(row) != grid.width for row in grid.rows):
        return False
    units, rows = grid.rows[0], grid.rows[count:]
    columns = [place for place in range(grid.width) if all(map(_is_value, (row[place].strip() for row in rows)))]
    words = [units[place].strip() for place in columns]
    return (
        2 * len(columns) > grid.width
        and not any(is_number(word) or is_date(word) for word in words)
        and 2 * sum(not is_missing(word) for word in words) > len(words)
    )


def _is_value(cell: str) -> bool:
    return is_number(cell) or is_missing(cell)


def _decimal(grid: _Grid, source: str, like: Reading, notes: list[str]) -> str | None:
    """Return the decimal mark of most numbers that show one; None where none does; refuse a doubt."""
    counts = {".": 0, ",": 0}
    grouped: dict[int, str] = {}  # column -> its first cell whose mark may be a decimal one or may group digits
    small: set[int] = set()  # columns with numbers too small for groups
    for row in grid.rows[: max(1, _RANKED_CELLS // grid.width)]:
        for place, cell in enumerate(map(str.strip, row)):
            if (mark := decimal_mark(cell)) is not None:
                counts[mark] += 1
            elif may_be_grouped(cell):
                grouped.setdefault(place, cell)
            elif re.fullmatch(r"[1-9]\d{0,2}", cell):
                small.add(place)
    if counts["."] != counts[","]:
        return max(counts, key=counts.__getitem__)
    if grid.separator in ("", ","):  # a point in plain CSV is a decimal one
        return like.decimal if (like.sep or ",") == (grid.separator or ",") else None
    if like.decimal is None and grid.separator == ";" != like.sep and grouped:
        place = next((place for place in grouped if place in small), next(iter(grouped)))
        point, comma = (grouped[place].replace(mark, "") for mark in ",.")
        may_be = f"{float(point):g} (--decimal .) or {float(comma.replace(',', '.')):g} (--decimal ,)"
        text = f"column {place + 1}: {grouped[place][:40]!r} may be {may_be}"
        if place in small:
            raise InputError(f"{source}: {text}, and no other cell tells; say which, as in --decimal ,")
        notes.append(f"{text}: taken for a number with decimals")
    # Where commas are in the numbers, semicolons are between them.
    has_commas = any("," in cell for row in grid.rows for cell in row)
    return like.decimal or ("," if grid.separator == ";" and has_commas else None)


def _shown(cells: Sequence[str]) -> str:
    shown = [cell.strip()[:40] for cell in cells[:3]]
    return ", ".join(cell if cell.isprintable() else repr(cell) for cell in shown) + ", ..." * (len(cells) > 3)


def _option(separator: str) -> str:
    return "tab" if separator == "\t" else f"'{separator}'"


def _name(cell: str) -> str:
    name = cell.strip().strip("\ufeff").strip()
    return "" if re.fullmatch(r"Unnamed: \d+", name) else name  # what pandas calls a column without one


def words_of(separator: str) -> str:
    """Return the name of a separator."""
    return SEPARATORS.get(separator, repr(separator))
