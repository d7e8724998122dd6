"""onnxruntime, if it is installed: the one place that imports it."""

from typing import Any

from aetool.errors import DependencyError

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
