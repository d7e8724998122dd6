"""Batches of rows from a file that need not fit in memory."""

import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.files import DEFAULT_LIMITS, Limits
from aetool.errors import InputError
from aetool.tables._binary_files import is_text, parquet_names, spelled_out_bytes
from aetool.tables._choice import ColumnChoice, Options
from aetool.tables._csv_files import parts, require_commas, require_narrow
from aetool.tables.columns import assemble_float32
from aetool.tables.formats import pa, pacsv, pq, reading, require_pyarrow

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
    options = Options(keep=keep, only=only, categories=categories, limits=limits)
    with reading(source, ending):
        read = _parquet if ending == ".parquet" else _csv
        for choice, table, share in read(opened, source, options, width):
            data = {name: table.column(name) for name in choice.wanted}
            kept = {name: data[name] for name in choice.keep}
            yield Batch(assemble_float32(choice, data, source), kept, share)


_Part = tuple[ColumnChoice, Any, float]


def _parquet(opened: Callable[[], Any], source: str, options: Options, width: int) -> Iterator[_Part]:
    with opened() as stream, pq.ParquetFile(stream, pre_buffer=False) as file:
        schema = file.schema_arrow
        choice = options.choose(parquet_names(schema), source)
        rows, done = file.metadata.num_rows, 0
    if rows == 0:
        yield choice, schema.empty_table(), 1.0
        return
    text = [name for name in choice.wanted if is_text(schema.field(name).type)]
    # Arrow's own choice, pre_buffer, keeps every row group it has read until the file is closed.
    how = {"buffer_size": BUFFER_BYTES, "pre_buffer": False, "read_dictionary": text}
    with opened() as stream, pq.ParquetFile(stream, **how) as file:
        for batch in file.iter_batches(_batch_rows(choice, width), columns=choice.wanted):
            table = pa.Table.from_batches([batch])
            size = spelled_out_bytes({name: table.column(name) for name in text}, source, options.limits)
            step = max(1, len(table) * TEXT_BYTES // max(size, TEXT_BYTES))
            for start in range(0, len(table), step):
                part = _spelled_out(table.slice(start, step), text, schema)
                done += len(part)
                yield choice, part, done / rows


def _spelled_out(table: Any, text: Sequence[str], schema: Any) -> Any:
    """Return `table` without dictionaries in its columns `text`, in their own types."""
    for name in text:
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, table.column(name).cast(schema.field(name).type))
    return table


def _csv(opened: Callable[[], Any], source: str, options: Options, width: int) -> Iterator[_Part]:
    codec = _CODECS.get(streamed_ending(source) or "")
    # The types are settled beforehand: a reader that guesses them from the first rows fails on later ones.
    with ExitStack() as stack:
        raw = opened()
        require_narrow(parts(_text(stack, raw, codec)), source, options.limits)
        raw.seek(0)
        guessed = _open_csv(stack, raw, codec).schema
    require_commas(guessed.names, source)
    choice = options.choose(guessed.names, source)
    numbers = set(choice.columns) - set(options.categories or ())
    boolean = {name for name in numbers if pa.types.is_boolean(guessed.field(name).type)}
    types = {
        name: pa.bool_() if name in boolean else pa.float64() if name in numbers else pa.string()
        for name in choice.wanted
    }
    done, step = 0, _batch_rows(choice, width)
    with ExitStack() as stack:
        raw = opened()
        size = raw.size()
        reader = _open_csv(stack, raw, codec, types)
        try:
            for batch in reader:
                for start in range(0, batch.num_rows, step):
                    part = batch.slice(start, step)
                    done += part.num_rows
                    yield choice, pa.Table.from_batches([part]), min(raw.tell() / size, 1.0)
        except pa.ArrowInvalid as error:
            raise _odd_cell(error, choice, done, source) from error
        if not done:
            yield choice, reader.schema.empty_table(), 1.0


def _text(stack: ExitStack, raw: Any, codec: str | None) -> Any:
    stream = stack.enter_context(raw)
    return stream if codec is None else stack.enter_context(pa.CompressedInputStream(stream, codec))


def _open_csv(stack: ExitStack, raw: Any, codec: str | None, types: Mapping[str, Any] | None = None) -> Any:
    return stack.enter_context(
        pacsv.open_csv(
            _text(stack, raw, codec),
            pacsv.ReadOptions(block_size=BATCH_BYTES),
            pacsv.ParseOptions(newlines_in_values=True),
            pacsv.ConvertOptions(column_types=types, include_columns=None if types is None else list(types)),
        )
    )


def _odd_cell(error: Exception, choice: ColumnChoice, done: int, source: str) -> Exception:
    """Return Arrow's error about a cell, with the name of its column."""
    found = re.search(r"column #(\d+): .*invalid value '(.*)'", str(error), re.DOTALL)
    if found is None:
        return error
    name, cell = choice.wanted[int(found[1])], found[2][:40]
    return InputError(f"{source}: below row {done:,}, column {name!r}: {cell!r} is not a number; mend the cell")


def _batch_rows(choice: ColumnChoice, width: int) -> int:
    return max(1, min(MAX_BATCH_ROWS, BATCH_BYTES // (4 * max(width, len(choice.wanted)))))
