"""Arrays on a device, in and out without a copy, by DLPack: torch, CuPy, JAX and others support it.

Streams. An input is requested from its producer for the default stream, and the device is waited for before the
run, so that whatever was under way in any stream of the producer is done. The run itself returns when the device
has finished, so a `DeviceArray` is complete at once, for every stream of its consumer.

Tested with CPU tensors, which take the same path. Not measured on CUDA tensors yet.
"""

import ctypes
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from aetool.errors import InputError
from aetool.runtime._native_calls import call_native
from aetool.runtime.cpu import row_kinds
from aetool.runtime.providers import onnxruntime

Device = tuple[int, int]
CPU: Device = (1, 0)
CUDA: Device = (2, 0)
"""Device of provider "cuda", as DLPack names it: kind and index."""
_NAMES = {1: "cpu", 2: "cuda"}
DTYPES: dict[str, DTypeLike] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}
"""onnxruntime's types of what graphs of autoencoders give, in numpy's."""


class DeviceArray:
    """Result on a device; `torch.from_dlpack(result)` and its like take it over without a copy."""

    def __init__(self, value: Any, session: Any) -> None:
        """Keep the session alive as long as the value."""
        self._value = value  # an onnxruntime.OrtValue
        self._session = session  # its memory comes from there

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(self._value.shape())

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of its numbers."""
        return np.dtype(DTYPES[self._value.data_type()])

    @property
    def device(self) -> Device:
        """Device as DLPack names it: kind and index."""
        return _device_of(self._value)

    def numpy(self) -> NDArray[Any]:
        """Return a copy in the memory of the host."""
        return np.array(self._value.numpy())

    def __dlpack_device__(self) -> Device:
        """Return the device."""
        return self.device

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: Device | None = None,
        copy: bool | None = None,
    ) -> Any:
        """Return a capsule as before DLPack 1.0, which every consumer takes; complete: no `stream` has to wait."""
        if copy or dl_device not in (None, self.device):
            raise BufferError(f"is on device {self.device} and is not copied; take it from there, or use numpy()")
        capsule = self._value.__dlpack__()
        if self.dtype == np.bool_:
            _mark_as_bool(capsule)
        return capsule

    def __repr__(self) -> str:
        """Show shape, type and device."""
        return f"<DeviceArray {self.dtype} {self.shape} on {_named(self.device)}>"


def is_device_array(data: Any) -> bool:
    """Decide whether `data` is on a CUDA device, so that `run_on_device` takes it as it is."""
    return hasattr(data, "__dlpack_device__") and hasattr(data, "__dlpack__") and _device_of(data)[0] == CUDA[0]


def run_on_device(
    session: Any, data: Any, shape: tuple[int, ...], what: str = "features", device: Device = CUDA
) -> dict[str, DeviceArray]:
    """Return all outputs of `session` for rows that are on its device already; they stay there.

    Args:
        session: an onnxruntime session with one input, on the provider of that device.
        data: an array on the device that speaks DLPack: float32, (rows, *shape), contiguous, without gradient.
        shape: of one row.
        what: what the rows are, for messages.
        device: of the session.

    Raises:
        InputError: the array is elsewhere, or not what the graph takes; nothing is converted in silence.
    """
    value = _wrapped(data, shape, what, device)
    if value.shape()[0] == 0:  # never to onnxruntime, see `Graph`
        return _no_rows(session, shape, device)
    binding = session.io_binding()
    binding.bind_ortvalue_input(session.get_inputs()[0].name, value)
    names = [output.name for output in session.get_outputs()]
    for name in names:
        binding.bind_output(name, _NAMES[device[0]], device[1])  # onnxruntime allocates it there
    binding.synchronize_inputs()
    call_native(session.run_with_iobinding, binding)
    return {name: DeviceArray(output, session) for name, output in zip(names, binding.get_outputs(), strict=True)}


def _no_rows(session: Any, shape: tuple[int, ...], device: Device) -> dict[str, DeviceArray]:
    """Return all outputs of `session` for no rows, on the device."""
    new = onnxruntime().OrtValue.ortvalue_from_shape_and_type
    kinds = row_kinds(session, session.get_inputs()[0].name, shape)
    return {
        name: DeviceArray(new((0, *sides), dtype, _NAMES[device[0]], device[1]), session)
        for name, (sides, dtype) in kinds.items()
    }


def _wrapped(data: Any, shape: tuple[int, ...], what: str, device: Device) -> Any:
    """Return `data` as an OrtValue over the same memory, if the graph takes it."""
    expected = f"{what}: expected float32 of shape (rows, {', '.join(map(str, shape))}) on {_named(device)}"
    if _device_of(data) != device:
        raise InputError(f"{expected}, found an array on {_named(_device_of(data))}; move it to {_named(device)}")
    try:
        # The call itself is guarded, not a list of classes: it runs the methods of whatever was given.
        value = onnxruntime().OrtValue.from_dlpack(data)
    except Exception as error:
        found = f"{type(data).__name__} of {getattr(data, 'dtype', 'an unknown type')}"
        raise InputError(
            f"{expected}, found {found} that cannot be shared as it is; make it float32, contiguous and free of "
            "gradients"
        ) from error
    if value.data_type() != "tensor(float)":
        raise InputError(f"{expected}, found {value.data_type()}; convert it to float32")
    found_shape = tuple(value.shape())
    if len(found_shape) != len(shape) + 1 or found_shape[1:] != shape:
        raise InputError(f"{expected}, found shape {found_shape}; give rows of that shape, also a single one")
    return value


def _device_of(data: Any) -> Device:
    kind, index = data.__dlpack_device__()
    return int(kind), int(index)


def _named(device: Device) -> str:
    return f"{_NAMES.get(device[0], f'DLPack device {device[0]}')}:{device[1]}"


class _DLTensor(ctypes.Structure):
    """Head of DLPack's DLTensor, as far as its type; a capsule's DLManagedTensor begins with it."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("type_code", ctypes.c_uint8),
        ("type_bits", ctypes.c_uint8),
        ("type_lanes", ctypes.c_uint16),
    )


_BOOL = 6  # kDLBool
_pointer_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


def _mark_as_bool(capsule: Any) -> None:
    """Set the type to bool: onnxruntime reports booleans as uint8, for which `~decisions` is 255 and 254."""
    _DLTensor.from_address(_pointer_of(capsule, b"dltensor")).type_code = _BOOL
