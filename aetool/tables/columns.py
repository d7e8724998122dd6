"""Conversion of columns of any type to numbers, labels and kept columns."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from aetool.errors import InputError
from aetool.runtime.categories import UNKNOWN, factorise, to_indexes
from aetool.runtime.cells import UNIX_SECONDS
from aetool.tables._choice import AUTO, ColumnChoice, Options, listed
from aetool.tables._labels import read_labels
from aetool.tables._layout import Reading
from aetool.tables._notation import TextColumn, is_number, read_texts
from aetool.tables._problems import Problem, problems_of_rows, refuse
from aetool.tables._table import Table
from aetool.tables.formats import pa

F = TypeVar("F", np.float32, np.float64)

MAX_CATEGORIES = 1_000
"""Largest number of categories in one column; more are rather names or numbers than kinds."""
_FEW = 3  # odd words that may mean a missing value
_OWN_TEXT = 20  # distinct texts above which a column where most rows have their own holds no categories


class Origin(NamedTuple):
    """The table that columns come from, as messages and readers need it."""

    name: str
    options: Options
    reading: Reading = Reading()
    """How its text is read."""
    notes: tuple[str, ...] = ()
    """The same for people, where it is not as usual."""
    left_out: Mapping[str, str] = {}
    """Columns that are no features -> why."""
    problems: Sequence[Problem] = ()
    first_row: int = 0
    """Number of the first row here, counted from 0."""


def assemble(choice: ColumnChoice, data: Mapping[str, Any], source: Origin) -> Table:
    """Put the chosen columns, numpy or Arrow, into one table.

    Raises:
        InputError: columns are not what is needed; all that is wrong is told.
    """
    lengths = {name: len(data[name]) for name in choice.wanted}
    first = next(iter(lengths), "")
    if other := next((name for name, length in lengths.items() if length != lengths[first]), None):
        raise InputError(
            f"{source.name}: columns of different lengths: {first!r} has {lengths[first]} rows, "
            f"{other!r} has {lengths[other]}: all need the same number"
        )
    features = _features(choice, data, source)
    labels, reading = None, source.reading
    problems, notes = [*source.problems, *features.problems], [*source.notes, *features.notes]
    if choice.label is not None:
        found = read_labels(data[choice.label], choice.label, source.options.reading, source.options.like)
        labels, reading = found.values, replace(reading, normal=found.normal, anomaly=found.anomaly)
        problems += found.problems
        notes += found.notes
    columns = [name for name in choice.columns if name in features.numbers]
    names = tuple(name for key, name in zip(choice.columns, choice.names, strict=True) if key in features.numbers)
    left_out = {**source.left_out, **features.left_out}
    if not columns and not problems and source.options.only != ():
        reasons = ", ".join(f"{name!r} ({reason})" for name, reason in left_out.items())
        problems.append(Problem(f"no feature columns are left: {reasons or 'the table has none'}", "add some"))
    values = _interleaved(
        [features.numbers[name] for name in columns], np.empty((lengths.get(first, 0), len(columns)))
    )
    if source.options.trains is not None and not (problems and labels is None and choice.label is not None):
        normal = values if labels is None else values[~labels]
        numeric = [name not in features.categories for name in names]
        problems += problems_of_rows(
            normal[:, numeric], [name for name, is_number in zip(names, numeric, strict=True) if is_number],
            source.options.trains.impute,
        )  # fmt: skip
    if problems:
        refuse(_possible(problems, choice, left_out), source.name)
    return Table(
        names=names,
        values=values,
        labels=labels,
        kept={name: _untouched(data[name]) for name in choice.keep},
        source=source.name,
        named=choice.named,
        categories=features.categories,
        unseen={
            name: _unseen(data[key], features.categories[name])
            for key, name in zip(choice.columns, choice.names, strict=True)
            if name in features.categories and (features.numbers[key] == UNKNOWN).any()
        },
        reading=reading,
        notes=tuple(notes),
        left_out=left_out,
    )


def _possible(problems: Sequence[Problem], choice: ColumnChoice, left_out: Mapping[str, str]) -> Sequence[Problem]:
    """Return problems without the remedy of leaving columns out, where none would be left."""
    first = [next(iter(problem.options), "") for problem in problems]
    dropped = {
        name
        for each, problem in zip(first, problems, strict=True)
        if each == "drop"
        for name in problem.options[each]
    }
    if not {*choice.columns} - {*left_out} <= dropped:
        return problems
    last = (
        "look at its first lines: no column would be left; perhaps it helps to say --sep, --decimal or --no-header"
    )
    return [
        problem._replace(mend=problem.mend or last, options={}) if each == "drop" else problem
        for each, problem in zip(first, problems, strict=True)
    ]


def assemble_float32(choice: ColumnChoice, data: Mapping[str, Any], source: Origin) -> NDArray[np.float32]:
    """Return the features as a model takes them, (rows, columns); what float32 cannot hold is infinite."""
    features = _features(choice, data, source)
    if features.problems:
        refuse(features.problems, source.name)
    columns = [features.numbers[name] for name in choice.columns]
    rows = len(columns[0] if columns else data[choice.wanted[0]])
    with np.errstate(over="ignore"):
        return _interleaved(columns, np.empty((rows, len(columns)), np.float32))


def _interleaved(columns: Sequence[NDArray[Any]], values: NDArray[F]) -> NDArray[F]:
    """Write columns, (rows,) each, into `values`, (rows, columns)."""
    for start in range(0, len(values), 4096):  # in blocks that the cache holds: twice as fast as whole columns
        block = slice(start, start + 4096)
        for index, column in enumerate(columns):
            values[block, index] = column[block]
    return values


class _Features:
    """Feature columns as numbers, by the file's names, and the categories, by the table's."""

    def __init__(self, choice: ColumnChoice, source: Origin) -> None:
        self.choice, self.source, self.options = choice, source, source.options
        self.numbers: dict[str, NDArray[Any]] = {}
        self.categories: dict[str, tuple[str, ...]] = {}
        self.notes: list[str] = []
        self.left_out: dict[str, str] = {}
        self.problems: list[Problem] = []
        self._text: dict[str, str] = {}  # columns that hold no numbers -> what they hold
        self._own: list[str] = []  # those among them that hold no categories either

    def add(self, key: str, name: str, column: Any) -> None:
        """Convert one column."""
        numbers = _numbers(column)
        is_boolean = numbers is not None and AUTO in self.choice.categorical and _is_boolean(column)
        if self.choice.is_categorical(key, name) or is_boolean:
            self._add_categories(key, name, column)
        elif numbers is not None and self.options.may_leave_out and _is_unix_time(key, numbers):
            self._leave_out(key, "dates or times")
        elif numbers is not None:
            self._add_numbers(key, _without(numbers, self.options.missing))
        elif _is_time(column):
            self._leave_out(key, "dates or times")
        elif _is_text(column):
            self._add_text(key, name, column)
        else:
            self._text[key] = _describe(column)
            if not isinstance(column, np.ndarray) and _holds_no_kinds(_decoded(column).type):
                self._own.append(key)

    def _add_numbers(self, key: str, numbers: NDArray[Any]) -> None:
        empty = len(numbers) > 0 and numbers.dtype.kind == "f" and bool(np.isnan(numbers).all())
        if empty and self.options.trains is not None and self.options.may_leave_out:
            self._leave_out(key, "no value in any row")
        else:
            self.numbers[key] = numbers

    def _add_categories(self, key: str, name: str, column: Any) -> None:
        known = None if self.choice.categories is None else self.choice.categories[name]
        what = f"{self.source.name}: column {key!r}"
        self.categories[name], self.numbers[key] = _indexes(column, known, what)

    def _leave_out(self, key: str, why: str) -> None:
        """Leave a column out, or tell why it cannot be a feature where somebody asked for it."""
        if self.options.may_leave_out:
            self.left_out[key] = why
            return
        remedy = "ask for other columns" if self.options.columns else "give numbers, as in the training table"
        self.problems.append(Problem(f"column {key!r} cannot be a feature ({why})", remedy))

    def _add_text(self, key: str, name: str, column: Any) -> None:
        """Convert a column of text: numbers in any notation, dates, or categories."""
        texts, places = _distinct(column)
        reading = self.source.reading
        decimal = reading.decimal or (None if reading.sep else self.options.like.decimal)
        found = read_texts(texts, self.options.missing, decimal)
        if found.dates:
            self._leave_out(key, "dates or times")
        elif found.fault:
            self.problems.append(self._odd_cell(key, texts, places, found))
        elif found.values is not None:
            self.notes += [f"{key}: {found.note}"] if found.note else []
            self._add_numbers(key, found.values[places])
        elif not self.options.offered:  # a model asks for numbers here
            place = next((place for place, text in enumerate(texts) if not is_number(text)), 0)
            odd = found._replace(fault=f"{texts[place][:40]!r} is not a number", odd=(place,))
            self.problems.append(self._odd_cell(key, texts, places, odd))
        else:
            is_own = len(texts) > _OWN_TEXT and 2 * len(texts) > len(places)
            if AUTO in self.choice.categorical and not is_own:
                self._add_categories(key, name, column)
                return
            self._text[key] = "text, nearly every row its own" if is_own else _describe(column)
            self._own += [key] if is_own else []

    def _odd_cell(self, key: str, texts: Sequence[str], places: NDArray[np.intp], found: TextColumn) -> Problem:
        """Return the problem of a cell that is no number among others that are."""
        row = self.source.first_row + int((places == found.odd[0]).argmax()) + 1
        where = f"row {row:,}, column {key!r}: {found.fault}"
        if found.doubt:
            return Problem(where, "", {"decimal": ["."]})
        offered = {name: [key] for name in self.options.offered if name == "drop"}
        words = [texts[place] for place in found.odd]
        if offered and found.is_word and len(words) <= _FEW:
            offered["na"] = words
        if "categorical" in self.options.offered and found.is_word and len(texts) <= MAX_CATEGORIES:
            offered["categorical"] = [AUTO, key]
        return Problem(where, "fix the cell", offered)

    def end(self) -> "_Features":
        """Note the columns that hold no numbers: those that may hold categories, and those that cannot."""
        for names in ([name for name in self._text if name not in self._own], self._own):
            if not names:
                continue
            described = ", ".join(f"{name!r} ({self._text[name]})" for name in names)
            offered = (
                {} if names is self._own or "categorical" not in self.options.offered else {"categorical": names}
            )
            offered |= {"drop": names} if self.options.offered else {}
            mend = "" if offered else "give numbers, as in the training table"
            plural = "s" * (len(names) > 1)
            self.problems.append(Problem(f"not numbers: column{plural} {described}", mend, offered))
        return self


def _features(choice: ColumnChoice, data: Mapping[str, Any], source: Origin) -> _Features:
    """Convert the feature columns."""
    made = _Features(choice, source)
    for key, name in zip(choice.columns, choice.names, strict=True):
        made.add(key, name, data[key])
    return made.end()


def _without(numbers: NDArray[Any], missing: Sequence[str]) -> NDArray[Any]:
    """Return numbers with NaN for those that mean a missing value."""
    sentinels = [value for text in missing if (value := _as_float(text)) is not None]
    if not sentinels:
        return numbers
    found = np.isin(numbers.astype(np.float64), sentinels)
    return np.where(found, np.nan, numbers.astype(np.float64)) if found.any() else numbers


def _as_float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _distinct(column: Any) -> tuple[list[str], NDArray[np.intp]]:
    """Return the distinct texts of a column, stripped, in the order of their rows, and each cell's place."""
    if isinstance(column, np.ndarray):
        cells = [str(cell).strip() for cell in column.tolist()]
        place = {text: i for i, text in enumerate(dict.fromkeys(cells))}
        return list(place), np.fromiter(map(place.__getitem__, cells), np.intp, len(cells))
    encoded = _decoded(column).combine_chunks().dictionary_encode()
    dictionary = ["" if text is None else text.strip() for text in encoded.dictionary.to_pylist()]
    places = encoded.indices.fill_null(len(dictionary)).to_numpy(zero_copy_only=False).astype(np.intp)
    return ([*dictionary, ""] if encoded.indices.null_count else dictionary), places


def _indexes(
    column: Any, categories: tuple[str, ...] | None, what: str
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Return the categories (those in the column, where none are given) and the index of each cell's."""
    column = column if isinstance(column, np.ndarray) else _decoded(column)
    if categories is None:
        texts, _ = factorise(column, what)
        categories = tuple(sorted({text for text in texts if text is not None}))
        if not 0 < len(categories) <= MAX_CATEGORIES:
            raise InputError(
                f"{what} holds {len(categories):,} categories, 1 to {MAX_CATEGORIES:,} are possible: "
                "leave the column out, or group its values"
            )
        try:
            "".join(categories).encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{what} holds half a surrogate pair, which is not valid text: fix it") from error
    return categories, to_indexes(column, categories, what)


def _unseen(column: Any, categories: tuple[str, ...]) -> NDArray[np.str_]:
    """Return the text of each cell that is none of the categories, "" for the others, (rows,)."""
    texts, places = factorise(column if isinstance(column, np.ndarray) else _decoded(column), "")
    known = frozenset(categories)
    return np.array(["" if text is None or text in known else text for text in texts])[places]


def _is_boolean(column: Any) -> bool:
    if isinstance(column, np.ndarray):
        return bool(column.dtype.kind == "b")
    return bool(pa.types.is_boolean(_decoded(column).type))


def _is_text(column: Any) -> bool:
    if isinstance(column, np.ndarray):
        return column.dtype.kind in "US"
    kind = _decoded(column).type
    return any(of(kind) for of in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _holds_no_kinds(kind: Any) -> bool:
    """Return whether values of an Arrow type cannot be categories either."""
    return bool(pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_unix_time(name: str, numbers: NDArray[Any]) -> bool:
    """Return whether a column is called a time, and counts seconds, or thousandths of them, since 1970."""
    if not re.search(r"time|stamp|date|epoch|(?:^|_)ts$", name.casefold()) or not len(numbers):
        return False
    least, most = np.nanmin(numbers), np.nanmax(numbers)
    return any(UNIX_SECONDS[0] * unit <= least <= most <= UNIX_SECONDS[1] * unit for unit in (1, 1e3, 1e6, 1e9))


def _is_time(column: Any) -> bool:
    """Return whether a column's type is one of dates, times or spans of time."""
    if isinstance(column, np.ndarray):
        return column.dtype.kind in "mM"
    return bool(pa.types.is_temporal(_decoded(column).type))


def _numbers(column: Any) -> NDArray[Any] | None:
    """Return (rows,) numbers with NaN for missing ones, or None when the column's type is not numeric."""
    if isinstance(column, np.ndarray):
        return column if column.dtype.kind in "biuf" else None
    column = _decoded(column)
    kinds = pa.types
    if kinds.is_floating(column.type) and not column.null_count:
        whole: NDArray[Any] = column.to_numpy()
        return whole
    if any(
        is_kind(column.type)
        for is_kind in (kinds.is_boolean, kinds.is_integer, kinds.is_floating, kinds.is_decimal, kinds.is_null)
    ):
        # Unsafe on purpose: integers beyond 2**53 take the nearest float64, where a safe cast would refuse.
        numbers: NDArray[np.float64] = column.cast(pa.float64(), safe=False).to_numpy()
        return numbers
    return None


def _untouched(column: Any) -> NDArray[Any]:
    """Return the column as numpy, (rows,), unchanged."""
    if isinstance(column, np.ndarray):
        return column
    column = _decoded(column)
    if column.null_count and pa.types.is_integer(column.type):  # numpy would make floats of them
        whole = np.empty(len(column), object)
        whole[:] = column.to_pylist()
        return whole
    values: NDArray[Any] = column.to_numpy()
    return values


def _decoded(column: Any) -> Any:
    """Return an Arrow column without dictionary encoding, whose `to_numpy` loses nulls."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _describe(column: Any) -> str:
    if isinstance(column, np.ndarray):
        return "text" if column.dtype.kind in "US" else str(column.dtype)
    kind = _decoded(column).type
    return "text" if str(kind) in ("string", "large_string", "string_view") else str(kind)


def as_column(column: Any, name: str, source: str) -> Any:
    """Return a column from memory as a (rows,) numpy array or an Arrow column."""
    if isinstance(column, np.ma.MaskedArray) and column.dtype.kind in "biuf":
        column = np.ma.filled(column.astype(np.float64), np.nan)
    if getattr(column, "ndim", 1) != 1:
        raise InputError(f"{source}: column {name!r} has shape {np.shape(column)}: (rows,) is expected")
    if pa is None or (isinstance(column, np.ndarray) and column.dtype != object):
        return np.asarray(column)
    try:  # Arrow knows None, pandas' NA and categories
        converted = pa.array(column, from_pandas=True)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):  # a mixture: to keep, but no numbers
        return np.asarray(column)
    return converted if isinstance(converted, pa.ChunkedArray) else pa.chunked_array([converted])


def as_columns(data: Any, source: str) -> tuple[dict[str, Any], bool]:
    """Return the columns of rows in memory by name, and whether the names are made up.

    Raises:
        InputError: they are no rows, or their names stand twice.
    """
    if isinstance(data, list | tuple) and data and all(isinstance(row, Mapping) for row in data):
        names = dict.fromkeys(name for row in data for name in row)
        data = {name: [row.get(name) for row in data] for name in names}
    if isinstance(data, Mapping):
        pairs = [(name, data[name]) for name in data]
    elif hasattr(data, "collect") and hasattr(data, "columns"):
        raise InputError(
            f"{source}: {type(data).__name__} holds no rows before it is computed; call .collect() first"
        )
    elif hasattr(data, "columns") and hasattr(data, "iloc"):  # pandas, whose names may stand twice
        pairs = [(name, data.iloc[:, place]) for place, name in enumerate(data.columns)]
    elif hasattr(data, "column_names"):  # Arrow
        pairs = [(name, data.column(place)) for place, name in enumerate(data.column_names)]
    elif hasattr(data, "schema") and hasattr(data, "columns") and hasattr(data, "to_arrow"):  # polars
        return as_columns(data.to_arrow(), source)
    elif getattr(getattr(data, "dtype", None), "names", None):  # numpy's structured arrays
        pairs = [(name, data[name]) for name in data.dtype.names]
    else:
        array = _as_matrix(data, source)
        return {f"X_{index}": column for index, column in enumerate(array.T)}, True
    columns = {str(name): column for name, column in pairs}
    if len(columns) != len(pairs):
        twice = [name for name, count in Counter(str(name) for name, _ in pairs).items() if count > 1]
        raise InputError(f"{source}: repeated column names {listed(twice)}: give each column its own name")
    return columns, False


def _as_matrix(data: Any, source: str) -> NDArray[Any]:
    if isinstance(data, np.ma.MaskedArray) and data.dtype.kind in "biuf":
        data = np.ma.filled(data.astype(np.float64), np.nan)
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise InputError(f"{source}: rows of one length expected, found {type(data).__name__}: {error}") from error
    if array.ndim != 2:
        raise InputError(
            f"{source}: a table of columns, or an array (rows, columns), expected, found {type(data).__name__} of "
            f"shape {array.shape}"
        )
    return array
