"""One graph of a bundle on a GPU: rows of the host through page-locked memory, device arrays in place.

Not measured on a GPU yet; the tests put a CPU session in its place.
"""

import os
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.errors import InputError
from aetool.runtime._binding import Array
from aetool.runtime._inputs import require_out
from aetool.runtime._native_calls import call_native
from aetool.runtime.cpu import Call, Graph
from aetool.runtime.gpu._arrays import CUDA, Device, is_device_array, run_on_device
from aetool.runtime.gpu.pinned import Staging
from aetool.runtime.ort import run_failed

# From how many rows on a GPU is faster than the CPU: measured here, not assumed.
#
# For few rows the launches and copies of a GPU cost more than the whole computation on the CPU; where that turns
# depends on the graph, the CPU, the GPU and the bus between them.

BATCHES = tuple(4**power for power in range(9))
"""1 to 65,536 rows."""
MOST_BYTES = 64 << 20
"""Bytes of rows above which larger batches are not tried."""
REPETITIONS = 5

Run = Callable[[NDArray[np.float32]], Any]
"""Function that runs rows, and returns when the results are in the memory of the host."""

_found: dict[Hashable, int | None] = {}
_measuring = threading.RLock()


def crossover(
    graph: Hashable,
    shape: tuple[int, ...],
    cpu: Run,
    gpu: Run,
    *,
    budget_s: float = 2.0,
    clock: Callable[[], float] = time.perf_counter,
) -> int | None:
    """Return the fewest rows from which `gpu` is faster than `cpu`; None: it never was.

    Measured once per process and graph, in `budget_s` and the time of the first run of both; the call that reaches
    the end of the budget is finished.

    Args:
        graph: key under which the result is kept.
        shape: shape of one row.
        cpu: the contestant for few rows.
        gpu: the contestant for many.
        budget_s: seconds for all batches.
        clock: returns seconds.
    """
    if graph not in _found:
        with _measuring:  # one at a time: two measurements at once would spoil each other
            if graph not in _found:
                _found[graph] = _measured(_rounds(shape, cpu, gpu, budget_s, clock))
    return _found[graph]


def _measured(rounds: Iterator[tuple[int, float, float]]) -> int | None:
    won: int | None = None
    for rows, cpu_s, gpu_s in rounds:
        if gpu_s >= cpu_s:
            won = None
        elif won is not None:
            return won  # twice in a row: no chance hit
        else:
            won = rows
    return won


def _rounds(
    shape: tuple[int, ...], cpu: Run, gpu: Run, budget_s: float, clock: Callable[[], float]
) -> Iterator[tuple[int, float, float]]:
    """Yield rows and the median seconds of both, for each batch that fits the budget."""
    some = np.random.default_rng(0).standard_normal((256, *shape), np.float32)
    end = None
    for batch in BATCHES:
        if batch * some[0].nbytes > MOST_BYTES:
            return
        rows = np.resize(some, (batch, *shape))
        cpu(rows)  # what a new shape costs once is not counted
        gpu(rows)
        end = end or clock() + budget_s  # nor against the budget what a GPU's very first run costs
        taken: tuple[list[float], list[float]] = ([], [])
        for _ in range(REPETITIONS):
            for run, times in zip((cpu, gpu), taken, strict=True):
                start = clock()
                if start >= end:
                    return
                run(rows)
                times.append(clock() - start)
        yield batch, median(taken[0]), median(taken[1])


def _after_fork_in_child() -> None:
    global _measuring  # noqa: PLW0603 - a thread that does not exist here may hold it
    _measuring = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


class DeviceGraph:
    """Counterpart of `Graph` on a GPU. Threads may share it."""

    def __init__(
        self,
        where: str,
        direct: Any,
        to_rows: Callable[[Any], Array],
        row: tuple[int, ...],
        outputs: Sequence[str],
        *,
        memory: Any,
        cpu: Graph | None,
        device: Device = CUDA,
        device_name: str = "cuda",
    ) -> None:
        """Keep the session; the crossover is measured at the first call.

        Args:
            where: name of the graph in messages.
            direct: session that computes on the device.
            to_rows: as for `Graph`.
            row: shape of one row of the input.
            outputs: names of the graph's outputs.
            memory: an OrtMemoryInfo of page-locked memory; None where there is none.
            cpu: runs batches for which the CPU is faster, as measured at the first call; None: all run on the GPU.
            device: the device as DLPack names it.
            device_name: the device as onnxruntime names it.
        """
        self.direct = direct
        self._where, self._to_rows, self._row, self._outputs = where, to_rows, row, tuple(outputs)
        self._source = direct.get_inputs()[0].name
        self._memory, self._cpu, self._device, self._device_name = memory, cpu, device, device_name
        self._lock = threading.RLock()
        self._staged: dict[tuple[str, ...], Staging] = {}

    def caller(self, output: str | None) -> Call:
        """Return a function as `Graph.caller` does; the results for rows on the device stay there."""
        names = self._outputs if output is None else (output,)
        on_cpu = self._cpu.caller(output) if self._cpu is not None else None

        def call(data: Any, out: Array | None = None) -> Any:
            if is_device_array(data):
                if out is not None:
                    raise InputError("out: results for rows on a device stay there; leave it out")
                found = self._on_device(data)
            else:
                rows = self._to_rows(data)
                if on_cpu is not None and self._is_few(rows):
                    return on_cpu(rows, out)
                found = self._on_host(names, rows, out)
            return found if output is None else found[output]

        return call

    def _on_device(self, data: Any) -> dict[str, Any]:
        found: dict[str, Any] = self._guarded(
            partial(run_on_device, self.direct, data, self._row, device=self._device), data
        )
        return found

    def _on_host(self, names: tuple[str, ...], data: Array, out: Array | None) -> dict[str, Any]:
        single = data.shape == self._row
        rows = data.reshape(-1, *self._row)
        staged = self._staging(names)
        if 0 < len(rows) <= staged.chunk_rows:
            run = partial(call_native, self.direct.run, names, {self._source: rows})
            found = dict(zip(names, self._guarded(run, data), strict=True))
        else:
            found = self._guarded(partial(staged.run, rows), data)
        if out is not None:
            values = found[names[0]]
            require_out(out, values.shape[1:] if single else values.shape, values.dtype, data)
            out[...] = values[0] if single else values
            return {names[0]: out}
        return {name: values[0] for name, values in found.items()} if single else found

    def _staging(self, names: tuple[str, ...]) -> Staging:
        with self._lock:
            if names not in self._staged:
                self._staged[names] = Staging(
                    self.direct, device=self._device_name, memory=self._memory, outputs=names
                )
            return self._staged[names]

    def _is_few(self, data: Array) -> bool:
        assert self._cpu is not None
        first = self._outputs[0]
        fewest = crossover(
            self._where,
            self._row,
            self._cpu.caller(first),
            lambda rows: self._on_host((first,), rows, None),
        )
        return fewest is None or len(data.reshape(-1, *self._row)) < fewest

    def _guarded(self, run: Callable[[], Any], data: Any) -> Any:
        try:
            return run()
        except (InputError, MemoryError):
            raise
        except Exception as error:  # onnxruntime's errors share no public base
            raise run_failed(error, self.direct, self._where, data.shape) from error
