"""What a machine can do at most: factories, like `aetool.bench.peers`, executed alone in their own processes."""

import base64
import importlib
import os
from types import SimpleNamespace
from typing import Any

import numpy as np

# A whole ONNX model: y = a @ b, float32, IR 8, opset 13.
_MATMUL = base64.b64decode(
    "CAgSADpeChEKAWEKAWISAXkiBk1hdE11bBIEcGVha1oVCgFhEhAKDggBEgoKAxIBbQoDEgFrWhUKAWISEAoOCAESCgoDEgFrCgMSAW5iFQoBeRIQCg4IARIKCgMSAW0KAxIBbkIECgAQDQ=="
)


def numpy_matmul(phase: Any, *, size: int) -> Any:
    """rows @ b in numpy; how many threads is decided by variables of its BLAS."""
    second = np.random.default_rng(1).standard_normal((size, size), dtype=np.float32)
    product = np.empty((size, size), np.float32)

    def call(rows: Any) -> Any:
        return np.matmul(rows, second, out=product)

    return SimpleNamespace(call=call, outputs=("y",))


def onnxruntime_matmul(phase: Any, *, size: int, threads: int) -> Any:
    """rows @ b in onnxruntime."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    with phase("import"):
        onnxruntime = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    with phase("session_creation"):
        session = onnxruntime.InferenceSession(_MATMUL, options, providers=["CPUExecutionProvider"])
    second = np.random.default_rng(1).standard_normal((size, size), dtype=np.float32)
    return SimpleNamespace(call=lambda rows: session.run(None, {"a": rows, "b": second}), outputs=("y",))


def copy(phase: Any) -> Any:
    """The rows, copied into memory that is there already."""
    target: list[Any] = []

    def call(rows: Any) -> Any:
        if not target:
            target.append(np.empty_like(rows))
        np.copyto(target[0], rows)
        return target[0]

    return SimpleNamespace(call=call, outputs=("copy",))
