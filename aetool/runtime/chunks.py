"""Many rows through one session: cut into chunks, spread over the cores, written in place."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aetool.runtime._binding import Array, Binding
from aetool.runtime._native_calls import call_native

CHUNK_NUMBERS = 256 * 1024
"""Numbers in the rows of one chunk: a megabyte, so that its activations stay in a core's cache."""
MIN_CHUNK_ROWS, MAX_CHUNK_ROWS = 64, 4096
SMALLEST_POWER = 16
"""Size from which all chunks are powers of two, where they have few sizes."""


def largest_chunk(numbers: int) -> int:
    """Return the largest number of rows in one chunk, where a row holds or gives `numbers` numbers."""
    return max(MIN_CHUNK_ROWS, min(MAX_CHUNK_ROWS, CHUNK_NUMBERS // max(1, numbers)))


def chunk_size(rows: int, largest: int, workers: int) -> int:
    """Return the rows in each chunk but the last: at most `largest`, and as many chunks for each of `workers`."""
    chunks = -(-rows // largest)
    return -(-rows // (-(-chunks // workers) * workers))


def cut(rows: int, largest: int, workers: int, *, few_sizes: bool = False) -> list[slice]:
    """Return the chunks of `rows` rows; with `few_sizes` some more of them, in few sizes for any `rows`."""
    size, start, chunks = chunk_size(rows, largest, workers), 0, []
    while start < rows:
        left = rows - start
        if few_sizes:
            size = left if left < SMALLEST_POWER else _power_of_two(min(size, left))
        chunks.append(slice(start, min(start + size, rows)))
        start += size
    return chunks


def _power_of_two(number: int) -> int:
    """Return the largest power of two that is not above `number`."""
    return 1 << (number.bit_length() - 1)


def run_chunks(
    session: Any,
    source: str,
    rows: Array,
    outputs: Mapping[str, Array],
    *,
    largest: int,
    workers: int,
    few_sizes: bool = False,
) -> None:
    """Run `session` on `rows`, (rows, ...), and write each of `outputs`: name -> (rows, ...), C-ordered.

    `workers` threads work, the calling one among them. Nothing is copied, and what a chunk needs besides is all
    the memory that is taken.
    """

    def begin() -> Callable[[slice], None]:
        binding = Binding(session)

        def work(chunk: slice) -> None:
            binding.features(source, rows[chunk])
            for name, whole in outputs.items():
                binding.output(name, whole[chunk])
            call_native(binding.run)

        return work

    share(cut(len(rows), largest, workers, few_sizes=few_sizes), workers, begin)


def share(chunks: Sequence[slice], workers: int, begin: Callable[[], Callable[[slice], None]]) -> None:
    """Work on chunks in `workers` threads, the calling one among them, each with a function that `begin` gives."""
    waiting = iter(chunks)  # its next() is one step: no two threads get the same chunk
    over = threading.Event()

    def run() -> None:
        try:
            work = begin()
            # Looked at before a chunk is taken: one that was taken is run.
            while not over.is_set() and (chunk := next(waiting, None)) is not None:
                work(chunk)
        finally:
            over.set()  # nothing is left, or an error ends the others' work too

    helpers = [_Helper(run) for _ in range(min(workers, len(chunks)) - 1)]
    try:
        for helper in helpers:
            helper.start()
        run()
    finally:
        _end(over, helpers)
    for helper in helpers:
        if helper.error is not None:
            raise helper.error


def _end(over: threading.Event, helpers: Sequence["_Helper"]) -> None:
    """Wait until all threads have let go of the arrays, even when interrupted, before an error is raised."""
    try:
        over.set()
        for helper in helpers:
            helper.wait()
    except BaseException:
        _end(over, helpers)
        raise


class _Helper:
    """Thread that works beside the caller's and keeps its error."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.error: BaseException | None = None
        self._work, self._done = work, threading.Event()
        self._thread = threading.Thread(target=self._run, name="aetool")

    def start(self) -> None:
        try:
            self._thread.start()
        except RuntimeError:  # the interpreter is ending and starts no more threads; the caller's may go on
            self._run()

    def wait(self) -> None:
        if self._thread.ident is not None:
            self._done.wait()  # `join` alone: after an interrupt inside it, Python takes the thread for ended
            self._thread.join()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self.error = error
        finally:
            self._done.set()
