"""One graph of a bundle on aetool's own core: a few rows at the least cost, many in chunks on all cores."""

import sys
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from aetool.core.native import LoadedProgram
from aetool.core.program import Program
from aetool.runtime._binding import Array, Binding
from aetool.runtime._inputs import require_out
from aetool.runtime._native_calls import call_native, flushing
from aetool.runtime.chunks import largest_chunk, share
from aetool.runtime.cpu import FEW_NUMBERS, FEW_ROWS, Call, Recycler
from aetool.runtime.ort import run_failed

ROWS_TOGETHER = 8
"""Rows that the core takes through its steps together (AETOOL_ROWS): chunks are whole multiples."""


class RowEngine(Protocol):
    """What answers for rows of a graph."""

    def caller(self, output: str | None) -> Call:
        """Return a function (data, out=None) -> `output` for `data`; all outputs by name with None."""

    def more(self, output: str) -> Callable[[Array], Any]:
        """Return a function (rows, *row) -> `output` for rows that are not checked again."""


class Products:
    """The products of a graph's last layer, by onnxruntime, for a program that goes on from there.

    onnxruntime multiplies matrices faster than the core, and the core does what comes after in one pass.
    """

    def __init__(self, where: str, direct: Any, open_chunked: Callable[[], Any], numbers: int) -> None:
        """Keep the sessions: one for all rows at once on all cores, one for chunks on a core each."""
        self._where, self._direct, self._open_chunked, self._chunked = where, direct, open_chunked, None
        self._source = direct.get_inputs()[0].name
        self._names, self._numbers = [direct.get_outputs()[0].name], numbers
        self._run_once = flushing(getattr(direct, "_sess", direct).run)

    def at_once(self, rows: Array) -> Array:
        """Return the products of (rows, *row), (rows, numbers)."""
        try:
            found: Array = call_native(self._run_once, self._names, {self._source: rows}, None)[0]
        except MemoryError:
            raise
        except Exception as error:  # onnxruntime's errors share no public base
            raise run_failed(error, self._direct, self._where, rows.shape) from error
        return found

    def worker(self, most: int) -> Callable[[Array], Array]:
        """Return a function for one thread: up to `most` rows -> their products, in memory that it uses again."""
        if self._chunked is None:
            self._chunked = self._open_chunked()
        session = self._chunked
        binding, room = Binding(session), np.empty((most, self._numbers), np.float32)

        def work(rows: Array) -> Array:
            products = room[: len(rows)]
            binding.features(self._source, rows)
            binding.output(self._names[0], products)
            try:
                call_native(binding.run)
            except MemoryError:
                raise
            except Exception as error:  # onnxruntime's errors share no public base
                raise run_failed(error, session, self._where, rows.shape) from error
            return products

        return work


class NativeGraph:
    """A program of the core, and what answers for more rows than it is the fastest for.

    Its results are the same bits whatever the batch and the thread; those of `rest` are onnxruntime's.
    """

    def __init__(
        self,
        program: Program,
        to_rows: Callable[[Any], Array],
        workers: int,
        *,
        chunk_rows: int | None = None,
        most_rows: int = sys.maxsize,
        rest: Callable[[], RowEngine] | None = None,
        products: Products | None = None,
    ) -> None:
        """Load the program.

        Args:
            program: the graph's program.
            to_rows: makes rows of what a caller gives.
            workers: threads that share many rows.
            chunk_rows: rows of one chunk at most; None for what fits a core's cache.
            most_rows: rows that the core answers for, where `rest` answers for more.
            rest: opens what answers for more; None: the core answers for all rows.
            products: give the program's second input, where it has one.
        """
        self._program = LoadedProgram(program)
        self._to_rows, self._row, self._workers = to_rows, program.row, workers
        self._kinds = {
            output.name: (output.shape, np.dtype(np.bool_ if output.decides else np.float32))
            for output in program.outputs
        }
        self._names = tuple(self._kinds)
        numbers = max(
            int(np.prod(shape)) for shape in (program.row, *(shape for shape, _ in self._kinds.values()))
        )
        largest = chunk_rows or largest_chunk(numbers)
        self._largest_chunk = max(ROWS_TOGETHER, largest // ROWS_TOGETHER * ROWS_TOGETHER)
        self._most_at_once = chunk_rows or 2 * self._largest_chunk  # as `Graph` has it
        self._few = max(1, min(FEW_ROWS, FEW_NUMBERS // numbers, most_rows))
        self.most_rows = sys.maxsize if rest is None else most_rows
        self._open_rest = rest
        self._rest: RowEngine | None = None
        self._products = products
        self._results = Recycler()

    def caller(self, output: str | None) -> Call:
        """Return a function (data, out=None) -> `output` for `data`, as `Graph.caller` does."""
        names = self._names if output is None else (output,)
        on_rest: list[Call] = []

        def more(rows: Array) -> Any:
            if len(rows) <= self.most_rows or output is None:
                return call(rows)
            if not on_rest and (rest := self._graph_for(len(rows))) is not None:
                on_rest.append(rest.more(output))
            return on_rest[0](rows)

        def call(data: Any, out: Array | None = None) -> Any:
            rows = self._to_rows(data)
            if (rest := self._graph_for(len(rows) if rows.shape != self._row else 1)) is not None:
                return rest.caller(output)(rows, out)
            found = self._run(names, rows, out)
            return found if output is None else found[output]

        if output is None or self._products is not None:
            return call
        return self._program.caller(self._names.index(output), self._few, call, more)

    def more(self, output: str) -> Callable[[Array], Any]:
        """Return a function (rows, *row) -> `output` for rows that are not checked again."""
        names, (shape, dtype) = (output,), self._kinds[output]
        products = self._products
        most = 0 if products is None else self._most_at_once
        targets: list[Array | None] = [None] * len(self._kinds)
        place = self._names.index(output)

        def call(rows: Array) -> Any:
            if products is None or not 0 < len(rows) <= most:
                return self._run(names, rows, None)[output]
            mine = targets.copy()
            mine[place] = found = np.empty((len(rows), *shape), np.float32)
            self._program.run(rows, mine, products.at_once(rows))
            return found if dtype == np.float32 else found != 0

        return call

    def _graph_for(self, rows: int) -> RowEngine | None:
        """Return the graph on onnxruntime, if that many rows are faster there."""
        if self._open_rest is None or rows <= self.most_rows:
            return None
        if self._rest is None:
            self._rest = self._open_rest()
        return self._rest

    def _run(self, names: tuple[str, ...], rows: Array, out: Array | None) -> dict[str, Array]:
        single = rows.shape == self._row
        batch = rows[None] if single else rows
        if out is not None:
            shape, dtype = self._kinds[names[0]]
            require_out(out, shape if single else (len(rows), *shape), dtype, rows)
        found: dict[str, Array] = {}
        for name in names:
            shape, dtype = self._kinds[name]
            whole = (len(batch), *shape)
            found[name] = self._results.empty(whole, dtype) if out is None else out.reshape(whole)
        if len(batch):
            self._compute(batch, found)
        if out is not None:
            return {names[0]: out}
        return {name: array[0] for name, array in found.items()} if single else found

    def _compute(self, rows: Array, outputs: dict[str, Array]) -> None:
        """Write outputs for (rows, *row), each (rows, ...)."""
        # The core gives decisions as 0 and 1.
        targets = [
            None
            if name not in outputs
            else outputs[name]
            if dtype == np.float32
            else np.empty(outputs[name].shape, np.float32)
            for name, (_, dtype) in self._kinds.items()
        ]
        products = self._products
        if products is not None and len(rows) <= self._most_at_once:
            self._program.run(rows, targets, products.at_once(rows))
        else:
            size = min(self._largest_chunk, -(-len(rows) // (self._workers * ROWS_TOGETHER)) * ROWS_TOGETHER)
            chunks = [slice(start, start + size) for start in range(0, len(rows), size)]

            def begin() -> Callable[[slice], None]:
                product = None if products is None else products.worker(size)

                def work(chunk: slice) -> None:
                    parts = [None if target is None else target[chunk] for target in targets]
                    part = rows[chunk]
                    self._program.run(part, parts, None if product is None else product(part))

                return work

            share(chunks, self._workers, begin)
        for (name, (_, dtype)), target in zip(self._kinds.items(), targets, strict=True):
            if target is not None and dtype != np.float32:
                np.not_equal(target, 0, out=outputs[name])
