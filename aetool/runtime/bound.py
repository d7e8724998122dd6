"""Sessions bound to memory by its address: nothing allocated, nothing copied by onnxruntime."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.runtime.denormals import flushing

Array = NDArray[Any]
RowKind = tuple[tuple[int, ...], np.dtype[Any]]
"""Shape and type of one row."""
_CPU_MEMORY = "Cpu"
"""onnxruntime's name of what its own CPU provider reads."""


class Binding:
    """Where a session reads its rows and writes its outputs: arrays that must outlive each `run`."""

    def __init__(self, session: Any) -> None:
        self._binding = session.io_binding()
        try:  # onnxruntime's Python around its own call costs a tenth of a row
            run = partial(session._sess.run_with_iobinding, self._binding._iobinding, None)
        except AttributeError:  # another release
            run = partial(session.run_with_iobinding, self._binding)
        self.run: Callable[[], None] = flushing(run)

    def features(self, name: str, array: Array) -> None:
        """Read the input `name` from `array`, C-ordered; see `reads_in_place` for when it is read."""
        _bind(self._binding.bind_input, name, array)

    def output(self, name: str, array: Array) -> None:
        """Write the output `name` into `array`, C-ordered."""
        _bind(self._binding.bind_output, name, array)


class Buffers:
    """A session bound to buffers for rows of one shape, for batches so small that every allocation shows.

    `features[...] = rows; run()` leaves the outputs in the buffers: take copies, the next run overwrites them.
    Whoever holds it runs it alone.
    """

    __slots__ = ("_run_once", "_session", "_source", "features", "outputs", "run", "take")

    def __init__(
        self, session: Any, source: str, row: tuple[int, ...], batch: int | None, outputs: Mapping[str, RowKind]
    ):
        """`batch` None: for one row without its batch axis."""
        self._session, self._source = session, source  # the binding does not keep the session
        rows = 1 if batch is None else batch
        self.features: Array = np.zeros((rows, *row), np.float32)
        self.take: dict[str, Callable[[], Any]] = {}
        """Output -> a function that copies it."""
        self.outputs = {name: np.empty((rows, *shape), dtype) for name, (shape, dtype) in outputs.items()}
        for name, buffer in self.outputs.items():
            if batch is not None:
                self.take[name] = buffer.copy
            else:
                self.take[name] = buffer[0].copy if buffer[0].ndim else partial(buffer.__getitem__, 0)
        self.run: Callable[[], None]
        if reads_in_place(session):
            binding = Binding(session)
            binding.features(source, self.features)
            for name, buffer in self.outputs.items():
                binding.output(name, buffer)
            self.run = binding.run
        else:
            self._run_once = flushing(getattr(session, "_sess", session).run)
            self.run = self._run_unbound

    def _run_unbound(self) -> None:
        # Not bound anew for each run: that takes longer than all the rest.
        found = self._run_once([*self.outputs], {self._source: self.features}, None)
        for buffer, values in zip(self.outputs.values(), found, strict=True):
            buffer[...] = values


def reads_in_place(session: Any) -> bool:
    """Whether `session` reads a bound input where it lies, at each run.

    One whose provider has memory of its own, even on a CPU as OpenVINO's has, copies the input as it is bound,
    and runs on that copy whatever is written afterwards.
    """
    return all(memory.name == _CPU_MEMORY for memory in session.get_input_memory_infos())


def _bind(bind: Callable[..., None], name: str, array: Array) -> None:
    bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
