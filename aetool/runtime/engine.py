"""onnxruntime, if it is installed: the one place that imports it."""

import os
from typing import Any

from aetool.errors import DependencyError

# From 1.29 on onnxruntime tells Microsoft about its use, from a thread that starts with the import and hangs
# a forked process when it exits. Off, unless the variable was set before; the import reads it, once.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

try:
    import onnxruntime as _onnxruntime
except ImportError:
    _onnxruntime = None

# Both distributions write into one directory; an uninstall of either leaves a package without these.
_NEEDED = ("InferenceSession", "SessionOptions", "get_available_providers")


def onnxruntime() -> Any:
    """The onnxruntime module.

    Raises:
        DependencyError: it is not installed, or what is installed is broken.
    """
    if _onnxruntime is None:
        raise DependencyError("onnxruntime", "cpu", "running a bundle")
    if not all(hasattr(_onnxruntime, name) for name in _NEEDED):
        raise DependencyError(
            "a whole onnxruntime (the one here is broken: uninstall onnxruntime and onnxruntime-gpu)",
            "cpu",
            "running a bundle",
        )
    return _onnxruntime
