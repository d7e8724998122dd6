"""One graph of a bundle on a GPU: rows of the host through page-locked memory, device arrays where they lie.

Not run on a GPU where it was written; the tests put a CPU session in its place.
"""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from aetool.errors import InputError
from aetool.runtime.bound import Array
from aetool.runtime.crossover import crossover
from aetool.runtime.device_arrays import CUDA, Device, is_device_array, run_on_device
from aetool.runtime.ending import call_native
from aetool.runtime.failures import run_failed
from aetool.runtime.graph import Call, Graph
from aetool.runtime.out import require_out
from aetool.runtime.staging import Staging


class DeviceGraph:
    """What `Graph` is for the CPU. Threads may share it."""

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
        """
        Args:
            where, direct, to_rows, row, outputs: as for `Graph`; `direct` computes on the device.
            memory: an OrtMemoryInfo of page-locked memory; None where there is none.
            cpu: runs batches for which the CPU is faster, as measured at the first call; None: nothing does.
        """
        self.direct = direct
        self._where, self._to_rows, self._row, self._outputs = where, to_rows, row, tuple(outputs)
        self._source = direct.get_inputs()[0].name
        self._memory, self._cpu, self._device, self._device_name = memory, cpu, device, device_name
        self._lock = threading.RLock()
        self._staged: dict[tuple[str, ...], Staging] = {}

    def caller(self, output: str | None) -> Call:
        """As `Graph.caller`; the results for rows on the device stay there."""
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
