"""Which execution provider runs a bundle: asked for means used, or an error."""

import ctypes
import sys
from functools import cache
from typing import Literal, NamedTuple

from aetool.errors import ProviderError, install_with
from aetool.runtime import openvino
from aetool.runtime.engine import onnxruntime

ProviderName = Literal["auto", "cpu", "cuda", "openvino"]
"""What a caller may ask for."""


class Provider(NamedTuple):
    """An execution provider under aetool's name for it."""

    name: ProviderName
    """Word used in aetool: cpu, cuda, openvino."""
    registered: str
    """onnxruntime's own name for it."""
    extra: str
    """Extra of aetool that brings it."""
    options: tuple[tuple[str, str], ...] = ()
    """Options that it always gets."""


PROVIDERS = {
    "cpu": Provider("cpu", "CPUExecutionProvider", "cpu"),
    # TensorFloat-32, its default, keeps 10 bits of each factor: results would differ from the CPU's by 1e-3.
    "cuda": Provider("cuda", "CUDAExecutionProvider", "cuda", (("use_tf32", "0"),)),
    "openvino": Provider("openvino", openvino.NAME, "openvino"),
}


def candidates(name: str) -> list[Provider]:
    """The providers to try for `name`, best first; one only, unless `name` is "auto".

    "auto" never is openvino: that is a plugin one asks for, and slower than the CPU provider at one row.

    Raises:
        ProviderError: `name` is unknown, or does not work with this onnxruntime on this machine.
    """
    available = onnxruntime().get_available_providers()
    if name == "auto":
        usable = [PROVIDERS["cuda"]] if cuda_devices() > 0 else []
        return [p for p in (*usable, PROVIDERS["cpu"]) if p.registered in available]
    if name not in tuple(PROVIDERS):  # whatever it is, also what has no hash
        raise ProviderError(f"provider {name!r} is unknown; choose one of auto, {', '.join(PROVIDERS)}")
    provider = PROVIDERS[name]
    if name == "openvino":
        openvino.cpu_device()  # registers it: only now onnxruntime knows it
        return [provider]
    if provider.registered not in available:
        raise ProviderError(
            f"provider {name!r} needs {provider.registered}, the installed onnxruntime has "
            f"{', '.join(available)}; {install_with(provider.extra)} in a fresh environment"
        )
    if name == "cuda" and cuda_devices() == 0:
        raise ProviderError(
            "provider 'cuda' needs an NVIDIA GPU and its driver, the driver reports none on this machine; use "
            "provider='cpu'"
        )
    return [provider]


@cache
def load_cuda_libraries() -> tuple[str, ...]:
    """Load CUDA as the extra `cuda` brings it, in Python packages, where the system's loader does not look.

    Returns:
        What onnxruntime says of it, on stdout were it not caught. It tells what is missing where a session fails,
        which itself does not; where the session works, CUDA is elsewhere.
    """
    ort = onnxruntime()
    said: list[str] = []
    ort.print = lambda *words: said.append(
        " ".join(map(str, words))
    )  # its module's alone: no other output is touched
    try:
        ort.preload_dlls()
    finally:
        del ort.print
    return tuple(said)


@cache
def cuda_devices() -> int:
    """NVIDIA GPUs that the driver shows to this process; 0 without a driver.

    Asked of the driver itself (CUDA driver API), since onnxruntime tells only by failing, loudly.
    """
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
