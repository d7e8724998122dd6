"""What is measured: a bundle through aetool, and the same graph file through other runtimes' own APIs.

Factories for `aetool.bench.contestants`. This module is executed alone in the contestant's process, and imports
nothing that is to be timed.
"""

import importlib
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any

import numpy as np

Phase = Callable[[str], AbstractContextManager[None]]

OUTPUT: Mapping[str, str] = {"encode": "embedding", "reconstruct": "reconstruction", "score": "score"}
"""What is measured -> the output that a caller gets."""


def bundle(
    phase: Phase, *, path: str, graph: str, provider: str, precision: str, threads: int | None = None
) -> Any:
    """`aetool.load(path)` and its method `graph`: encode, reconstruct or score."""
    with phase("import"):
        aetool = importlib.import_module("aetool")
    options = {} if threads is None else {"intra_op_num_threads": threads}
    with phase("session_creation"):
        model = aetool.load(path, provider=provider, precision=precision, **options)
        call = getattr(model, graph)
        call(np.empty((0, *model.input_shape), np.float32))  # sessions are made at first use
    return SimpleNamespace(
        call=call, outputs=(OUTPUT[graph],), placement=getattr(model, "placement", None), provider=model.provider
    )


def raw_onnxruntime(
    phase: Phase, *, file: str, graph: str, provider: str = "CPUExecutionProvider", threads: int | None = None
) -> Any:
    """onnxruntime as its documentation shows it: default options, `session.run`."""
    with phase("import"):
        # As aetool does: without it onnxruntime's telemetry thread runs beside the measurement.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        onnxruntime = importlib.import_module("onnxruntime")
    with phase("session_creation"):
        options = onnxruntime.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(file, options, providers=[provider])
    name, outputs = session.get_inputs()[0].name, [OUTPUT[graph]]
    return SimpleNamespace(call=lambda rows: session.run(outputs, {name: rows}), outputs=tuple(outputs))


def openvino(phase: Phase, *, file: str, graph: str, threads: int | None = None, hint: str = "LATENCY") -> Any:
    """OpenVINO's own API, on the CPU in float32 (its default elsewhere is bfloat16, another computation).

    Args:
        hint: LATENCY or THROUGHPUT, OpenVINO's own performance hint.
    """
    with phase("import"):
        runtime = importlib.import_module("openvino")
    with phase("session_creation"):
        settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": hint}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = str(threads)
        core = runtime.Core()
        compiled = core.compile_model(core.read_model(file), "CPU", settings)
        request = compiled.create_infer_request()
    output = compiled.output(OUTPUT[graph])

    def call(rows: Any) -> Any:
        # A result is a view into the request's memory: copied, as everybody else gives arrays of one's own.
        return request.infer(rows, share_inputs=True)[output].copy()

    return SimpleNamespace(call=call, outputs=(OUTPUT[graph],))
