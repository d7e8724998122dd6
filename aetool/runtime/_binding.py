"""Sessions bound to memory by its address: nothing allocated, nothing copied by onnxruntime."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.runtime._native_calls import flushing

Array = NDArray[Any]
RowKind = tuple[tuple[int, ...], np.dtype[Any]]
"""Shape and type of one row."""
_CPU_MEMORY = "Cpu"
"""onnxruntime's name of the memory that its own CPU provider reads."""


class Binding:
    """Input and output memory of a session: arrays that must outlive each run."""

    def __init__(self, session: Any) -> None:
        """Bind nothing yet."""
        self._binding = session.io_binding()
        try:  # onnxruntime's Python around its own call costs a tenth of a row
            function, self.bound = session._sess.run_with_iobinding, self._binding._iobinding
        except AttributeError:  # another release
            function, self.bound = session.run_with_iobinding, self._binding
        self.function: Callable[[Any, None], None] = flushing(function)
        """Function that runs on `bound`, with options None."""

    def run(self) -> None:
        """Run the session on what is bound."""
        self.function(self.bound, None)

    def features(self, name: str, array: Array) -> None:
        """Read the input `name` from `array`, C-ordered; see `reads_in_place` for when it is read."""
        _bind(self._binding.bind_input, name, array)

    def output(self, name: str, array: Array) -> None:
        """Write the output `name` into `array`, C-ordered."""
        _bind(self._binding.bind_output, name, array)


Ready = tuple[Array, Callable[[Any, None], None], Any, Callable[[], Any], dict[str, Array]]
"""A session bound to buffers for few rows, where every allocation shows: features, run, bound, take, outputs.

`features[...] = rows; run(bound, None); take()` gives a copy of what was wanted of `outputs`, which the next run
overwrites; whoever holds it runs it alone. A plain tuple: the weights push what lies between two rows out of the
cache, and each object more to look at is fetched again.
"""


def ready(
    session: Any,
    source: str,
    row: tuple[int, ...],
    batch: int | None,
    kinds: Mapping[str, RowKind],
    wanted: str | Sequence[str],
) -> Ready:
    """Bind a session to buffers for few rows."""
    rows = 1 if batch is None else batch
    features: Array = np.zeros((rows, *row), np.float32)
    outputs = {name: np.empty((rows, *shape), dtype) for name, (shape, dtype) in kinds.items()}
    if isinstance(wanted, str):
        take = _copier(outputs[wanted], single=batch is None)
    else:
        copiers = {name: _copier(outputs[name], single=batch is None) for name in wanted}
        take = lambda: {name: copy() for name, copy in copiers.items()}  # noqa: E731 - as short as it is
    if reads_in_place(session):
        binding = Binding(session)
        binding.features(source, features)
        for name, buffer in outputs.items():
            binding.output(name, buffer)
        return features, binding.function, binding.bound, take, outputs
    run_once = flushing(getattr(session, "_sess", session).run)

    def run(names: Any, _: None) -> None:
        # Not bound anew for each run: that takes longer than all the rest.
        for name, values in zip(names, run_once(names, {source: features}, None), strict=True):
            outputs[name][...] = values

    return features, run, [*outputs], take, outputs


def _copier(buffer: Array, *, single: bool) -> Callable[[], Any]:
    if not single:
        return buffer.copy
    return buffer[0].copy if buffer[0].ndim else partial(buffer.__getitem__, 0)


def reads_in_place(session: Any) -> bool:
    """Decide whether `session` reads a bound input in place, at each run.

    One whose provider has memory of its own, even on a CPU as OpenVINO's has, copies the input as it is bound,
    and runs on that copy whatever is written afterwards.
    """
    return all(memory.name == _CPU_MEMORY for memory in session.get_input_memory_infos())


def _bind(bind: Callable[..., None], name: str, array: Array) -> None:
    bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
