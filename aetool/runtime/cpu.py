"""One graph of a bundle, ready to run on one row, on a few, on many; large results in recycled memory."""

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.runtime import _native_calls as native_calls
from aetool.runtime._binding import Array, Ready, RowKind, ready
from aetool.runtime._inputs import require_out
from aetool.runtime._native_calls import call_native, flushing
from aetool.runtime.chunks import largest_chunk, run_chunks
from aetool.runtime.ort import run_failed

# Memory of large results, used again once the caller has let go of them.
#
# Memory that the system hands out anew is cleared page by page as it is first written: a fifth of the time of a
# whole bulk run.

MIN_BYTES = 1 << 20
"""Size in bytes below which the allocator keeps and reuses memory itself."""
BLOCKS_KEPT = 2

Block = NDArray[np.uint8]


class Recycler:
    """Allocator of arrays that reuses the memory of the last few that are not in use any more."""

    def __init__(self) -> None:
        """Begin without memory."""
        self._free: deque[Block] = deque(maxlen=BLOCKS_KEPT)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an array like `numpy.empty`: C-ordered, writable, the caller's own, content undefined."""
        size = math.prod(shape) * dtype.itemsize
        if size < MIN_BYTES:
            return np.empty(shape, dtype)
        return np.asarray(_Lease(self._block(size), self._free, shape, dtype))

    def _block(self, size: int) -> Block:
        for _ in range(BLOCKS_KEPT):
            try:
                block = self._free.popleft()  # one step: no two threads get the same
            except IndexError:
                break
            if size <= block.nbytes <= 2 * size:
                return block
            self._free.append(block)
        return np.empty(size, np.uint8)


class _Lease:
    """Base of an array and its views: freed with the last of them, it gives the block back."""

    __slots__ = ("__array_interface__", "_block", "_free")

    def __init__(self, block: Block, free: deque[Block], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._block, self._free = block, free
        self.__array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": dtype.str,
            "data": (block.ctypes.data, False),
        }

    def __del__(self) -> None:
        self._free.append(self._block)


FEW_ROWS, FEW_NUMBERS = 16, 32 * 1024
"""Largest batch, in rows and in numbers, with buffers of its own: allocating costs more than copying."""
Call = Callable[..., Any]
NDARRAY, FLOAT32 = np.ndarray, np.dtype(np.float32)
TYPES = {
    f"tensor({name})": np.dtype(kind)
    for name, kind in {
        "float": "f4",
        "double": "f8",
        "float16": "f2",
        "bool": "?",
        "int64": "i8",
        "int32": "i4",
    }.items()
}


class Graph:
    """A graph's sessions and buffers.

    A few rows run in buffers bound beforehand, more in one run over all cores, many in chunks that fit the cache,
    each on a core of its own. Threads may share it: each run takes buffers that nobody else has, and every result
    is the caller's own.
    """

    def __init__(
        self,
        where: str,
        direct: Any,
        open_chunked: Callable[[], Any],
        to_rows: Callable[[Any], Array],
        row: tuple[int, ...],
        outputs: Sequence[str],
        workers: int,
        *,
        chunk_rows: int | None = None,
        few_sizes: bool = False,
    ) -> None:
        """Keep the sessions; buffers are made at the first use."""
        self.direct = direct
        self._where, self._open_chunked, self._lock = where, open_chunked, threading.RLock()
        self._to_rows, self._row, self._outputs, self._workers = to_rows, row, tuple(outputs), workers
        self._few_sizes = few_sizes
        self._source = direct.get_inputs()[0].name
        # The public `run` checks what is checked here, and takes a tenth of a row's time for it.
        self._run_once = flushing(getattr(direct, "_sess", direct).run)
        try:
            self._kinds = row_kinds(direct, self._source, row)
        except Exception as error:  # onnxruntime's errors share no public base
            raise run_failed(error, direct, where, (1, *row)) from error
        self._results = Recycler()
        numbers = max(math.prod(shape) for shape in (row, *(self._kinds[name][0] for name in outputs)))
        self._largest_chunk = chunk_rows or largest_chunk(numbers)
        # Threads take a tenth of a millisecond to start, which two chunks do not make up for.
        self._most_at_once = chunk_rows or 2 * self._largest_chunk
        few = range(1, max(1, min(FEW_ROWS, FEW_NUMBERS // numbers)) + 1)
        self._few: list[tuple[int, ...]] = [row, *((rows, *row) for rows in few)]
        """Shapes of a few rows, and of one without its batch axis."""
        self._ready: dict[str | None, dict[tuple[int, ...], list[Ready]]] = {}
        """For each output, and for all: shape of a few rows -> free buffers."""

    def caller(self, output: str | None) -> Call:
        """Return a function (data, out=None) -> `output` for `data`, written into `out` where that is given.

        With `output` None it gives all outputs by name, and takes no `out`. For a few rows it calls nothing of
        ours and looks at as little as it can: the way to onnxruntime and back is a tenth of a row's time.

        The function raises:
            InputError: `data` are no rows of this graph, or `out` cannot hold the result.
            BundleError, ProviderError: onnxruntime fails, on the CPU or elsewhere.
        """
        to_rows, enter, leave = self._to_rows, native_calls.running.append, native_calls.running.pop
        names = self._outputs if output is None else (output,)
        few = self._ready.setdefault(output, {shape: [] for shape in self._few})
        more = None if output is None else self.more(output)

        def call(data: Any, out: Array | None = None) -> Any:
            if type(data) is not NDARRAY or data.dtype is not FLOAT32:
                data = to_rows(data)
            free = few.get(data.shape)
            if free is None:
                rows = to_rows(data)
                if out is None and more is not None:
                    return more(rows)
                found = self._run(names, rows, out)
                return found if output is None else found[output]
            if out is not None:
                self._require_out(out, names[0], data)
            try:
                mine = free.pop()  # one step: no two threads get the same
            except IndexError:
                batch = None if data.shape == self._row else len(data)
                mine = ready(self.direct, self._source, self._row, batch, self._kinds, output or names)
            features, run, bound, take, outputs = mine
            features[...] = data
            try:  # as `call_native` does
                enter(None)
                if native_calls.began:
                    native_calls.keep_out_daemons()
                run(bound, None)
            except Exception as error:  # onnxruntime's errors share no public base
                raise self._failed(error, data) from error
            finally:
                leave()
            if out is None:
                result = take()
            else:
                out[...] = outputs[names[0]]
                result = out
            free.append(mine)
            return result

        return call

    def more(self, output: str) -> Callable[[Array], Any]:
        """Return a function (rows, *row) -> `output` for more than a few rows, which are not checked again."""
        enter, leave = native_calls.running.append, native_calls.running.pop
        names, source = (output,), self._source
        most = 0 if self._few_sizes else self._most_at_once

        def call(rows: Array) -> Any:
            if not 0 < len(rows) <= most:
                return self._run(names, rows, None)[output]
            try:  # as `call_native` does, which would cost a tenth of the run
                enter(None)
                if native_calls.began:
                    native_calls.keep_out_daemons()
                return self._run_once(names, {source: rows}, None)[0]
            except MemoryError:
                raise
            except Exception as error:  # onnxruntime's errors share no public base
                raise self._failed(error, rows) from error
            finally:
                leave()

        return call

    def _run(self, names: tuple[str, ...], rows: Array, out: Array | None) -> dict[str, Array]:
        """Compute `names` for none or more than a few rows, (rows, *row); the first in `out` where it is given."""
        if out is not None:
            self._require_out(out, names[0], rows)
        if not len(rows):
            # Never to onnxruntime: some of its operators, LSTM and GRU among them, end the process on no rows.
            return {names[0]: out} if out is not None else self._new(names, 0)
        try:
            many = len(rows) > self._most_at_once
            if many or self._few_sizes:
                found = {names[0]: out} if out is not None else self._new(names, len(rows))
                run_chunks(
                    self._chunk_session(),
                    self._source,
                    rows,
                    found,
                    largest=self._largest_chunk,
                    workers=self._workers if many else 1,
                    few_sizes=self._few_sizes,
                )
                return found
            found = dict(zip(names, call_native(self._run_once, names, {self._source: rows}, None), strict=True))
        except MemoryError:
            raise
        except Exception as error:
            raise self._failed(error, rows) from error
        if out is not None:
            out[...] = found[names[0]]
            return {names[0]: out}
        return found

    def _new(self, names: tuple[str, ...], rows: int) -> dict[str, Array]:
        kinds = self._kinds
        return {name: self._results.empty((rows, *kinds[name][0]), kinds[name][1]) for name in names}

    def _require_out(self, out: Array, name: str, data: Array) -> None:
        shape, dtype = self._kinds[name]
        require_out(out, shape if data.shape == self._row else (len(data), *shape), dtype, data)

    def _chunk_session(self) -> Any:
        with self._lock:
            session = self._open_chunked()
            self._open_chunked = lambda: session
            return session

    def _failed(self, error: Exception, data: Array) -> Exception:
        return run_failed(error, self.direct, self._where, data.shape)


def row_kinds(session: Any, source: str, row: tuple[int, ...]) -> dict[str, RowKind]:
    """Return the shape and type of one row of each output."""
    outputs = session.get_outputs()
    shapes = [tuple(output.shape[1:]) for output in outputs]
    if all(isinstance(side, int) for shape in shapes for side in shape):
        return {output.name: (shape, TYPES[output.type]) for output, shape in zip(outputs, shapes, strict=True)}
    # Somebody else's graph that leaves a side open: a row shows it.
    names = [output.name for output in outputs]
    found = session.run(names, {source: np.zeros((1, *row), np.float32)})
    return {name: (values.shape[1:], values.dtype) for name, values in zip(names, found, strict=True)}
