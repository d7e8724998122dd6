"""Many rows from the host through a device and back: chunks in page-locked memory, copies beside the computing.

A device copies from and to page-locked memory at the full speed of the bus, and while it does so it computes for
another chunk. So each lane has its own page-locked memory and its own bindings, and each thread takes a lane: it
fills the memory, onnxruntime copies and computes in a stream of that run, it empties the memory; the other lanes
are meanwhile in the other stages. Every chunk has the same size, the last one with leftovers behind its rows, so
that shapes never change; a row does not depend on its neighbours.

Tested with CPU sessions, whose lanes are ordinary memory; not measured on a GPU yet (benchmarks/gpu.py does it).
"""

import ctypes
import queue
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.runtime._native_calls import call_native
from aetool.runtime.providers import PROVIDERS, onnxruntime

CHUNK_BYTES = 8 << 20
"""Bytes of the widest array of a chunk: enough for the full speed of the bus, and a small part of a large job."""
LANES = 4
"""Filling and emptying on the host takes as long as the copies on the bus: two lanes for each."""

Outputs = dict[str, NDArray[Any]]


@cache
def pinned_memory() -> Any:
    """Return the OrtMemoryInfo of page-locked host memory, for `Staging`; None where onnxruntime offers none.

    onnxruntime allocates such memory for a device of an execution provider that was registered as a library; the
    CUDA provider of its own distribution is registered as one here, beside its built-in form.
    """
    ort = onnxruntime()
    name = PROVIDERS["cuda"].registered
    if not _devices(ort, name):
        folder = Path(ort.__file__).parent / "capi"
        names = ("libonnxruntime_providers_cuda.so", "onnxruntime_providers_cuda.dll")
        libraries = [folder / name for name in names if (folder / name).exists()]
        if not libraries:
            return None
        try:
            ort.register_execution_provider_library(name, str(libraries[0]))
        except Exception:  # noqa: BLE001 - onnxruntime's errors share no public base; copies are slower, no more
            return None
    devices = _devices(ort, name)
    return devices[0].memory_info(ort.OrtDeviceMemoryType.HOST_ACCESSIBLE) if devices else None


def _devices(ort: Any, name: str) -> list[Any]:
    return [device for device in ort.get_ep_devices() if device.ep_name == name]


class Staging:
    """Lanes of one session; threads may share it."""

    def __init__(
        self,
        session: Any,
        *,
        device: str = "cuda",
        memory: Any = None,
        outputs: Sequence[str] | None = None,
        chunk_bytes: int = CHUNK_BYTES,
        lanes: int = LANES,
    ) -> None:
        """Allocate the lanes.

        Args:
            session: an onnxruntime session with one input of float32, (rows, ...).
            device: where the session computes, in onnxruntime's words.
            memory: an OrtMemoryInfo of page-locked memory, see `pinned_memory`; None: ordinary memory.
            outputs: names of those that `run` gives; None for all.
            chunk_bytes: size of the widest array of a chunk.
            lanes: chunks under way at once.
        """
        shape = tuple(session.get_inputs()[0].shape[1:])
        row = np.zeros((1, *shape), np.float32)
        names = [output.name for output in session.get_outputs()] if outputs is None else list(outputs)
        values = call_native(session.run, names, {session.get_inputs()[0].name: row})
        self._row_outputs = dict(zip(names, values, strict=True))  # their types, and shapes of one row
        widest = max(row.nbytes, *(value.nbytes for value in values))
        self.chunk_rows = max(1, chunk_bytes // widest)
        self._lanes: queue.SimpleQueue[_Lane] = queue.SimpleQueue()
        self._count = lanes
        for _ in range(lanes):
            self._lanes.put(_Lane(session, self.chunk_rows, row, self._row_outputs, device, memory))

    def run(self, rows: NDArray[np.float32]) -> Outputs:
        """Return all outputs for `rows`, (rows, ...); equal to one run over all of them."""
        whole = {
            name: np.empty((len(rows), *values.shape[1:]), values.dtype)
            for name, values in self._row_outputs.items()
        }

        def fill(start: int) -> None:
            part = slice(start, start + self.chunk_rows)
            lane = self._lanes.get()
            try:
                lane.run(rows[part], {name: values[part] for name, values in whole.items()})
            finally:
                self._lanes.put(lane)

        starts = range(0, len(rows), self.chunk_rows)
        if len(starts) <= 1:
            for start in starts:
                fill(start)
            return whole
        with ThreadPoolExecutor(min(self._count, len(starts))) as pool:
            try:
                futures = [pool.submit(fill, start) for start in starts]
            except RuntimeError:  # the interpreter is ending and starts no more threads; this one may go on
                futures = []
                for start in starts:
                    fill(start)
            for future in futures:
                future.result()
        return whole


class _Lane:
    """Memory for one chunk on the host and on the device, bound once."""

    def __init__(
        self, session: Any, rows: int, row: NDArray[np.float32], outputs: Outputs, device: str, memory: Any
    ) -> None:
        new = onnxruntime().OrtValue.ortvalue_from_shape_and_type
        self._session = session
        self._binding = session.io_binding()
        self._held = [new((rows, *row.shape[1:]), np.float32, memory_info=memory)]
        self._given = _view(self._held[0], row.dtype)
        self._given[:] = 0
        # Bound is an array on the device, which the page-locked one is copied into: binding the latter would copy
        # it there once, now, and never again.
        self._on_device = new((rows, *row.shape[1:]), np.float32, device, 0)
        self._binding.bind_ortvalue_input(session.get_inputs()[0].name, self._on_device)
        self._results: Outputs = {}
        for name, values in outputs.items():
            value = new((rows, *values.shape[1:]), values.dtype, memory_info=memory)
            self._held.append(value)
            self._results[name] = _view(value, values.dtype)
            self._binding.bind_ortvalue_output(name, value)

    def run(self, rows: NDArray[np.float32], into: Outputs) -> None:
        self._given[: len(rows)] = rows
        call_native(self._on_device.update_inplace, self._given)
        call_native(self._session.run_with_iobinding, self._binding)
        for name, values in into.items():
            values[:] = self._results[name][: len(rows)]


def _view(value: Any, dtype: Any) -> NDArray[Any]:
    """Return the memory of an OrtValue on the host, page-locked or not, as an array. The value must be kept.

    Not `value.numpy()`: whether that is a view or a copy depends on the kind of memory.
    """
    count = int(np.prod(value.shape()))
    memory = (ctypes.c_char * (count * np.dtype(dtype).itemsize)).from_address(value.data_ptr())
    return np.frombuffer(memory, dtype).reshape(value.shape())
