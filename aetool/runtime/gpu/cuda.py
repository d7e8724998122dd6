"""Page-locked memory for CUDA.

Written from onnxruntime's documentation; not measured on a GPU yet.
"""

import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.errors import InputError
from aetool.runtime.gpu.arrays import DTYPES
from aetool.runtime.native_calls import call_native
from aetool.runtime.ort import open_session
from aetool.runtime.providers import PROVIDERS, onnxruntime

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


def capturing_session(model: bytes, where: str) -> Any:
    """A session that captures what it runs as a CUDA graph, for one `CapturedBatch`.

    Raises:
        ProviderError: CUDA does not work here, or does not take every node.
        BundleError: onnxruntime refuses the model.
    """
    return open_session(model, PROVIDERS["cuda"], where=where, provider_options={"enable_cuda_graph": "1"})


class CapturedBatch:
    """Batches of one fixed size through a captured CUDA graph: one launch instead of one for each kernel.

    For few rows at high rates. onnxruntime allows no other thread in a session that captures and keeps a capture
    for each thread: so the object belongs to the thread that made it.
    """

    def __init__(self, session: Any, rows: int, device: str = "cuda") -> None:
        """Bind arrays of `rows` rows on the device, and capture."""
        new = onnxruntime().OrtValue.ortvalue_from_shape_and_type
        self._session, self._thread = session, threading.get_ident()
        self._binding = session.io_binding()
        given = session.get_inputs()[0]
        self._shape = (rows, *given.shape[1:])
        self._given = new(self._shape, np.float32, device, 0)
        self._binding.bind_ortvalue_input(given.name, self._given)
        self._results = {}
        for output in session.get_outputs():
            value = new((rows, *output.shape[1:]), DTYPES[output.type], device, 0)
            self._results[output.name] = value
            self._binding.bind_ortvalue_output(output.name, value)
        self.run(np.zeros(self._shape, np.float32))  # the first run captures

    def run(self, rows: NDArray[np.float32]) -> Outputs:
        """All outputs for float32 rows, exactly as many as were captured.

        Raises:
            InputError: another shape or type, or another thread.
        """
        if threading.get_ident() != self._thread:
            raise InputError("a captured batch belongs to the thread that made it; make one in each thread")
        if rows.shape != self._shape or rows.dtype != np.float32:
            raise InputError(
                f"expected float32 rows of shape {self._shape}, as captured, found {rows.dtype} of {rows.shape}; "
                "make a CapturedBatch for that shape"
            )
        call_native(self._given.update_inplace, rows)  # new contents; the addresses are part of the capture
        call_native(self._session.run_with_iobinding, self._binding)
        return {name: np.array(value.numpy()) for name, value in self._results.items()}
