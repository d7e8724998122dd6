"""OpenVINO as a plugin of onnxruntime: registered once in a process, then a device like the others."""

import json
import threading
from functools import cache
from typing import Any

from aetool.errors import ProviderError, install_with, reason_of
from aetool.runtime.cores import usable_cores
from aetool.runtime.engine import onnxruntime

NAME = "OpenVINOExecutionProvider"
_registering = threading.Lock()


def cpu_device() -> Any:
    """The `OrtEpDevice` on which OpenVINO computes: the CPU.

    Raises:
        ProviderError: the plugin is not installed, or offers no CPU here (it takes those of Intel only).
    """
    ort = onnxruntime()
    with _registering:
        _register(ort)
    devices = [
        device
        for device in ort.get_ep_devices()
        if device.ep_name == NAME and device.device.type == ort.OrtHardwareDeviceType.CPU
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
        ort.register_execution_provider_library(NAME, plugin.get_library_path())
    except Exception as error:
        # onnxruntime's errors share no public base, and it can be asked for devices only, not for libraries.
        reason = reason_of(error)
        if "already registered" in reason:  # by the application
            return
        raise ProviderError(
            f"provider 'openvino': onnxruntime {ort.__version__} refuses the plugin: {reason}; "
            f"{install_with('openvino')} anew, or use provider='cpu'"
        ) from error


def options(intra_op_num_threads: int) -> dict[str, str]:
    """Options of the provider: float32 throughout, and as many threads as were asked for.

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
