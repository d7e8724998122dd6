"""onnxruntime itself, and its execution providers: a requested one is used, or an error raised."""

import ctypes
import json
import os
import sys
import threading
from functools import cache
from importlib.util import find_spec
from typing import Any, Literal, NamedTuple

from aetool.core.native import vectors, why_not
from aetool.errors import DependencyError, ProviderError, install_with, reason_of
from aetool.runtime.machine import usable_cores

# onnxruntime, if it is installed: the one place that imports it.

# From 1.29 on onnxruntime tells Microsoft about its use, from a thread that starts with the import and hangs
# a forked process when it exits. Off, unless the variable was set before; the import reads it, once.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# Both distributions write into one directory; an uninstall of either leaves a package without these.
_NEEDED = ("InferenceSession", "SessionOptions", "get_available_providers")


def has_onnxruntime() -> bool:
    """Decide whether onnxruntime is installed, without importing it: that takes as long as all the rest."""
    try:
        return "onnxruntime" in sys.modules or find_spec("onnxruntime") is not None
    except ImportError:  # of whoever finds modules in this process
        return False


def onnxruntime() -> Any:
    """Return the onnxruntime module, imported when it is needed first.

    Raises:
        DependencyError: it is not installed, or what is installed is broken.
    """
    try:
        import onnxruntime as found
    except ImportError as error:
        raise DependencyError("onnxruntime", "cpu", "running a bundle") from error
    if not all(hasattr(found, name) for name in _NEEDED):
        raise DependencyError(
            "a whole onnxruntime (the one here is broken: uninstall onnxruntime and onnxruntime-gpu)",
            "cpu",
            "running a bundle",
        )
    return found


# OpenVINO as a plugin of onnxruntime: registered once in a process, then a device like the others.

OPENVINO = "OpenVINOExecutionProvider"
_registering = threading.Lock()


def openvino_device() -> Any:
    """Return the `OrtEpDevice` on which OpenVINO computes: the CPU.

    Raises:
        ProviderError: the plugin is not installed, or offers no CPU here (it takes those of Intel only).
    """
    ort = onnxruntime()
    with _registering:
        _register(ort)
    devices = [
        device
        for device in ort.get_ep_devices()
        if device.ep_name == OPENVINO and device.device.type == ort.OrtHardwareDeviceType.CPU
    ]
    if not devices:
        raise ProviderError(
            "provider 'openvino' needs an Intel CPU: its plugin offers no CPU device on this machine; use "
            "provider='cpu'"
        )
    return devices[0]


@cache
def _register(ort: Any) -> None:
    # Here: the plugin is the user's choice, and nobody else should need it or wait for it.
    try:
        import onnxruntime_ep_openvino as plugin
    except ImportError as error:
        raise ProviderError(
            "provider 'openvino' needs the package onnxruntime-ep-openvino, which is not installed; "
            f"{install_with('openvino')}"
        ) from error
    try:
        ort.register_execution_provider_library(OPENVINO, plugin.get_library_path())
    except Exception as error:
        # onnxruntime's errors share no public base, and it can be asked for devices only, not for libraries.
        reason = reason_of(error)
        if "already registered" in reason:  # by the application
            return
        raise ProviderError(
            f"provider 'openvino': onnxruntime {ort.__version__} refuses the plugin: {reason}; "
            f"{install_with('openvino')} again, or use provider='cpu'"
        ) from error


def openvino_options(intra_op_num_threads: int) -> dict[str, str]:
    """Return options of the provider: float32 throughout, and the requested number of threads.

    OpenVINO computes in bfloat16 by default where the CPU can, to errors of some percent. Each stream runs one
    call at a time on its own threads: as many streams as fit the cores, so that chunks of rows run side by side.
    """
    streams = max(1, usable_cores() // intra_op_num_threads)
    cpu = {
        "INFERENCE_PRECISION_HINT": "f32",
        "NUM_STREAMS": str(streams),
        "INFERENCE_NUM_THREADS": str(streams * intra_op_num_threads),
    }
    return {"load_config": json.dumps({"CPU": cpu})}


ProviderName = Literal["auto", "cpu", "cuda", "openvino", "native"]
"""Names that a caller may request."""


class Provider(NamedTuple):
    """Execution provider under aetool's name for it."""

    name: ProviderName
    """Name in aetool: cpu, cuda, openvino, native."""
    registered: str
    """onnxruntime's own name for it, or that of aetool's core."""
    extra: str
    """Extra of aetool that installs it."""
    options: tuple[tuple[str, str], ...] = ()
    """Options that it always gets."""


PROVIDERS = {
    "cpu": Provider("cpu", "CPUExecutionProvider", "cpu"),
    # TensorFloat-32, its default, keeps 10 bits of each factor: results would differ from the CPU's by 1e-3.
    "cuda": Provider("cuda", "CUDAExecutionProvider", "cuda", (("use_tf32", "0"),)),
    "openvino": Provider("openvino", OPENVINO, "openvino"),
    "native": Provider("native", "AetoolCore", ""),
}


def candidates(name: str) -> list[Provider]:
    """Return the providers to try for `name`, best first; one only, unless `name` is "auto".

    "auto" never is openvino: that is a plugin one asks for, and slower than the CPU provider at one row.

    Raises:
        ProviderError: `name` is unknown, or does not work with this onnxruntime on this machine.
    """
    if name == "auto" and cuda_devices() == 0:
        return [PROVIDERS["cpu"]]  # without a look at onnxruntime, which a few rows may never need
    if name != "auto" and name not in tuple(PROVIDERS):  # whatever it is, also what has no hash
        raise ProviderError(f"provider {name!r} is unknown; choose one of auto, {', '.join(PROVIDERS)}")
    if name == "native":
        if vectors() is None:
            raise ProviderError(
                f"provider 'native' needs aetool's compiled core: {why_not()}; install aetool where a C compiler "
                "is, or use provider='cpu'"
            )
        return [PROVIDERS["native"]]
    available = onnxruntime().get_available_providers()
    if name == "auto":
        return [p for p in (PROVIDERS["cuda"], PROVIDERS["cpu"]) if p.registered in available]
    provider = PROVIDERS[name]
    if name == "openvino":
        openvino_device()  # registers it: only now onnxruntime knows it
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
        Lines that onnxruntime would print on stdout. They name what is missing where a session fails, whose own
        error does not; where the session works, CUDA is elsewhere.
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
    """Return the number of NVIDIA GPUs that the driver shows to this process; 0 without a driver.

    The driver itself is asked (CUDA driver API), since onnxruntime only fails, with messages on stderr.
    """
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
