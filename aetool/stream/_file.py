"""One input file to one output file, read, computed and written at the same time, in any engine."""

import json
import secrets
from collections.abc import Callable, Generator, Iterable
from dataclasses import asdict, dataclass
from queue import Empty, Queue
from threading import Event, Thread
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from aetool.bundle.schema import loads
from aetool.choices import CALLS
from aetool.errors import AetoolError, InputError, OutputError, reason_of
from aetool.runtime.session import AutoencoderSession
from aetool.stream._inputs import InputFile, batches_of, require_apart
from aetool.stream._task import Task, fingerprint
from aetool.tables.filesystems import appearing, locate, make_folder
from aetool.tables.streaming import Batch

# Steps that overlap: each in a thread of its own, a few items ahead of the next.

T = TypeVar("T")
DEPTH = 2
"""Largest number of items that wait between two steps: it bounds the memory."""
_NOTICE_S = 0.02


@dataclass(frozen=True, slots=True)
class _Over:
    error: BaseException | None


def ahead(items: Generator[T, None, None]) -> Generator[T, None, None]:
    """Yield the items of a generator, which runs ahead in a thread; its errors are raised here.

    Closing this closes the other, and waits for its thread.
    """
    queue: Queue[Any] = Queue(DEPTH)
    closed = Event()

    def fetch() -> None:
        over = _Over(None)
        try:
            for item in items:
                queue.put(item)
                if closed.is_set():
                    break
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that takes the items
            over = _Over(error)
        finally:
            items.close()
            queue.put(over)

    thread = Thread(target=fetch, name="aetool-ahead", daemon=True)
    thread.start()
    try:
        while not isinstance(item := queue.get(), _Over):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        closed.set()
        while thread.is_alive():  # it may wait for room
            try:
                queue.get(timeout=_NOTICE_S)
            except Empty:
                continue
        thread.join()


FOOTER = b"aetool"
"""Key in the output's Parquet metadata that names its task and its input."""
GROUP_BYTES = 16 << 20
"""Bytes of results in one row group."""
_Results = tuple[Any, float]

Advance = Callable[[int, float], None]
"""Function that is called after every batch with its rows, and the share of the file that is done."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of rows in an output."""

    rows: int
    anomalies: int = 0
    not_finite: int = 0
    """Number of rows without a finite score."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result for one input file."""

    source: InputFile
    counts: Counts | None
    error: str = ""
    """Reason why it could not be read; empty when it was."""


def run_shard(
    model: AutoencoderSession, task: Task, source: InputFile, output: str, advance: Advance | None = None
) -> Outcome:
    """Compute the rows of `source` into its file below the directory `output`, which appears whole or not at all.

    Reading, computing and writing overlap. Running it twice leaves what running it once does.

    Raises:
        OutputError: the output cannot be written.
    """
    place, folder = locate(output)
    path = f"{folder}/{source.output}"
    temporary = f"{folder}/.aetool-{secrets.token_hex(8)}.tmp"
    width = {"score": 1, "encode": model.embedding_dim, "reconstruct": model.n_features}[task.command]
    batches = batches_of(source, model, task, width)
    results = ahead(_computed(model, task, ahead(batches), source))
    origin = {"task": fingerprint(task.describe(model)), "size": source.size, "modified": source.modified}
    try:
        make_folder(place, folder, source.output)
        with appearing(place, path, temporary) as stream:
            return Outcome(source, _write(stream, results, origin, advance, scored=task.command == "score"))
    except InputError as error:
        return Outcome(source, None, str(error))
    except pa.ArrowException as error:
        reason = reason_of(error, 200)
        return Outcome(source, None, f"{source.path}: columns that Parquet cannot hold: {reason}; keep others")
    except AetoolError:
        raise
    except OSError as error:
        reason = error.strerror or reason_of(error)
        raise OutputError(
            f"{output}/{source.output}: could not be written: {reason}; check the free space and the permissions, "
            "and continue with --resume"
        ) from error
    finally:
        results.close()


def counts_of(system: Any, path: str, task: str, source: InputFile) -> Counts | None:
    """Return the counts of the output at `path`, if it was made by this task from this very input; else None."""
    if not system.get_file_info(path).is_file:
        return None
    try:
        with system.open_input_file(path) as stream:
            footer = loads(pq.read_metadata(stream).metadata[FOOTER])
        origin = {"task": task, "size": source.size, "modified": source.modified}
        return Counts(**footer["counts"]) if footer["origin"] == origin else None
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):  # damaged, or not one of ours
        return None


def _computed(
    model: AutoencoderSession, task: Task, batches: Generator[Batch, None, None], source: InputFile
) -> Generator[_Results, None, None]:
    """Yield Arrow tables of results."""
    try:
        for batch in batches:
            outputs = model.run(CALLS[task.command], batch.values)
            columns = _columns(model, task.command, outputs)
            require_apart(source, batch.kept, columns)
            results = {name: pa.array(column) for name, column in columns.items()}
            yield pa.table({**batch.kept, **results}), batch.share
    finally:
        batches.close()


def _columns(model: AutoencoderSession, command: str, outputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    if command == "score":
        return {name: outputs[name] for name in ("score", "is_anomaly")}
    name = {"encode": "embedding", "reconstruct": "reconstruction"}[command]
    if command == "reconstruct" and model.categories:
        return model.to_columns(outputs[name])
    columns = _transposed(outputs[name])
    names = model.feature_names if command == "reconstruct" else ()
    return dict(zip(names or [f"{name}_{index}" for index in range(len(columns))], columns, strict=True))


def _transposed(values: NDArray[Any]) -> NDArray[Any]:
    """Return (rows, columns) as (columns, rows), C-ordered."""
    columns = np.empty(values.shape[::-1], values.dtype)
    for start in range(0, len(values), 4096):  # in blocks that the cache holds
        block = slice(start, start + 4096)
        columns[:, block] = values[block].T
    return columns


def _write(
    stream: Any, results: Iterable[_Results], origin: dict[str, Any], advance: Advance | None, *, scored: bool
) -> Counts:
    rows = anomalies = not_finite = 0
    waiting: list[Any] = []
    writer = None
    try:
        for table, share in results:
            if writer is None:
                text = [field.name for field in table.schema if not pa.types.is_floating(field.type)]
                # lz4 and no dictionaries for numbers, which seldom repeat: half the time of Parquet's defaults.
                writer = pq.ParquetWriter(stream, table.schema, compression="lz4", use_dictionary=text)
            rows += len(table)
            if scored:
                anomalies += int(np.count_nonzero(table["is_anomaly"]))
                not_finite += int(np.count_nonzero(~np.isfinite(table["score"])))
            waiting.append(table)
            if sum(part.nbytes for part in waiting) >= GROUP_BYTES:
                writer.write_table(pa.concat_tables(waiting))
                waiting.clear()
            if advance is not None:
                advance(len(table), share)
        assert writer is not None  # there is one batch at least
        writer.write_table(pa.concat_tables(waiting))
        counts = Counts(rows, anomalies, not_finite)
        writer.add_key_value_metadata({FOOTER: json.dumps({"origin": origin, "counts": asdict(counts)}).encode()})
        return counts
    finally:
        if writer is not None:
            writer.close()
