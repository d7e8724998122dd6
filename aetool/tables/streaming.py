"""Batches of rows from a file that need not fit in memory."""

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.files import DEFAULT_LIMITS, Limits
from aetool.errors import InputError
from aetool.tables._binary_files import is_text, parquet_names, spelled_out_bytes
from aetool.tables._choice import ColumnChoice, Options
from aetool.tables._csv_files import TextTable, open_text, parts, require_narrow, skip
from aetool.tables._layout import AS_FOUND, Reading
from aetool.tables._table import Table
from aetool.tables.columns import Origin, assemble, assemble_float32
from aetool.tables.formats import guarded, pa, pacsv, pq, require_pyarrow

STREAMED = (".csv", ".csv.gz", ".csv.zst", ".parquet")
_CODECS = {".csv.gz": "gzip", ".csv.zst": "zstd"}
BATCH_BYTES = 2 << 20
"""Bytes of one batch: a few are under way at once, and each is large beside the cost of a call."""
MAX_BATCH_ROWS = 128 * 1024
TEXT_BYTES = 64 << 20
"""Bytes of the text of one batch, which a few bytes of a Parquet file may stand for."""
BUFFER_BYTES = 1 << 20
"""Bytes read ahead of each Parquet column, so that a row group need not be in memory as a whole."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a file."""

    values: NDArray[np.float32]  # (rows, columns), C-ordered, as a model takes them
    kept: Mapping[str, Any]  # Arrow columns, (rows,) each
    share: float  # of the file that is read by now, 0 to 1


def streamed_ending(name: str) -> str | None:
    """Return the ending of a file that can be read in batches, or None."""
    found = [ending for ending in STREAMED if name.lower().endswith(ending)]
    return found[0] if found else None


def read_batches(
    opened: Callable[[], Any],
    source: str,
    *,
    only: Sequence[str] | None = None,
    keep: Sequence[str] = (),
    categories: Mapping[str, Sequence[str]] | None = None,
    reading: Reading = AS_FOUND,
    like: Reading = AS_FOUND,
    width: int = 1,
    limits: Limits = DEFAULT_LIMITS,
) -> Generator[Batch, None, None]:
    """Yield the rows of a CSV or Parquet file in their order; at least one batch, which may have no rows.

    Args:
        opened: opens the file, a `pyarrow.NativeFile` that can seek.
        source: the file's name, whose ending is one of STREAMED.
        only: the model's features; all columns are features when None.
        keep: columns carried through in their own type; in a CSV file they are text.
        categories: those of the model, by feature.
        reading: how text is read, where that is known.
        like: how the model's own table was read.
        width: numbers that a row becomes; batches are small enough for the results too.
        limits: of columns and cells; the file may have any size.

    Raises:
        InputError: the file cannot be read, or does not hold what was asked for.
        DependencyError: pyarrow is missing.
    """
    require_pyarrow()
    ending = streamed_ending(source)
    if ending is None:
        raise InputError(f"{source}: a file to stream is expected, {', '.join(STREAMED)}: convert it")
    options = Options(keep=keep, only=only, categories=categories, reading=reading, like=like, limits=limits)
    with guarded(source, ending):
        read = _parquet if ending == ".parquet" else _csv
        rows = 0
        for choice, data, share, read_as in read(opened, source, options, width):
            kept = {name: data[name] for name in choice.keep}
            values = assemble_float32(choice, data, Origin(source, options, read_as, first_row=rows))
            rows += len(values)
            yield Batch(values, kept, share)


def first_table(opened: Callable[[], Any], source: str, **options: Any) -> Table:
    """Return the first rows of such a file as a table; options as of `read_table`.

    Raises:
        InputError: as `read_table`, of these rows.
        DependencyError: pyarrow is missing.
    """
    require_pyarrow()
    ending = streamed_ending(source)
    if ending is None:
        raise InputError(f"{source}: a file of a log is expected, {', '.join(STREAMED)}: convert it")
    chosen = Options(**options)
    read = _parquet if ending == ".parquet" else _csv
    with guarded(source, ending), closing(read(opened, source, chosen, 1)) as found:
        choice, data, _, read_as = next(found)
        return assemble(choice, data, Origin(source, chosen, read_as))


_Part = tuple[ColumnChoice, Mapping[str, Any], float, Reading]


def _parquet(opened: Callable[[], Any], source: str, options: Options, width: int) -> Generator[_Part, None, None]:
    with opened() as stream, pq.ParquetFile(stream, pre_buffer=False) as file:
        schema = file.schema_arrow
        stored = {name.strip(): name for name in reversed(parquet_names(schema))}
        choice = options.choose(parquet_names(schema), source)
        rows, done = file.metadata.num_rows, 0
    wanted = [stored[name] for name in choice.wanted]

    def part(table: Any, share: float) -> _Part:
        return choice, {name: table.column(stored[name]) for name in choice.wanted}, share, AS_FOUND

    if rows == 0:
        yield part(schema.empty_table(), 1.0)
        return
    text = [name for name in wanted if is_text(schema.field(name).type)]
    # Arrow's own choice, pre_buffer, keeps every row group it has read until the file is closed.
    how = {"buffer_size": BUFFER_BYTES, "pre_buffer": False, "read_dictionary": text}
    with opened() as stream, pq.ParquetFile(stream, **how) as file:
        for batch in file.iter_batches(_batch_rows(choice, width), columns=wanted):
            table = pa.Table.from_batches([batch])
            size = spelled_out_bytes({name: table.column(name) for name in text}, source, options.limits)
            step = max(1, len(table) * TEXT_BYTES // max(size, TEXT_BYTES))
            for start in range(0, len(table), step):
                slice_ = _spelled_out(table.slice(start, step), text, schema)
                done += len(slice_)
                yield part(slice_, done / rows)


def _spelled_out(table: Any, text: Sequence[str], schema: Any) -> Any:
    """Return `table` without dictionaries in its columns `text`, in their own types."""
    for name in text:
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, table.column(name).cast(schema.field(name).type))
    return table


def _csv(opened: Callable[[], Any], source: str, options: Options, width: int) -> Generator[_Part, None, None]:
    codec = _CODECS.get(streamed_ending(source) or "")

    def unpacked() -> Any:
        raw = opened()
        return raw if codec is None else pa.CompressedInputStream(raw, codec)

    with unpacked() as stream:
        require_narrow(parts(stream), source, options.limits)
    text = open_text(unpacked, source, options)
    choice = options.choose(text.layout.names, source, () if text.layout.header else text.layout.names)
    types = _types(text, choice, options)
    reading = text.reading(options)
    all_places = text.places
    places = {name: all_places[name] for name in choice.wanted}
    done, step = 0, _batch_rows(choice, width)

    def part(table: Any, share: float) -> _Part:
        return choice, {name: table.column(place) for name, place in places.items()}, share, reading

    with ExitStack() as stack:
        raw = stack.enter_context(opened())
        size, rest = raw.size(), raw
        if not text.fits_in_a_stream:
            rest = stack.enter_context(text.rows())
        elif codec is not None:
            rest = stack.enter_context(pa.CompressedInputStream(raw, codec))
        if text.fits_in_a_stream:
            skip(rest, text.layout.start)
        if (reader := _open_csv(text, rest, choice, types, options)) is None:
            yield part(pa.table({place: pa.nulls(0) for place in places.values()}), 1.0)
            return
        stack.enter_context(reader)
        try:
            for batch in reader:
                for start in range(0, batch.num_rows, step):
                    rows = batch.slice(start, step)
                    done += rows.num_rows
                    share = min(raw.tell() / size, 1.0) if text.fits_in_a_stream else 1.0
                    yield part(pa.Table.from_batches([rows]), share)
        except pa.ArrowInvalid as error:
            raise _odd_cell(error, choice, done, source) from error
        if not done:
            yield part(reader.schema.empty_table(), 1.0)


def _types(text: TextTable, choice: ColumnChoice, options: Options) -> dict[str, Any]:
    """Return the columns' types, settled beforehand: guessed from the first rows, they fail on later ones.

    Columns of numbers that are text in the first rows, in another notation perhaps, stay text.
    """
    with ExitStack() as stack:
        rows = stack.enter_context(text.rows())
        reader = _open_csv(text, rows, choice, {}, options)
        if reader is None:
            return {}
        guessed = stack.enter_context(reader).schema
    known, places = set(options.categories or ()), text.places
    types = {}
    for key, name in zip(choice.columns, choice.names, strict=True):
        kind = guessed.field(places[key]).type
        if name in known:
            types[key] = pa.string()
        elif pa.types.is_boolean(kind):
            types[key] = pa.bool_()
        else:
            types[key] = pa.string() if pa.types.is_string(kind) or pa.types.is_temporal(kind) else pa.float64()
    return {**dict.fromkeys(choice.keep, pa.string()), **types}


def _open_csv(text: TextTable, rows: Any, choice: ColumnChoice, types: Mapping[str, Any], options: Options) -> Any:
    """Open rows as batches; None where there are none."""
    try:
        return pacsv.open_csv(
            rows,
            pacsv.ReadOptions(block_size=BATCH_BYTES, column_names=text.names),
            text.parsing,
            text.conversion(choice, types, options.missing),
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV file" in str(error):
            return None
        raise


def _odd_cell(error: Exception, choice: ColumnChoice, done: int, source: str) -> Exception:
    """Return Arrow's error about a cell or a row, with the name of its column."""
    if ragged := re.search(r"Expected (\d+) columns, got (\d+)", str(error)):
        expected, found = ragged.groups()
        return InputError(
            f"{source}: below row {done:,}: {found} columns found, {expected} expected as in the header: fix it"
        )
    if (odd := re.search(r"column #(\d+): .*invalid value '(.*)'", str(error), re.DOTALL)) is None:
        return error
    name, cell = choice.wanted[int(odd[1])], odd[2][:40]
    return InputError(f"{source}: below row {done:,}, column {name!r}: {cell!r} is not a number; fix the cell")


def _batch_rows(choice: ColumnChoice, width: int) -> int:
    return max(1, min(MAX_BATCH_ROWS, BATCH_BYTES // (4 * max(width, len(choice.wanted)))))
